"""The recipes for folders and for a mirror, word for word, against real servers."""

from pathlib import Path

import requests

from tests.commands.syncing import SERVER_SETTINGS, USER
from tests.support import parts, processes
from tests.support.documents import example
from tests.support.processes import Kinto, shell

HERE, THERE = "http://127.0.0.1:8888", "http://127.0.0.1:9999"
COLLECTION = "buckets/default/collections/pictures"


def records(kinto: Kinto) -> dict[str, object]:
    answer = requests.get(f"{kinto.url}/{COLLECTION}/records", auth=USER)
    answer.raise_for_status()
    found = {}
    for record in answer.json()["data"]:
        record.pop("last_modified")
        record.get("attachment", {}).pop("location", None)  # Each server has its own keys.
        found[record["id"]] = record
    return found


def test_the_recipes_keep_folders_and_mirror_the_collection(kinto: Kinto, tmp_path: Path) -> None:
    album = {"a.txt": b"1", "summer/a.txt": b"2", "summer/sea/b.txt": b"3"}
    for name, content in album.items():
        (tmp_path / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "album" / name).write_bytes(content)
    here = example("mirror").splitlines()[:2]
    url = f"{kinto.url}/{COLLECTION}"
    requests.put(f"{url}/records/bare", json={"data": {"n": 1}}, auth=USER).raise_for_status()

    shell("\n".join([*here, example("sync-folders")]).replace(HERE, kinto.origin), tmp_path)

    again = tmp_path / "album-again"
    assert {name: (again / name).read_bytes() for name in album} == album

    (tmp_path / "other").mkdir()
    settings = processes.basic_settings(tmp_path / "other", parts.MEMORY) | SERVER_SETTINGS
    with processes.running_kinto(tmp_path / "other", settings) as other:
        script = example("mirror").replace(HERE, kinto.origin).replace(THERE, other.origin)
        first = shell(script, tmp_path)
        second = shell(script, tmp_path)

        assert records(other) == records(kinto)
        assert len(records(other)) == 4
        for record_id in set(records(other)) - {"bare"}:
            path = f"{COLLECTION}/records/{record_id}/attachment"
            one, two = (requests.get(f"{k.url}/{path}", auth=USER).content for k in (kinto, other))
            assert one == two
    requests.delete(url, auth=USER)
    assert (first.count('"uploaded"'), second.count('"unchanged"')) == (3, 7)
