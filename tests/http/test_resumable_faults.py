"""What goes wrong with uploads in several requests: dead connections, late bytes, lost answers."""

import contextlib
import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest
import transaction

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.unfinished import Session, UnfinishedUploads
from kinto_attachment.rows import upload_rows_of
from kinto_attachment.targets import Target
from tests.faults.harness import Database
from tests.http.test_resumable import (
    ON,
    Draft,
    Tus,
    assert_nothing_left,
    every_dialect,
    metadata,
    path_of,
)
from tests.support import parts, storage_parts
from tests.support.parts import ATTACHMENT, RECORD, Client, Server

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
EVERYWHERE = pytest.mark.parametrize(
    ("backend", "store"),
    [("memory", "local_store"), ("postgresql", "local_store"), ("postgresql", "s3_store")],
    indirect=True,
)


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    made = make_server(ON)
    made.as_user().make_collection()
    return made


def session_of(server: Server, client: Client, url: str) -> Session:
    """The upload, taken over by a request that hangs from now on."""
    plugin = server.registry.attachments
    uploads = UnfinishedUploads(plugin.settings, plugin.store, server.registry.storage)
    target = Target.of_uri(url.rsplit("/attachment", 1)[0])
    try:
        return uploads.take(target, url.rsplit("/", 1)[1], client.principal)
    finally:
        transaction.abort()


@EVERYWHERE
@pytest.mark.parametrize("request_", ["HEAD", "PATCH", "DELETE"])
def test_the_late_bytes_of_a_request_that_was_taken_over_change_nothing(
    owner: Client, server: Server, request_: str
) -> None:
    tus = Tus()
    url = path_of(tus.create(owner, 6))
    zombie = session_of(server, owner, url)
    if request_ == "HEAD":
        assert tus.head(owner, url).headers["Upload-Offset"] == "0"
    elif request_ == "PATCH":
        tus.send(owner, url, 0, b"abc", False, 204)
    else:
        tus.stop(owner, url, 204)

    with pytest.raises(Refused):
        zombie.append(0, [b"zzz"], 6)

    if request_ == "DELETE":
        tus.head(owner, url, 404)
    else:
        begin = int(tus.head(owner, url).headers["Upload-Offset"])
        assert begin == (3 if request_ == "PATCH" else 0)
        tus.send(owner, url, begin, b"abcdef"[begin:], False, 204)
        assert owner.get(ATTACHMENT).body == b"abcdef"
    assert_nothing_left(server)


@EVERYWHERE
def test_a_request_that_was_taken_over_at_the_end_writes_no_record(
    owner: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    tus, real = Tus(), Session.publish
    url = path_of(tus.create(owner, 3))

    def overtaken(self: Session, length: int) -> Any:
        found = real(self, length)
        with monkeypatch.context() as undone:
            undone.setattr(Session, "publish", real)
            assert tus.head(owner, url).headers["Upload-Offset"] == "2"
        return found

    with monkeypatch.context() as watched:
        watched.setattr(Session, "publish", overtaken)
        tus.send(owner, url, 0, b"abc", False, 409)

    owner.get(RECORD, 404)
    tus.send(owner, url, 2, b"c", False, 204)
    assert owner.get(ATTACHMENT).body == b"abc"
    assert_nothing_left(server)


@EVERYWHERE
def test_what_came_before_a_connection_broke_is_kept(owner: Client, server: Server) -> None:
    tus = Tus()
    url = path_of(tus.create(owner, 200_000))
    content = random.Random(2).randbytes(200_000)
    session = session_of(server, owner, url)

    def broken() -> Any:
        yield content[:150_000]
        raise Refused("truncated_body", received=150_000, expected=200_000)

    with pytest.raises(Refused):
        session.append(0, broken(), 200_000)
    transaction.abort()

    assert tus.head(owner, url).headers["Upload-Offset"] == "150000"
    tus.send(owner, url, 150_000, content[150_000:], False, 204)
    said = owner.get(RECORD).json["data"]["attachment"]
    assert said["hash"] == hashlib.sha256(content).hexdigest()
    assert_nothing_left(server)


def test_no_connection_is_held_while_bytes_come(
    on_postgresql: Callable[..., Server], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinto_attachment.http.in_parts import resumable

    server, seen = on_postgresql(ON), []
    owner, tus, real = server.as_user(), Tus(), resumable.chunks_of

    def watched(request: Any) -> Any:
        for chunk in real(request):
            seen.append(database.execute(WAITING)[0][0])
            yield chunk
            seen.append(database.execute(WAITING)[0][0])

    monkeypatch.setattr(resumable, "chunks_of", watched)
    url = path_of(tus.create(owner, 600_000))
    tus.send(owner, url, 0, b"x" * 599_999, False, 204)
    tus.send(owner, url, 599_999, b"x", False, 204)

    assert len(seen) > 6
    assert set(seen) == {0}


@EVERYWHERE
def test_who_may_write_no_more_keeps_the_upload_until_he_may_again(
    owner: Client, other: Client, server: Server
) -> None:
    tus = Tus()
    other_id = other.principal
    collection = RECORD.rsplit("/records", 1)[0]
    owner.json("patch", collection, {"permissions": {"write": [other_id]}})
    url = path_of(tus.create(other, 3))
    tus.send(other, url, 0, b"ab", False, 204)
    owner.json("patch", collection, {"permissions": {"write": []}})

    tus.send(other, url, 2, b"c", False, 403)

    owner.json("patch", collection, {"permissions": {"write": [other_id]}})
    tus.send(other, url, 2, b"c", False, 204)
    assert owner.get(ATTACHMENT).body == b"abc"
    assert_nothing_left(server)


@EVERYWHERE
def test_rows_are_no_more_than_the_uploads_that_are_remembered(
    owner: Client, server: Server
) -> None:
    rows = upload_rows_of(server.registry.storage)
    tus = Tus()
    for _ in range(3):
        tus.stop(owner, path_of(tus.create(owner, 3)), 204)
    path_of(tus.create(owner, 3))
    for answer in (Tus().create(owner, -1, 400), Draft("5").create(owner, 3, 412)):
        assert answer.json["details"]["reason"] in ("upload_header", "upload_version")

    found = [upload for page in rows.everything() for upload in page]
    transaction.abort()

    assert len(found) == 1


@EVERYWHERE
@every_dialect
@pytest.mark.parametrize("size", [0, 5_000])
def test_the_length_may_be_told_when_all_bytes_are_there(
    owner: Client, server: Server, dialect: Any, size: int
) -> None:
    """By a request that brings none."""
    content = random.Random(3).randbytes(size)
    url = path_of(dialect.create(owner, None))
    if size:
        dialect.send(owner, url, 0, content, False, 204)

    dialect.send(owner, url, size, b"", True)

    assert owner.get(ATTACHMENT).body == content
    assert dialect.head(owner, url).headers["Upload-Offset"] == str(size)
    assert_nothing_left(server)


@every_dialect
def test_an_upload_is_found_below_its_own_record_only(
    owner: Client, server: Server, dialect: Any
) -> None:
    url = path_of(dialect.create(owner, 3))
    elsewhere = url.replace(RECORD, f"{RECORD}-2")
    owner.json("put", f"{RECORD}-2")

    dialect.head(owner, elsewhere, 404)
    dialect.send(owner, elsewhere, 0, b"abc", True, 404)
    dialect.stop(owner, elsewhere, 404)

    dialect.send(owner, url, 0, b"abc", True)
    assert owner.get(ATTACHMENT).body == b"abc"
    assert "attachment" not in owner.get(f"{RECORD}-2").json["data"]
    assert_nothing_left(server)


@every_dialect
def test_who_is_not_known_any_more_goes_on_when_he_is(
    owner: Client, server: Server, dialect: Any
) -> None:
    """As where a token has expired in the middle."""
    url, unknown = path_of(dialect.create(owner, 6)), server.as_user(None)
    dialect.send(owner, url, 0, b"abc", False, 204)

    for refused in (
        dialect.send(unknown, url, 3, b"def", True, 401),
        dialect.head(unknown, url, 401),
        dialect.stop(unknown, url, 401),
    ):
        assert "Upload-Offset" not in refused.headers

    assert dialect.head(owner, url).headers["Upload-Offset"] == "3"
    dialect.send(owner, url, 3, b"def", True)
    assert owner.get(ATTACHMENT).body == b"abcdef"
    assert_nothing_left(server)


def test_s3_may_say_200_and_then_that_it_failed() -> None:
    """CompleteMultipartUpload does so, where it takes long."""
    dialect = Tus()
    with contextlib.ExitStack() as stack:
        url, gate = stack.enter_context(storage_parts.gated_moto())
        with storage_parts.s3_client(url) as client:
            bucket = storage_parts.new_bucket(client)
        store = storage_parts.s3_settings(url, bucket, download="proxy")
        server = Server({**parts.SETTINGS, **parts.MEMORY, **store, **ON})
        stack.callback(server.close)
        owner = server.as_user()
        owner.make_collection()
        upload = path_of(dialect.create(owner, 3))
        fails = {"POST uploadId": (200, "InternalError")}
        gate.answer = lambda operation, _: fails.get(operation)

        dialect.send(owner, upload, 0, b"abc", True, 503)

        assert "POST uploadId" in [operation for operation, _ in gate.seen]
        gate.reset()
        assert dialect.head(owner, upload).headers["Upload-Offset"] == "2"
        owner.get(RECORD, 404)
        dialect.send(owner, upload, 2, b"c", True)
        assert owner.get(ATTACHMENT).body == b"abc"
        assert_nothing_left(server)


def test_two_finish_at_once_and_one_record_is_written(owner: Client, server: Server) -> None:
    tus = Tus()
    url = path_of(tus.create(owner, 3, Upload_Metadata=metadata(filename="a.jpg")))
    tus.send(owner, url, 0, b"abc", False, 204)
    assert tus.send(owner, url, 3, b"", False, 204).headers["Upload-Offset"] == "3"
    tus.send(owner, url, 2, b"d", False, 409)
    assert owner.get(ATTACHMENT).body == b"abc"
    assert_nothing_left(server)
