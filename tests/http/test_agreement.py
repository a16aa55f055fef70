"""Each way in which record, link and file once came apart, and the product that it stands for."""

import dataclasses
import io
import itertools
import json
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import transaction

from kinto_attachment import keys
from kinto_attachment.attachments import custody
from kinto_attachment.rows.links import State
from kinto_attachment.targets import Target
from tests.faults.harness import Database, collect
from tests.support.parts import (
    ATTACHMENT,
    BUCKET,
    COLLECTION,
    OTHER,
    RECORD,
    Client,
    Server,
    every_backend,
    multipart,
    postgresql_settings,
)
from tests.support.pool import Pool

SECOND = f"{COLLECTION}/records/second"
JSON, MERGE, PATCH = (
    "application/json",
    "application/merge-patch+json",
    "application/json-patch+json",
)


def value_of(client: Client, record: str = RECORD) -> Any:
    return client.get(record).json["data"].get("attachment")


# 1: what a client asks to be answered changes nothing about the file


def change(kind: str, field: str, value: Any) -> bytes:
    if kind == PATCH:
        return json.dumps([{"op": "add", "path": f"/data/{field}", "value": value}]).encode()
    return json.dumps({"data": {field: value}}).encode()


@pytest.mark.parametrize("behavior", ["full", "light", "diff"])
@pytest.mark.parametrize("kind", [JSON, MERGE, PATCH])
@every_backend()
def test_whatever_patch_of_another_field_leaves_the_file(
    owner: Client, kind: str, behavior: str
) -> None:
    owner.upload(content=b"kept")
    before = value_of(owner)
    headers = {"Content-Type": kind, "Response-Behavior": behavior}

    owner.request("PATCH", RECORD, 200, body=change(kind, "title", "new"), headers=headers)

    assert value_of(owner) == before
    assert owner.get(ATTACHMENT).body == b"kept"
    owner.server.assert_agreement()


FORGERIES = ["another size", "size as a float", "size as a truth", "null", "a word"]


def forged(value: Any, how: str) -> Any:
    return {
        "another size": {**value, "size": 2},
        "size as a float": {**value, "size": 1.0},
        "size as a truth": {**value, "size": True},
        "null": None,
        "a word": "attachment",
    }[how]


@pytest.mark.parametrize("how", FORGERIES)
@pytest.mark.parametrize("behavior", ["full", "light", "diff"])
@pytest.mark.parametrize("kind", [JSON, MERGE, PATCH])
@every_backend()
def test_a_forged_value_is_refused_by_every_patch_and_leaves_the_record_as_it_was(
    owner: Client, kind: str, behavior: str, how: str
) -> None:
    owner.upload(content=b"1")
    before = owner.get(RECORD).json
    headers = {"Content-Type": kind, "Response-Behavior": behavior}
    body = change(kind, "attachment", forged(before["data"]["attachment"], how))

    answer = owner.request("PATCH", RECORD, "*", body=body, headers=headers)

    if how == "null":  # A removal. Kinto itself fails to say so where it is to be short.
        own = kind == MERGE and behavior == "light"
        assert answer.status_code == (500 if own else 200)
    else:
        assert answer.status_code == 400
        assert owner.get(RECORD).json == before
        assert owner.get(ATTACHMENT).body == b"1"
    owner.server.assert_agreement()


@pytest.mark.parametrize("kind", [JSON, MERGE, PATCH])
@every_backend()
def test_a_schemas_refusal_of_a_patch_leaves_the_file(owner: Client, kind: str) -> None:
    owner.upload(content=b"kept")
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    owner.json("patch", COLLECTION, {"data": {"schema": schema}})
    before = owner.get(RECORD).json
    merged = {"data": {"title": 7, "attachment": {"size": 9}}}
    body = json.dumps(merged).encode() if kind != PATCH else change(kind, "title", 7)

    owner.request("PATCH", RECORD, 400, body=body, headers={"Content-Type": kind})

    assert owner.get(RECORD).json == before
    assert owner.get(ATTACHMENT).body == b"kept"
    owner.server.assert_agreement()


# 2: a member of a batch that Kinto rolls back


@pytest.mark.parametrize("undone", ["DELETE", "PUT", "PATCH"])
def test_what_kinto_rolls_back_in_a_batch_takes_no_file(
    on_postgresql: Callable[..., Server], undone: str
) -> None:
    owner = on_postgresql().as_user()
    owner.upload(content=b"kept")
    owner.json("put", SECOND, {"data": {}})
    stamp = owner.get(SECOND).json["data"]["last_modified"] + 1000
    owner.json("put", f"{COLLECTION}/records/third", {"data": {"last_modified": stamp}})
    owner.json("put", f"{COLLECTION}/records/last", {"data": {"last_modified": stamp + 1000}})
    conflict = {"data": {"last_modified": stamp}}
    first = {"method": undone, "path": RECORD, "body": {"data": {"attachment": None}}}
    if undone == "DELETE":
        del first["body"]
    requests = [first, {"method": "PUT", "path": f"{SECOND}2", "body": conflict}]

    answer = owner.json("post", "/batch", {"requests": requests}, 200)

    assert [member["status"] for member in answer.json["responses"]] == [200, 409]
    assert owner.get(ATTACHMENT).body == b"kept"
    owner.server.assert_agreement()


# 3: Kinto's listings are capped, and do not say so


SHARED = 20


@pytest.mark.parametrize("cap", ["3", "7", "190"])
@pytest.mark.parametrize(
    "deleted", [RECORD, f"{COLLECTION}/records", COLLECTION, f"{BUCKET}/collections", BUCKET]
)
def test_files_that_many_share_go_with_the_last_one_whatever_kinto_fetches(
    on_postgresql: Callable[..., Server], cap: str, deleted: str
) -> None:
    server = on_postgresql({"kinto.storage_max_fetch_size": cap})
    owner = server.as_user()
    elsewhere = "/buckets/others/collections/album"
    owner.make_collection(elsewhere)
    owner.upload(content=b"shared")
    value = value_of(owner)
    for number in range(SHARED):
        place = (COLLECTION, elsewhere)[number % 2]
        owner.json("put", f"{place}/records/c{number}", {"data": {"attachment": value}})
    owner.upload(f"{elsewhere}/records/own/attachment", content=b"own")

    owner.delete(deleted)
    collect(server)

    server.assert_agreement()
    copies = [r for r in server.records() if r["uri"].startswith(elsewhere)]
    assert len(copies) == SHARED // 2 + 1
    transaction.abort()
    assert owner.get(f"{elsewhere}/records/c1/attachment").body == b"shared"
    owner.delete("/buckets/others")
    for _ in range(SHARED):  # As often as Kinto's cap asks for.
        owner.delete(f"{COLLECTION}/records", "*")
    collect(server)
    server.assert_agreement()


# 5, 17: what is undone by the next member


@every_backend()
def test_a_record_that_is_deleted_with_all_and_put_again_keeps_its_file(owner: Client) -> None:
    for number in range(30):
        owner.upload(f"{COLLECTION}/records/r{number}/attachment", content=b"%d" % number)
    own = value_of(owner, f"{COLLECTION}/records/r1")
    requests = [
        {"method": "PUT", "path": f"{COLLECTION}/records/new", "body": {"data": {}}},
        {"method": "DELETE", "path": f"{COLLECTION}/records"},
        {
            "method": "PUT",
            "path": f"{COLLECTION}/records/r1",
            "body": {"data": {"attachment": own}},
        },
    ]

    owner.json("post", "/batch", {"requests": requests}, 200)

    owner.server.assert_agreement()
    for record in owner.server.records():
        transaction.abort()
        assert owner.get(f"{record['uri']}/attachment").body == b"1"


@every_backend()
def test_a_copy_that_a_batch_takes_back_leaves_no_link(owner: Client) -> None:
    owner.upload(content=b"private")
    value = value_of(owner)
    requests = [
        {"method": "PUT", "path": SECOND, "body": {"data": {}}},
        {"method": "DELETE", "path": SECOND},
        {"method": "PUT", "path": SECOND, "body": {"data": {"attachment": value}}},
        {"method": "DELETE", "path": f"{COLLECTION}/records"},
    ]

    owner.json("post", "/batch", {"requests": requests}, 200)

    owner.server.assert_agreement()
    assert owner.server.stored_keys() == set()
    owner.json("put", SECOND, {"data": {"attachment": value}}, 400)


MOVES: dict[str, list[tuple[str, str, int | None]]] = {
    "copy and delete": [("PUT", SECOND, 0), ("DELETE", RECORD, None)],
    "delete and copy": [("DELETE", RECORD, None), ("PUT", SECOND, 0)],
    "swap": [("PUT", SECOND, 0), ("PUT", RECORD, 1)],
    "drop and put back": [("PATCH", RECORD, None), ("PUT", RECORD, 0)],
    "delete and put back": [("DELETE", RECORD, None), ("PUT", RECORD, 0)],
}


@pytest.mark.parametrize("how", MOVES)
@every_backend()
def test_a_batch_may_move_files_between_records(owner: Client, how: str) -> None:
    owner.upload(content=b"first")
    owner.upload(f"{SECOND}/attachment", content=b"second")
    values = [value_of(owner), value_of(owner, SECOND)]
    requests = []
    for method, path, of in MOVES[how]:
        body = {"data": {"attachment": None if of is None else values[of]}}
        member = {"method": method, "path": path, "body": body}
        requests.append({k: v for k, v in member.items() if method != "DELETE" or k != "body"})

    answer = owner.json("post", "/batch", {"requests": requests}, 200)

    assert all(member["status"] < 300 for member in answer.json["responses"])
    owner.server.assert_agreement()
    moved = RECORD if how.endswith("put back") else SECOND
    assert owner.get(f"{moved}/attachment").body == b"first"


@pytest.mark.parametrize("first", ["copy", "deletion"])
@pytest.mark.parametrize("deleted", [COLLECTION, BUCKET])
@every_backend()
def test_a_batch_may_bring_a_file_out_of_what_it_deletes(
    owner: Client, deleted: str, first: str
) -> None:
    owner.upload(content=b"kept")
    elsewhere = "/buckets/others/collections/album"
    owner.make_collection(elsewhere)
    copy = {"data": {"attachment": value_of(owner)}}
    requests = [
        {"method": "PUT", "path": f"{elsewhere}/records/r", "body": copy},
        {"method": "DELETE", "path": deleted},
    ]

    answer = owner.json(
        "post", "/batch", {"requests": requests if first == "copy" else requests[::-1]}, 200
    )

    assert all(member["status"] < 300 for member in answer.json["responses"])
    assert owner.get(f"{elsewhere}/records/r/attachment").body == b"kept"
    owner.server.assert_agreement()


# 6, 9, 23: what two do at once is in tests/faults/test_pairs.py

# 7: the id of a key is where we put it


@pytest.mark.parametrize("randomize", ["true", "false"])
def test_a_file_that_is_called_like_an_id_of_ours_stays(
    on_postgresql: Callable[..., Server], randomize: str
) -> None:
    settings = {"kinto.attachment.randomize": randomize, "kinto.attachment.extensions": "any"}
    server = on_postgresql(settings)
    owner = server.as_user()
    for name in (f"{keys.new_id()}.txt", f"a-{keys.new_id()}.txt", keys.new_id()):
        record = f"{COLLECTION}/records/{keys.new_id()}"
        owner.upload(f"{record}/attachment", content=b"kept", filename=name, mimetype="text/plain")

        collect(server)

        assert owner.get(f"{record}/attachment").body == b"kept"
        server.assert_agreement()


def test_a_bucket_that_is_called_like_an_id_of_ours_keeps_its_files(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql(
        {
            "kinto.attachment.randomize": "false",
            "kinto.attachment.folder": "{bucket_id}/{collection_id}",
        }
    )
    owner = server.as_user()
    collection = f"/buckets/{keys.new_id()}/collections/{keys.new_id()}"
    owner.make_collection(collection)
    owner.upload(f"{collection}/records/r/attachment", content=b"kept")

    collect(server)

    assert owner.get(f"{collection}/records/r/attachment").body == b"kept"
    server.assert_agreement()


# 8: nobody heard how the transaction ended


@pytest.mark.parametrize("operation", ["upload", "replace", "delete"])
def test_a_signal_after_the_commit_leaves_what_was_committed(
    on_postgresql: Callable[..., Server], operation: str
) -> None:
    server = on_postgresql()
    owner = server.as_user()
    if operation != "upload":
        owner.upload(content=b"old")
    session = server.registry.storage.client.session_factory.session_factory.class_

    def interrupt(_: Any) -> None:
        raise SystemExit("as gunicorn's worker on SIGQUIT")

    sqlalchemy.event.listen(session, "after_commit", interrupt)
    try:
        with pytest.raises(SystemExit):
            owner.delete(RECORD) if operation == "delete" else owner.upload(content=b"new")
    finally:
        sqlalchemy.event.remove(session, "after_commit", interrupt)
    transaction.abort()
    collect(server)

    server.assert_agreement()
    if operation == "delete":
        owner.get(RECORD, 404)
        assert server.stored_keys() == set()
    else:
        assert owner.get(ATTACHMENT).body == b"new"


@pytest.fixture
def second_database(postgresql: str, database: Database) -> str:
    """The URL of another database of the same server."""
    database.execute("DROP DATABASE IF EXISTS permissions")
    database.execute("CREATE DATABASE permissions")
    database.execute("ALTER DATABASE permissions SET timezone TO 'UTC'")
    url = postgresql.replace("/postgres?", "/permissions?")
    assert url != postgresql
    return url


def test_a_second_database_that_refuses_takes_no_file_of_a_committed_record(
    make_server: Callable[..., Server], postgresql: str, second_database: str, pool: Pool
) -> None:
    settings = postgresql_settings(postgresql)
    server = make_server({**settings, "kinto.permission_url": second_database})
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"old")
    other = Database(second_database)
    other.execute(
        "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE 'on purpose'; END $$"
        " LANGUAGE plpgsql"
    )
    other.execute(
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON"
        " access_control_entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION"
        " refuse()"
    )

    for record in (RECORD, SECOND):
        fields = {"permissions": '{"read": ["system.Everyone"]}'}
        answer = owner.upload(f"{record}/attachment", b"new", status="*", fields=fields)
        assert answer.status_code >= 500
    transaction.abort()

    for found in server.records():
        assert b"".join(server.registry.attachments.store.open(key_of(server, found))) in (
            b"old",
            b"new",
        )
    collect(server)
    server.assert_agreement()
    pool.discard(server)
    other.close()


def key_of(server: Server, record: dict[str, Any]) -> str:
    (link,) = server.rows().of_records([record["uri"]])
    return link.key


# 10, 11, 12: whose store it is, and whether it is there


def test_a_store_that_goes_away_under_a_server_refuses_uploads_until_it_is_back(
    on_postgresql: Callable[..., Server], tmp_path: Path
) -> None:
    files = tmp_path / "mounted"
    server = on_postgresql({"kinto.attachment.base_path": str(files)})
    owner = server.as_user()
    owner.upload(content=b"kept")
    for how in ("absent", "empty", "another"):
        shutil.move(files, tmp_path / "unmounted")
        if how != "absent":
            files.mkdir()
        if how == "another":
            (files / ".unfinished").mkdir()

        owner.upload(content=b"lost?", status=503)
        assert owner.get("/__heartbeat__", "*").json["attachments"] is False
        assert "Refused" in (refused_by_gc(server) or "")
        assert not files.exists() or [p.name for p in files.rglob("*") if p.is_file()] == []

        shutil.rmtree(files, ignore_errors=True)
        shutil.move(tmp_path / "unmounted", files)
        assert owner.get("/__heartbeat__").json["attachments"] is True
        assert owner.get(ATTACHMENT).body == b"kept"
    owner.upload(content=b"new")
    server.assert_agreement()


def refused_by_gc(server: Server) -> str | None:
    reason = custody.refusal(server.registry.attachments.custody)
    return f"Refused: {reason}" if reason else None


def test_a_store_of_another_database_is_neither_written_nor_swept(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql()
    owner = server.as_user()
    owner.upload(content=b"kept")
    store = server.registry.attachments.store
    theirs = json.dumps({"cluster": "1", "database": 1, "name": "theirs"}).encode()
    store.set_mark(theirs, replace=True)

    owner.upload(content=b"new", status=503)
    assert "theirs" in (refused_by_gc(server) or "")
    assert owner.get(ATTACHMENT).body == b"kept"

    with transaction.manager:
        server.registry.attachments.custody.claim()
    assert refused_by_gc(server) is None
    owner.upload(content=b"new")
    server.assert_agreement()


def test_a_first_start_makes_the_store(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server({"kinto.attachment.base_path": str(tmp_path / "new" / "files")})
    owner = server.as_user()
    owner.make_collection()

    assert owner.get("/__heartbeat__").json["attachments"] is True
    owner.upload(content=b"first")
    server.assert_agreement()


# 14: keep_old_files is the policy of the link that goes


@pytest.mark.parametrize("order", list(itertools.permutations(["keeps", "drops"])))
@every_backend()
def test_a_collection_that_keeps_old_files_keeps_them_whoever_lets_go_last(
    make_server: Callable[..., Server], order: tuple[str, str]
) -> None:
    server = make_server({"kinto.attachment.resources.pictures.keeps.keep_old_files": "true"})
    owner = server.as_user()
    for name in order:
        owner.make_collection(f"{BUCKET}/collections/{name}")
    first = f"{BUCKET}/collections/keeps/records/r"
    owner.upload(f"{first}/attachment", content=b"old")
    copy = {"data": {"attachment": value_of(owner, first)}}
    owner.json("put", f"{BUCKET}/collections/drops/records/r", copy)
    (key,) = server.stored_keys()

    for name in order:
        owner.delete(f"{BUCKET}/collections/{name}/records/r")

    assert server.stored_keys() == {key}
    server.assert_agreement()


@pytest.mark.parametrize("keeps", [True, False])
@every_backend()
def test_what_a_batch_deletes_before_it_is_refused_is_kept_or_gone_as_ever(
    make_server: Callable[..., Server], keeps: bool
) -> None:
    server = make_server({"kinto.attachment.keep_old_files": str(keeps)})
    owner = server.as_user()
    owner.make_collection(COLLECTION)
    owner.upload(content=b"old")
    forged = {**value_of(owner), "size": 2}
    requests = [
        {"method": "DELETE", "path": f"{COLLECTION}/records"},
        {"method": "PUT", "path": RECORD, "body": {"data": {"attachment": forged}}},
    ]

    owner.json("post", "/batch", {"requests": requests}, 400)
    collect(server)

    # Memory can't undo the deletion; elsewhere the record is as it was.
    stays = keeps or server.registry.attachments.rolls_back
    assert len(server.stored_keys()) == int(stays)
    assert len(server.records()) == int(server.registry.attachments.rolls_back)
    server.assert_agreement()


# 15: a form whose end takes long


class SlowBody(io.RawIOBase):
    """A body in the middle of which something else happens."""

    def __init__(self, body: bytes, at: int, happens: Callable[[], object]) -> None:
        self._body, self._at, self._happens = body, at, happens
        self._sent = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        end = self._sent + (size if size > 0 else len(self._body))
        if self._sent < self._at:
            end = min(end, self._at)
        elif self._sent == self._at:
            self._happens()
        piece = self._body[self._sent : end]
        self._sent += len(piece)
        return piece


@pytest.mark.parametrize("exists", [True, False])
def test_gc_in_the_middle_of_a_form_never_leaves_a_record_without_its_file(
    on_postgresql: Callable[..., Server], exists: bool
) -> None:
    server = on_postgresql()
    owner = server.as_user()
    if exists:
        owner.upload(content=b"old")
    parts = [("attachment", "a.txt", "text/plain", b"new"), ("data", None, None, b"{}")]
    body, content_type = multipart(parts)
    stream = SlowBody(body, body.index(b'name="data"'), lambda: collect(server))
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": str(len(body))}

    answer = owner.server.app.request(
        f"/v1{ATTACHMENT}",
        method="POST",
        headers={**owner.headers, "Content-Type": content_type},
        environ=environ,
        status=503,
    )

    assert "send it again" in answer.json["message"]
    assert owner.get(ATTACHMENT, "*").status_code == (200 if exists else 404)
    server.assert_agreement()


def test_gc_leaves_a_slow_forms_file_alone_for_as_long_as_its_grace(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql()
    owner = server.as_user()
    parts = [("attachment", "a.txt", "text/plain", b"new"), ("data", None, None, b"{}")]
    body, content_type = multipart(parts)
    stream = SlowBody(body, body.index(b'name="data"'), lambda: collect(server, grace=3600))
    environ = {"wsgi.input": stream, "CONTENT_LENGTH": str(len(body))}
    headers = {**owner.headers, "Content-Type": content_type}

    server.app.request(
        f"/v1{ATTACHMENT}", method="POST", headers=headers, environ=environ, status=201
    )

    assert owner.get(ATTACHMENT).body == b"new"
    server.assert_agreement()


# 16: a plugin that announces another place's ids


@pytest.mark.parametrize("backend", ["memory", "postgresql"], indirect=True)
def test_a_roll_back_that_announces_the_destination_keeps_the_workspaces_files(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({"kinto.includes": "kinto_attachment tests.faults.reviewer"})
    owner = server.as_user()
    work, main = (f"{BUCKET}/collections/{name}" for name in ("m_in", "main"))
    owner.make_collection(work)
    owner.make_collection(main)
    owner.upload(f"{work}/records/r/attachment", content=b"published")
    owner.json("patch", work, {"data": {"status": "to-sign"}})
    owner.upload(f"{work}/records/r/attachment", content=b"draft")

    owner.json("patch", work, {"data": {"status": "to-rollback"}})

    server.assert_agreement()
    owner.delete(f"{main}/records/r")
    assert owner.get(f"{work}/records/r/attachment").body == b"published"
    server.assert_agreement()


# What neighbours may do


def with_neighbour(make_server: Callable[..., Server], name: str, **more: str) -> Server:
    includes = f"kinto_attachment tests.faults.neighbours.{name}"
    server = make_server({"kinto.includes": includes, **more})
    server.as_user().make_collection()
    server.as_user().make_collection(f"{BUCKET}/collections/main")
    return server


@every_backend()
def test_what_is_written_in_a_savepoint_is_judged_as_well(
    make_server: Callable[..., Server],
) -> None:
    server = with_neighbour(make_server, "savepoint")
    owner = server.as_user()

    for content in (b"first", b"second"):
        owner.upload(content=content)
        assert owner.get(ATTACHMENT).body == content
        server.assert_agreement()
    wrong = {**value_of(owner), "size": 7}
    owner.json("put", SECOND, {"data": {"attachment": wrong}}, 400)
    owner.json("put", SECOND, {"data": {"attachment": value_of(owner)}}, 201)
    owner.delete(RECORD)
    assert owner.get(f"{SECOND}/attachment").body == b"second"
    owner.delete(SECOND)
    assert server.stored_keys() == set()


@every_backend()
def test_a_plugin_may_copy_what_is_uploaded_by_the_same_request(
    make_server: Callable[..., Server],
) -> None:
    server = with_neighbour(make_server, "mirror")
    owner = server.as_user()

    for content in (b"first", b"second"):
        owner.upload(content=content)
        server.assert_agreement()
    owner.delete(RECORD)

    assert owner.get(f"{BUCKET}/collections/main/records/first/attachment").body == b"second"
    server.assert_agreement()


def test_uploads_beside_a_plugin_that_writes_their_collection_do_not_stand_still(
    make_server: Callable[..., Server], postgresql: str
) -> None:
    server = with_neighbour(make_server, "marker", **postgresql_settings(postgresql))

    def upload(number: int) -> list[int]:
        client = server.as_user()
        records = [f"{COLLECTION}/records/c{number}-{n}/attachment" for n in range(5)]
        statuses = [client.upload(record, status="*").status_code for record in records]
        server.release()
        return statuses

    with ThreadPoolExecutor(4) as pool:
        answers = [status for some in pool.map(upload, range(4)) for status in some]

    assert answers == [201] * 20
    server.assert_agreement()


def test_an_isolation_level_that_hides_what_others_do_is_refused(
    make_server: Callable[..., Server], postgresql: str, pool: Pool
) -> None:
    level = {"kinto.storage_isolation_level": "REPEATABLE READ"}
    url = postgresql.replace("?", "?application_name=repeatable&")
    server = make_server({**postgresql_settings(url), **level})
    server.as_user().make_collection()

    server.as_user().upload(status=503)

    server.as_user().get(RECORD, 404)
    server.assert_agreement()
    assert server.stored_keys() == set()
    pool.discard(server)


@every_backend()
def test_an_id_that_kinto_refuses_is_no_failure(owner: Client) -> None:
    for method in ("GET", "HEAD"):
        answer = owner.request(method, f"{COLLECTION}/records/a%00b/attachment", "*")
        assert answer.status_code in (400, 404)


# 6 of security.md: a copy keeps the rules of where it goes


@pytest.mark.parametrize("rule", ["extensions = images", "max_size_bytes = 3"])
@every_backend()
def test_a_copy_keeps_the_rules_of_the_collection_that_it_goes_to(
    make_server: Callable[..., Server], rule: str
) -> None:
    name, _, value = rule.partition(" = ")
    server = make_server({f"kinto.attachment.resources.pictures.strict.{name}": value})
    owner = server.as_user()
    strict = f"{BUCKET}/collections/strict"
    owner.make_collection()
    owner.make_collection(strict)
    owner.upload(content=b"1234", filename="a.txt", mimetype="text/plain")

    copy = {"data": {"attachment": value_of(owner)}}
    owner.json("put", f"{strict}/records/r", copy, 400 if name == "extensions" else 413)

    owner.get(f"{strict}/records/r", 404)
    server.assert_agreement()


@pytest.mark.parametrize("has_a_file", [True, False])
@pytest.mark.parametrize("kind", [JSON, MERGE, PATCH])
@pytest.mark.parametrize("rule", ["extensions = images", "max_size_bytes = 3", "none"])
@every_backend()
def test_a_value_that_comes_by_a_patch_is_refused_by_the_same_rules(
    make_server: Callable[..., Server], rule: str, kind: str, has_a_file: bool
) -> None:
    """And with the refusal's own status: nobody else has changed the record meanwhile."""
    name, _, limit = rule.partition(" = ")
    rules = {f"kinto.attachment.resources.pictures.strict.{name}": limit} if limit else {}
    owner = make_server(rules).as_user()
    strict = f"{BUCKET}/collections/strict"
    record = f"{strict}/records/r"
    owner.make_collection()
    owner.make_collection(strict)
    owner.upload(content=b"1234", filename="a.txt", mimetype="text/plain")
    if has_a_file:
        owner.upload(f"{record}/attachment", content=b"png", filename="a.png", mimetype=None)
    else:
        owner.json("put", record, {"data": {"title": "old"}})
    before = owner.get(record).json
    value = value_of(owner) if limit else {**value_of(owner), "size": True}
    headers = {"Content-Type": kind}
    body = change(kind, "attachment", value)

    answer = owner.request("PATCH", record, "*", body=body, headers=headers)

    assert answer.status_code == (413 if "max_size" in rule else 400)
    assert owner.get(record).json == before
    owner.server.assert_agreement()


# 20: what is left over of 8.x is known


def test_a_file_of_8_x_that_could_not_be_removed_is_gcs(
    on_postgresql: Callable[..., Server],
) -> None:
    base_url = "https://files.example.org/"
    server = on_postgresql({"kinto.attachment.base_url": base_url})
    owner = server.as_user()
    owner.upload(content=b"old")
    (link,) = server.rows().of_records([RECORD])
    key, value = "old/photo.jpg", {**link.value, "location": f"{base_url}old/photo.jpg"}
    server.store_file(key, b"old")
    adopted = dataclasses.replace(link, file_id=keys.file_id(key), key=key, value=value)
    with transaction.manager:
        server.rows().remove([link])
        server.rows().add([adopted])
        record = server.registry.storage.get(
            resource_name="record", parent_id=COLLECTION, object_id="first"
        )
        server.registry.storage.update(
            resource_name="record",
            parent_id=COLLECTION,
            object_id="first",
            obj={**record, "attachment": value},
        )
    assert owner.get(ATTACHMENT).body == b"old"
    store = server.registry.attachments.store
    store.delete_many, kept = lambda keys: None, store.delete_many
    owner.delete(RECORD)
    store.delete_many = kept
    assert key in server.stored_keys()
    assert [k.state for page in server.rows().everything() for k in page] == [State.RELEASED]
    transaction.abort()

    collect(server)

    assert server.stored_keys() == set()
    assert not server.rows().any_links()
    transaction.abort()


# 21, 22: whoever writes


def test_kintos_conflicts_with_the_file_in_hand_are_not_the_clients(
    on_postgresql: Callable[..., Server], database: Database
) -> None:
    server = on_postgresql()
    owner = server.as_user()
    owner.upload(content=b"old")
    database.execute(
        "CREATE OR REPLACE FUNCTION conflict() RETURNS trigger AS $$ BEGIN"
        " IF nextval('tries') < 4 THEN RAISE unique_violation; END IF; RETURN NEW; END $$"
        " LANGUAGE plpgsql"
    )
    database.execute("CREATE SEQUENCE IF NOT EXISTS tries")
    database.execute(
        "CREATE TRIGGER conflict BEFORE INSERT OR UPDATE ON objects FOR EACH ROW"
        " WHEN (NEW.resource_name = 'record') EXECUTE FUNCTION conflict()"
    )
    try:
        answer = owner.upload(content=b"new")
    finally:
        transaction.abort()
        database.execute("DROP TRIGGER conflict ON objects")
        database.execute("DROP SEQUENCE tries")

    assert answer.status_code == 200
    assert answer.headers["ETag"] == owner.get(RECORD).headers["ETag"]
    assert owner.get(ATTACHMENT).body == b"new"
    server.assert_agreement()


def test_a_patch_of_a_record_made_and_replaced_while_it_runs_is_a_conflict(
    on_postgresql: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinto reads a record that was not there when the request began once more."""
    server = on_postgresql()
    owner, real, here = server.as_user(), server.registry.storage.get, threading.get_ident()
    # Else Kinto writes the collection's timestamp when it is asked for it, and others wait.
    owner.upload(f"{SECOND}/attachment")
    reads = 0

    def get(resource_name: str, *where: Any, **more: Any) -> Any:
        nonlocal reads
        if resource_name != "record" or threading.get_ident() != here:
            return real(resource_name, *where, **more)
        reads += 1
        if reads == 2:
            others.submit(owner.upload, content=b"made").result()
        found = real(resource_name, *where, **more)
        if reads == 2:
            others.submit(owner.upload, content=b"replaced").result()
        return found

    monkeypatch.setattr(server.registry.storage, "get", get)
    with ThreadPoolExecutor(1) as others:
        answer = owner.json("patch", RECORD, {"data": {"title": "new"}}, 409)

    assert "was changed meanwhile" in answer.json["message"]
    monkeypatch.undo()
    assert owner.get(ATTACHMENT).body == b"replaced"
    server.assert_agreement()


# 26: cost does not grow with other people's records


def statements(server: Server, act: Callable[[], Any]) -> int:
    """How many statements a request sends."""
    engine = server.registry.storage.client.session_factory.session_factory.kw["bind"]
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    sqlalchemy.event.listen(engine, "before_cursor_execute", note)
    try:
        act()
    finally:
        sqlalchemy.event.remove(engine, "before_cursor_execute", note)
    return len(sent)


def test_a_popular_file_costs_as_many_statements_as_any_other(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql()
    owner, other = server.as_user(), server.as_user(OTHER)
    other.make_collection("/buckets/mine/collections/album")
    owner.upload(content=b"popular")
    value = value_of(owner)
    (link,) = server.rows().of_records([RECORD])
    transaction.abort()

    def acts() -> list[int]:
        location = f"/{value['location']}"
        copy = {"data": {"attachment": value}}
        return [
            statements(server, lambda: server.as_user(None).get(location, 401)),
            statements(server, lambda: other.get(location, 403)),
            statements(server, lambda: owner.get(location, 200)),
            statements(server, lambda: owner.json("put", SECOND, copy, 201)),
            statements(server, lambda: owner.delete(SECOND)),
        ]

    few = acts()
    copies = [
        dataclasses.replace(link, record_uri=f"{BUCKET}/collections/c{n % 7}/records/r{n}")
        for n in range(2000)
    ]
    with transaction.manager:
        server.rows().add(copies)
        for copy in copies:
            where = Target.of_uri(copy.record_uri)
            server.registry.storage.update(
                resource_name="record",
                parent_id=where.collection_uri,
                object_id=where.record_id,
                obj={"attachment": value},
            )
    many = acts()

    assert all(after <= before + 12 for before, after in zip(few, many, strict=True)), (few, many)
