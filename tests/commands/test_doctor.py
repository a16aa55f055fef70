"""``kinto-attachment doctor``: finds what does not agree, nothing else, and mends what it may."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.commands import main
from tests.support.parts import COLLECTION, SETTINGS, Server, every_store, postgresql_settings
from tests.support.processes import write_ini

BASE_URL = "https://files.example.org/"
HEALTHY = 5

Doctor = Callable[..., tuple[int, Any]]


@pytest.fixture
def settings(store: dict[str, Any], postgresql: str) -> dict[str, str]:
    own = {k: v for k, v in store.items() if v is not None}
    return {
        **SETTINGS,
        **postgresql_settings(postgresql),
        **own,
        "kinto.attachment.base_url": BASE_URL,
        "kinto.attachment.accept_unknown_metadata": "true",
    }


@pytest.fixture
def server(on_postgresql: Callable[..., Server], settings: dict[str, str]) -> Server:
    made = on_postgresql(settings)
    for number in range(HEALTHY):
        made.as_user().upload(f"{COLLECTION}/records/healthy{number}/attachment")
    return made


@pytest.fixture
def doctor(
    server: Server, settings: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    """The command; gives its exit code and what it found, by kind."""
    ini = write_ini(tmp_path / "kinto.ini", settings)

    def run(*options: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["doctor", "--ini", str(ini), "--grace", "-60", "--json", *options])
        transaction.abort()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found: dict[str, list[str]] = {}
        for line in lines[:-1]:
            found.setdefault(line["kind"], []).append(line["place"])
        assert {k: n for k, n in lines[-1]["summary"].items() if n} == {
            kind: len(places) for kind, places in found.items()
        }
        return code, found

    return run


def upload(server: Server, record_id: str = "r", content: bytes = b"hello") -> tuple[str, str]:
    """A record's URI and its file's key."""
    uri = f"{COLLECTION}/records/{record_id}"
    server.as_user().upload(f"{uri}/attachment", content)
    (link,) = server.rows().of_records([uri])
    transaction.abort()
    return uri, link.key


def rewrite(server: Server, uri: str, **fields: Any) -> None:
    """Change a record past the plugin."""
    where = {
        "resource_name": "record",
        "parent_id": COLLECTION,
        "object_id": uri.rsplit("/", maxsplit=1)[-1],
    }
    record = server.registry.storage.get(**where)
    record["attachment"] = {**record["attachment"], **fields}
    server.registry.storage.update(obj=record, **where)
    transaction.commit()


def forget_link(server: Server, uri: str) -> None:
    for link in server.rows().of_records([uri]):
        server.rows().remove([link])
    transaction.commit()


def replace_file(server: Server, key: str, content: bytes) -> None:
    server.registry.attachments.store.delete(key)
    server.store_file(key, content)


@every_store()
def test_a_server_where_all_agree_has_no_findings(server: Server, doctor: Doctor) -> None:
    uri, _ = upload(server)
    value = server.as_user().get(uri).json["data"]["attachment"]
    copy = f"{COLLECTION}/records/copy"
    server.as_user().json("put", copy, {"data": {"attachment": value}})

    assert doctor("--hashes") == (0, {})


@every_store()
def test_a_record_whose_file_is_gone_is_found(server: Server, doctor: Doctor) -> None:
    uri, key = upload(server)
    server.registry.attachments.store.delete(key)

    assert doctor() == (1, {"missing": [uri]})


def test_a_field_that_names_no_file_is_taken_out_and_nothing_else_changes(
    server: Server, doctor: Doctor
) -> None:
    uri, key = upload(server)
    server.as_user().json("patch", uri, {"data": {"title": "kept"}})
    unlinked, other = upload(server, "unlinked")
    forget_link(server, unlinked)
    for gone in (key, other):
        server.registry.attachments.store.delete(gone)
    places = sorted([uri, unlinked])

    code, found = doctor("--repair", "missing", "--dry-run")
    assert (code, sorted(found["missing"])) == (1, places)
    assert "attachment" in server.as_user().get(uri).json["data"]
    code, found = doctor("--repair", "missing")

    assert sorted(found["missing"]) == places
    for place, title in ((uri, "kept"), (unlinked, None)):
        record = server.as_user().get(place).json["data"]
        assert "attachment" not in record
        assert record.get("title") == title
    assert server.rows().of_records([uri]) == []


def test_a_file_of_another_size_is_found(server: Server, doctor: Doctor) -> None:
    uri, key = upload(server)
    replace_file(server, key, b"hello, and more")

    assert doctor() == (1, {"size": [uri]})


@every_store()
def test_a_file_with_another_content_is_found_where_hashes_are_asked_for(
    server: Server, doctor: Doctor
) -> None:
    uri, key = upload(server)
    replace_file(server, key, b"olleh")

    assert doctor() == (0, {})
    assert doctor("--hashes") == (1, {"hash": [uri]})


def test_a_record_that_names_another_ones_file_with_other_values_is_found(
    server: Server, doctor: Doctor
) -> None:
    uri, _ = upload(server, "victim")
    value = server.as_user().get(uri).json["data"]["attachment"]
    forged = f"{COLLECTION}/records/forged"
    body = {"data": {"attachment": {**value, "filename": "invoice.pdf"}}}
    server.as_user().json("put", forged, body)

    assert doctor() == (1, {"forged": [forged]})


def test_an_attachment_that_describes_no_file_is_found(server: Server, doctor: Doctor) -> None:
    uri = f"{COLLECTION}/records/nonsense"
    server.as_user().json("put", uri, {"data": {"attachment": {"location": "x", "size": "1"}}})

    assert doctor() == (1, {"forged": [uri]})


def test_a_location_outside_of_base_url_is_found(server: Server, doctor: Doctor) -> None:
    uri = f"{COLLECTION}/records/elsewhere"
    value = {
        "filename": "a.txt",
        "hash": "0" * 64,
        "location": "https://elsewhere.example.org/a.txt",
        "mimetype": "text/plain",
        "size": 1,
    }
    server.as_user().json("put", uri, {"data": {"attachment": value}})

    assert doctor() == (1, {"outside": [uri]})


def test_a_link_that_no_record_backs_is_found_and_repaired_with_its_file(
    server: Server, doctor: Doctor
) -> None:
    uri, key = upload(server)
    server.registry.storage.delete(
        resource_name="record", parent_id=COLLECTION, object_id="r", with_deleted=False
    )
    transaction.commit()

    assert doctor("--repair", "dead-link", "--dry-run") == (1, {"dead-link": [uri]})
    assert key in server.stored_keys()
    assert doctor("--repair", "dead-link") == (0, {"dead-link": [uri]})
    assert doctor("--repair", "unnamed") == (0, {"unnamed": [key]})
    assert doctor() == (0, {})
    server.assert_agreement()


@every_store()
def test_a_file_that_nothing_names_is_found_and_removed(server: Server, doctor: Doctor) -> None:
    ours, foreign = f"{keys.new_id()}.txt", "old/file.txt"
    for key in (ours, foreign):
        server.store_file(key, b"nobody's")

    code, found = doctor("--repair", "unnamed", "--dry-run")
    assert (code, sorted(found["unnamed"])) == (1, sorted([ours, foreign]))
    assert {ours, foreign} <= server.stored_keys()
    assert doctor("--repair", "unnamed")[0] == 1
    assert foreign in server.stored_keys()
    assert ours not in server.stored_keys()
    assert doctor("--repair", "unnamed", "--foreign")[0] == 0
    assert len(server.stored_keys()) == HEALTHY
    server.assert_agreement()


def test_a_record_without_a_link_is_found_and_gets_one(server: Server, doctor: Doctor) -> None:
    key = "imported/a b.txt"
    server.store_file(key, b"hello")
    uri, _ = upload(server)
    value = server.as_user().get(uri).json["data"]["attachment"]
    rewrite(server, uri, location=BASE_URL + "imported/a%20b.txt")
    forget_link(server, uri)
    found = [uri]

    code, first = doctor()
    assert (code, first["unlinked"]) == (1, found)
    assert doctor("--repair", "unlinked")[0] in (0, 1)
    (link,) = server.rows().of_records([uri])
    assert (link.key, link.hash, link.size) == (key, value["hash"], 5)
    transaction.abort()
    server.as_user().delete(uri)
    assert key not in server.stored_keys()


def test_a_link_that_was_lost_is_written_again(server: Server, doctor: Doctor) -> None:
    uri, _ = upload(server)
    (before,) = server.rows().of_records([uri])
    forget_link(server, uri)

    code, found = doctor("--repair", "unlinked")

    assert (code, found) == (0, {"unlinked": [uri]})
    assert server.rows().of_records([uri]) == [before]
    server.assert_agreement()
    assert doctor("--hashes") == (0, {})


def test_files_may_not_go_while_a_record_names_one_somewhere_else(
    server: Server, doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    server.store_file("old/file.txt", b"somebody's")
    uri, _ = upload(server)
    rewrite(server, uri, location="https://former.example.org/old/file.txt")
    forget_link(server, uri)

    code, _ = doctor("--repair", "unnamed")

    assert code == 2
    assert "old/file.txt" in server.stored_keys()


def test_more_files_than_the_ceiling_do_not_go(server: Server, doctor: Doctor) -> None:
    for number in range(150):
        server.store_file(f"other/{number}.txt", b"another program's")

    assert doctor("--repair", "unnamed", "--foreign")[0] == 2
    assert len(server.stored_keys()) == 150 + HEALTHY
    assert doctor("--repair", "unnamed", "--foreign", "--ceiling", "100")[0] == 0
    assert len(server.stored_keys()) == HEALTHY


def test_what_is_younger_than_the_grace_period_is_left_out(server: Server, doctor: Doctor) -> None:
    server.store_file("old/file.txt", b"being written")

    assert doctor("--grace", "3600") == (0, {})
    assert doctor() == (1, {"unnamed": ["old/file.txt"]})


def test_people_see_the_first_of_each_kind_and_a_table(
    make_server: Callable[..., Server],
    postgresql: str,
    local_store: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {**SETTINGS, **postgresql_settings(postgresql), **local_store}
    server = make_server(settings)
    for number in range(25):
        server.store_file(f"other/{number}.txt", b"")
    given = {k: v for k, v in settings.items() if v is not None}
    ini = write_ini(tmp_path / "kinto.ini", given)

    assert main(["doctor", "--ini", str(ini), "--grace", "-60"]) == 1

    shown = capsys.readouterr().out
    assert shown.count("unnamed    other/") == 20
    assert "      25  unnamed    files that nothing names" in shown
    assert "       0  missing    records that name a file" in shown
