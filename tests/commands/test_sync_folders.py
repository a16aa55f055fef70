"""Folders that are kept, and collections that are mirrored: ``--path-field`` and ``--records``."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment.client import notes
from kinto_attachment.client.wanted import own_fields
from tests.commands.front import DROP, Reply, Seen, once
from tests.commands.syncing import USER, Album, statuses, told
from tests.support.parts import sha256
from tests.support.processes import started

Capsys = pytest.CaptureFixture[str]
PATHS = ("--path-field", "path")
WRITING = ("POST", "PUT", "PATCH", "DELETE")
LATER = Reply(503, {"Retry-After": "0"})


def tree(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    found.pop(notes.NAME, None)
    return found


def without_servers(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is the same on every server."""
    found = {}
    for record_id, record in records.items():
        file = record.get("attachment", {})
        kept = {name: file.get(name) for name in ("filename", "hash", "size", "mimetype")}
        found[record_id] = (own_fields(record), kept)
    return found


def name_of(album: Album, record_id: str) -> str:
    return str(album.records()[record_id]["attachment"]["filename"])


def written(album: Album) -> list[str]:
    """Methods of the requests that write."""
    return [seen.method for seen in album.front.seen if seen.method in WRITING]


@pytest.fixture
def other(album: Album, tmp_path: Path) -> Album:
    """The collection that becomes the mirror."""
    return Album(album.kinto, album.front, tmp_path / "other")


def filled(album: Album) -> Album:
    for name in ("a.txt", "deep/a.txt", "deep/er/b.txt"):
        album.file(name, name.encode())
    assert album.run("upload", str(album.folder), *PATHS, "--data", '{"title": "x", "n": 1}') == 0
    album.put_file("hand", b"by hand", "日本 é.txt")
    for record_id, data in {"bare": {"title": "y"}, "empty": {}}.items():
        body = {"data": data}
        requests.put(album.url(record_id), json=body, auth=USER).raise_for_status()
    return album


def test_folders_are_kept_and_filenames_stay(album: Album, tmp_path: Path, capsys: Capsys) -> None:
    files = {"a.txt": b"1", "deep/a.txt": b"2", "deep/er/b c.txt": b"3"}
    for name, content in files.items():
        album.file(name, content)

    assert album.run("upload", str(album.folder), *PATHS) == 0
    assert album.run("download", "--to", str(tmp_path / "to"), *PATHS) == 0

    assert tree(tmp_path / "to") == files
    records = album.records().values()
    assert {record["path"]: record["attachment"]["filename"] for record in records} == {
        "a.txt": "a.txt",
        "deep/a.txt": "a.txt",
        "deep/er/b c.txt": "b c.txt",
    }
    capsys.readouterr()
    album.front.seen.clear()
    assert album.run("upload", str(tmp_path / "to"), *PATHS) == 0
    assert album.run("download", "--to", str(tmp_path / "to"), *PATHS) == 0
    assert {json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()} == {
        "unchanged"
    }
    assert written(album) == []


def test_a_path_is_added_to_what_was_sent_without_one(album: Album, capsys: Capsys) -> None:
    album.file("deep/a.txt", b"1")
    assert album.run("upload", str(album.folder), "--data", '{"title": "x"}') == 0
    before = album.records()
    capsys.readouterr()
    album.front.seen.clear()
    album.front.plan = once(lambda seen: seen.method == "PATCH", LATER, DROP)

    assert album.run("upload", str(album.folder), *PATHS) == 0

    assert statuses(capsys) == {"deep/a.txt": "written"}
    assert written(album) == ["PATCH", "PATCH"]
    ((record_id, record),) = album.records().items()
    assert (record["path"], record["title"]) == ("deep/a.txt", "x")
    assert record["attachment"] == before[record_id]["attachment"]


def test_records_without_a_path_are_named_by_their_file(album: Album, tmp_path: Path) -> None:
    album.put_file("a", b"1", "a.txt")
    album.put_file("b", b"2", "b.txt")
    requests.patch(album.url("b"), json={"data": {"path": 7}}, auth=USER).raise_for_status()

    assert album.run("download", "--to", str(tmp_path / "to"), *PATHS) == 0

    assert tree(tmp_path / "to") == {"a.txt": b"1", "b.txt": b"2"}


@pytest.mark.parametrize("field", ["id", "attachment", "a.b", "", "a b", "schema", "_x"])
def test_a_field_that_cannot_have_the_path_is_2(album: Album, field: str, capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        album.run("upload", str(album.file("a")), "--path-field", field)

    assert ended.value.code == 2
    assert "can't be the field" in capsys.readouterr().err


def test_a_mirror_has_the_same_ids_fields_and_files(
    album: Album, other: Album, tmp_path: Path, capsys: Capsys
) -> None:
    filled(album)
    to = str(tmp_path / "to")

    assert album.run("download", "--to", to, "--records", *PATHS) == 0
    assert other.run("upload", to, "--records") == 0

    assert without_servers(other.records()) == without_servers(album.records())
    for record_id, record in album.records().items():
        if "attachment" in record:
            assert other.content(record_id) == album.content(record_id)
    assert set(tree(tmp_path / "to")) == {
        "a.txt", "deep/a.txt", "deep/er/b.txt", "日本 é.txt"
    }  # fmt: skip
    before = other.records()
    capsys.readouterr()
    album.front.seen.clear()
    assert album.run("download", "--to", to, "--records", *PATHS) == 0
    assert other.run("upload", to, "--records") == 0
    assert {json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()} == {
        "unchanged"
    }
    assert written(album) == []
    assert not [seen for seen in album.front.seen if "/attachment" in seen.path]
    assert other.records() == before


def test_a_mirror_follows_what_changes(
    album: Album, other: Album, tmp_path: Path, capsys: Capsys
) -> None:
    filled(album)
    to = str(tmp_path / "to")
    for _ in range(2):
        assert album.run("download", "--to", to, "--records", *PATHS) == 0
        assert other.run("upload", to, "--records") == 0
        assert without_servers(other.records()) == without_servers(album.records())
        # Its file, its fields, its name, whether it has a file: each in one record.
        album.put_file("hand", b"new", "日本 é.txt")
        (a, b, c) = (r for r in album.records() if r.startswith(("a-", "deep")))
        requests.put(album.url("bare"), json={"data": {"n": True}}, auth=USER).raise_for_status()
        requests.patch(album.url(a), json={"data": {"n": 1.5, "title": {"x": [None]}}}, auth=USER)
        requests.delete(f"{album.url(b)}/attachment", auth=USER)
        album.put_file(c, album.content(c), "other.txt")
        album.put_file("empty", b"no more", "full.txt")
        # And the mirror is touched by somebody.
        if other.records():
            requests.patch(other.url(a), json={"data": {"mine": 1}}, auth=USER).raise_for_status()
            other.put_file("bare", b"mine")
        capsys.readouterr()
    assert "mine" in other.records()[a]

    assert album.run("download", "--to", to, "--records", *PATHS) == 0
    assert other.run("upload", to, "--records") == 0

    assert without_servers(other.records()) == without_servers(album.records())
    assert "failed" not in capsys.readouterr().err


@pytest.mark.parametrize("step", [LATER, DROP], ids=["busy", "lost"])
def test_a_mirror_is_made_whatever_fails_for_a_while(
    album: Album, other: Album, tmp_path: Path, step: Reply | str
) -> None:
    filled(album)
    to = str(tmp_path / "to")
    assert album.run("download", "--to", to, "--records") == 0
    asked: set[tuple[str, str]] = set()

    def plan(seen: Seen) -> Reply | str | None:
        key = (seen.method, seen.path)
        if seen.method == "GET" or key in asked:
            return None
        asked.add(key)
        return step

    album.front.plan = plan

    assert other.run("upload", to, "--records") == 0

    assert len(asked) == 6
    assert without_servers(other.records()) == without_servers(album.records())


@pytest.mark.parametrize("requests_before", range(1, 10, 2))
def test_a_mirror_that_was_killed_goes_on(
    album: Album, other: Album, tmp_path: Path, requests_before: int, capsys: Capsys
) -> None:
    filled(album)
    to = str(tmp_path / "to")
    assert album.run("download", "--to", to, "--records") == 0
    album.front.seen.clear()

    def plan(seen: Seen) -> None:
        if len(album.front.seen) == requests_before:
            process.kill()
            process.wait(60)

    album.front.plan = plan
    command = [*other.command("upload"), to, "--records", "--jobs", "1"]
    with started(command, tmp_path, stdout=subprocess.DEVNULL) as process:
        process.wait(60)
    album.front.plan = lambda _: None
    capsys.readouterr()

    assert other.run("upload", to, "--records") == 0

    assert without_servers(other.records()) == without_servers(album.records())


def test_files_that_a_download_lacks_fail_alone_in_the_mirror(
    album: Album, other: Album, tmp_path: Path, capsys: Capsys
) -> None:
    filled(album)
    to = tmp_path / "to"
    album.front.plan = lambda seen: Reply(404) if "hand/attachment" in seen.path else None
    assert album.run("download", "--to", str(to), "--records") == 1
    capsys.readouterr()

    assert other.run("upload", str(to), "--records") == 1

    lines = told(capsys)
    assert [name for name, line in lines.items() if line["status"] == "failed"] == ["日本 é.txt"]
    assert set(other.records()) == set(album.records()) - {"hand"}


def test_a_record_that_goes_or_changes_meanwhile_is_noted_as_it_is_then(
    album: Album, tmp_path: Path
) -> None:
    for record_id in ("goes", "changes"):
        album.put_file(record_id, b"old", "old.txt")

    def plan(seen: Seen) -> None:
        if "/goes/attachment" in seen.path:
            requests.delete(album.url("goes"), auth=USER).raise_for_status()
        if "/changes/attachment" in seen.path and name_of(album, "changes") == "old.txt":
            album.put_file("changes", b"new", "new.txt")

    album.front.plan = plan

    assert album.run("download", "--to", str(tmp_path / "to"), "--records", "--jobs", "1") == 0

    lines = (tmp_path / "to" / notes.NAME).read_text().splitlines()
    noted = {json.loads(line)["file"]: json.loads(line)["record"] for line in lines}
    assert {name: record["attachment"]["hash"] for name, record in noted.items()} == {
        "new.txt": sha256(b"new")
    }


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["download", "--to", "to", "--records", "a"], "leave the ids out"),
        (["upload", "files", "more", "--records"], "--records takes one folder"),
        (["upload", "files", "--records", "--id", "hash"], "--records takes one folder"),
        (["upload", "files", "--records", "--data", '{"a": 1}'], "--records takes one folder"),
        (["upload", "files", "--records", *PATHS], "--records takes one folder"),
        (["upload", "files", "--records"], "make it by `kinto-attachment download --records"),
        (["upload", "missing", "--records"], "make it by `kinto-attachment download --records"),
    ],
)
def test_what_does_not_go_with_records_is_2_and_a_sentence(
    album: Album,
    tmp_path: Path,
    command: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capsys,
) -> None:
    album.file("a")
    monkeypatch.chdir(tmp_path)

    assert album.run(*command) == 2

    assert sentence in capsys.readouterr().err
    assert written(album) == []
