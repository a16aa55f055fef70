"""Old faults that neither a table nor random work met, until they were put back on purpose."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment.commands import main
from tests.faults import worlds
from tests.faults.harness import collect
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    SETTINGS,
    Server,
    postgresql_settings,
    sha256,
)
from tests.support.processes import write_ini

SECOND = f"{COLLECTION}/records/second"


def plant(server: Server, uri: str, content: bytes, **fields: Any) -> None:
    """A record without a link, and a file, past the plugin."""
    server.store_file("old/file.txt", content)
    value = {
        "filename": "file.txt",
        "hash": sha256(content),
        "location": worlds.BASE_URL + "old/file.txt",
        "mimetype": "text/plain",
        "size": len(content),
    }
    worlds._write_record(server, uri, {**value, **fields})
    transaction.commit()


@pytest.fixture
def settings(postgresql: str, tmp_path: Path) -> dict[str, str]:
    return {
        **SETTINGS,
        **postgresql_settings(postgresql),
        "kinto.attachment.base_path": str(tmp_path / "files"),
        "kinto.attachment.base_url": worlds.BASE_URL,
    }


@pytest.fixture
def server(on_postgresql: Callable[..., Server], settings: dict[str, str]) -> Server:
    return on_postgresql(settings)


@pytest.fixture
def doctor(settings: dict[str, str], tmp_path: Path) -> Callable[..., int]:
    ini = write_ini(tmp_path / "kinto.ini", settings)
    return lambda *options: main(["doctor", "--ini", str(ini), "--repair", *options])


# 3: who holds a file is not asked of Kinto's capped listings


def test_gc_finds_every_holder_of_every_file_whatever_kinto_fetches(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql({"kinto.storage_max_fetch_size": "3"})
    owner = server.as_user()
    for number in range(20):
        owner.upload(f"{COLLECTION}/records/r{number}/attachment", content=b"%d" % number)

    report = collect(server)

    assert (report.files, report.orphans, report.removed_files) == (20, 0, 0)
    server.assert_agreement()


# 6: Kinto pairs by position what it has read and what it has deleted


def test_who_is_deleted_and_uploaded_anew_while_all_are_deleted_keeps_the_new_file(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = server.as_user()
    for record in (RECORD, SECOND):
        owner.upload(f"{record}/attachment", content=b"old")
    storage = server.registry.storage
    delete_all = storage.delete_all

    def late(**where: Any) -> Any:
        """As if the first record had come anew behind the statement's snapshot."""
        if where["resource_name"] != "record":
            return delete_all(**where)
        one = {"resource_name": "record", "parent_id": COLLECTION}
        return [storage.delete(object_id="second", **one)]

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_all", late)
        # Kinto reads the newest first or last: either way one of two is paired wrongly.
        owner.request("DELETE", f"{COLLECTION}/records?_sort=id", 200)
    transaction.abort()

    owner.get(SECOND, 404)
    assert owner.get(ATTACHMENT).body == b"old"
    server.assert_agreement()


# 9: a record of 8.x that is a copy, made between two runs of the migration


def test_a_file_stays_for_a_copy_of_8_x_though_all_links_of_ours_have_gone(
    server: Server,
) -> None:
    owner = server.as_user()
    worlds.plant_published(server, RECORD, b"shared")
    value = owner.get(RECORD).json["data"]["attachment"]
    worlds._write_record(server, SECOND, value)
    transaction.commit()
    third = f"{COLLECTION}/records/third"
    owner.json("put", third, {"data": {"attachment": value}})

    owner.delete(RECORD)
    owner.delete(third)

    assert len(server.stored_keys()) == 1


# 11: a store that is not mounted lacks every file


def test_doctor_takes_nothing_out_of_records_while_the_store_is_away(
    server: Server, doctor: Callable[..., int], settings: dict[str, str]
) -> None:
    owner = server.as_user()
    owner.upload(content=b"kept")
    files = Path(settings["kinto.attachment.base_path"])
    shutil.move(files, f"{files}-unmounted")
    files.mkdir()
    (files / ".unfinished").mkdir()

    code = doctor("missing", "--ceiling", "100")

    shutil.rmtree(files)
    shutil.move(f"{files}-unmounted", files)
    assert code == 2
    assert owner.get(ATTACHMENT).body == b"kept"
    server.assert_agreement()


# 17: a record that was there, is put anew and deleted again: Kinto tells of deletions first


def test_a_copy_that_a_batch_takes_back_with_all_records_leaves_no_link(server: Server) -> None:
    owner = server.as_user()
    owner.upload(content=b"private")
    owner.json("put", SECOND, {"data": {}})
    body = {"data": {"attachment": owner.get(RECORD).json["data"]["attachment"]}}
    requests = [
        {"method": "DELETE", "path": SECOND},
        {"method": "PUT", "path": SECOND, "body": body},
        {"method": "DELETE", "path": f"{COLLECTION}/records"},
    ]

    owner.json("post", "/batch", {"requests": requests}, 200)

    server.assert_agreement()
    assert server.stored_keys() == set()
    owner.json("put", SECOND, body, 400)


# 19: what a record says of a file has to be true of all its bytes


def test_doctor_adopts_no_file_that_only_has_the_right_size(
    server: Server, doctor: Callable[..., int]
) -> None:
    plant(server, RECORD, b"backup", hash=sha256(b"other!"))

    doctor("unlinked")

    assert server.rows().of_records([RECORD]) == []
    transaction.abort()


def test_a_media_type_that_would_be_another_header_is_not_adopted(
    server: Server, doctor: Callable[..., int]
) -> None:
    plant(server, RECORD, b"file", mimetype="text/html\r\nX-Made: up")

    doctor("unlinked")

    (link,) = server.rows().of_records([RECORD])
    transaction.abort()
    assert link.mimetype == "application/octet-stream"
