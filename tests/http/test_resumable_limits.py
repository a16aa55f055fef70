"""What unfinished uploads may take: bytes, requests, and of a server nothing while they wait."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment.attachments import space
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.http.in_parts.resumable import QUICK_READ
from kinto_attachment.rows import Upload, upload_rows_of
from kinto_attachment.rows import uploads as upload_rows
from tests.faults.harness import Database
from tests.http.test_resumable import (
    ON,
    Draft,
    Tus,
    assert_nothing_left,
    every_dialect,
    path_of,
)
from tests.http.test_resumable_faults import session_of
from tests.http.test_slow_bodies import QUICKLY, answer_of
from tests.support import parts, streaming
from tests.support.parts import ATTACHMENT, BUCKET, COLLECTION, RECORD, Client, Server
from tests.support.resuming import begin, offset, stalled

TUS = Tus()

EVERY_STORAGE = pytest.mark.parametrize("backend", ["memory", "postgresql"], indirect=True)
"""Of Kinto: limits are a matter of rows, and of no store."""


def rows(server: Server) -> list[Upload]:
    found = upload_rows_of(server.registry.storage).everything()
    try:
        return [upload for page in found for upload in page]
    finally:
        transaction.abort()


# Bytes


@pytest.fixture
def bounded(make_server: Callable[..., Server]) -> Server:
    """All unfinished uploads together may have 100,000 bytes."""
    made = make_server({**ON, "kinto.attachment.max_unfinished_bytes": "100000"})
    made.as_user().make_collection()
    return made


@EVERY_STORAGE
@pytest.mark.parametrize("dialect", [Tus(), Draft("8")], ids=["tus", "draft"])
def test_the_bound_on_unfinished_bytes_holds_while_bytes_come(
    bounded: Server, dialect: Any
) -> None:
    """Nobody has announced how many they are."""
    owner = bounded.as_user()
    first, second = (path_of(dialect.create(owner, None)) for _ in range(2))
    dialect.send(owner, first, 0, b"x" * 60_000, False, 204)

    refused = dialect.send(owner, second, 0, b"y" * 60_000, False, 507)
    assert refused.json["details"]["reason"] == "no_space_unfinished"
    assert dialect.head(owner, second).headers["Upload-Offset"] == "0"
    dialect.send(owner, second, 0, b"y" * 40_000, False, 204)
    dialect.send(owner, first, 60_000, b"x", False, 507)
    dialect.create(owner, 1, 507)

    dialect.stop(owner, second, 204)
    dialect.send(owner, first, 60_000, b"x" * 40_000, True)
    assert owner.get(ATTACHMENT).body == b"x" * 100_000
    assert_nothing_left(bounded)
    dialect.create(owner, 100_000)


@EVERY_STORAGE
def test_bytes_that_came_before_a_connection_broke_count(bounded: Server) -> None:
    owner = bounded.as_user()
    url = path_of(TUS.create(owner, None))
    session = session_of(bounded, owner, url)

    def broken() -> Iterator[bytes]:
        yield b"x" * 70_000
        raise Refused("truncated_body", received=70_000, expected=80_000)

    with pytest.raises(Refused):
        session.append(0, broken(), None)
    transaction.abort()

    assert [upload.received for upload in rows(bounded)] == [70_000]
    TUS.send(owner, path_of(TUS.create(owner, None)), 0, b"y" * 30_001, False, 507)
    TUS.send(owner, path_of(TUS.create(owner, None)), 0, b"y" * 30_000, False, 204)


@EVERY_STORAGE
def test_bytes_of_requests_under_way_count(
    bounded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "SHARE", 10_000)
    owner = bounded.as_user()
    first, second = (path_of(TUS.create(owner, None)) for _ in range(2))
    session, statuses = session_of(bounded, owner, first), []

    def slow() -> Iterator[bytes]:
        yield b"x" * 65_000
        transaction.abort()
        for size in (30_000, 25_000):
            statuses.append(TUS.send(owner, second, 0, b"y" * size, False, "*").status_code)
        yield b"x" * 10_001

    with pytest.raises(Refused, match="space"):
        session.append(0, slow(), None)
    transaction.abort()

    assert statuses == [507, 204]
    assert sorted(upload.received for upload in rows(bounded)) == [25_000, 65_000]
    assert TUS.head(owner, first).headers["Upload-Offset"] == "65000"


@EVERY_STORAGE
def test_an_announcement_takes_space_for_minutes_and_received_bytes_do_so_until_they_expire(
    bounded: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = bounded.as_user()
    announced = path_of(TUS.create(owner, 90_000))
    TUS.send(owner, announced, 0, b"x" * 20_000, False, 204)
    TUS.create(owner, 80_000, 507)

    monkeypatch.setattr(upload_rows, "ANNOUNCED", 0)  # So minutes have passed.
    monkeypatch.setattr("kinto_attachment.rows.postgresql_uploads.ANNOUNCED", 0)

    TUS.create(owner, 80_001, 507)
    other = path_of(TUS.create(owner, 80_000))
    # He who has announced goes on as far as there is space.
    TUS.send(owner, announced, 20_000, b"x" * 70_000, True)
    TUS.stop(owner, other, 204)
    assert_nothing_left(bounded)


def test_two_who_begin_at_once_do_not_take_the_same_space(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql({**ON, "kinto.attachment.max_unfinished_bytes": "100000"})
    users = [server.as_user(f"user-{number}") for number in range(4)]
    everybody = {"permissions": {"write": ["system.Authenticated"]}}
    server.as_user().json("patch", COLLECTION, everybody)

    def begun(user: Client) -> int:
        try:
            return int(TUS.create(user, 30_000, "*").status_code)
        finally:
            server.release()

    with ThreadPoolExecutor(4) as pool:
        assert Counter(pool.map(begun, users)) == {201: 3, 507: 1}


# Who counts as one


@EVERY_STORAGE
@every_dialect
def test_unknown_users_are_one_for_each_collection_and_their_secret_is_the_url(
    make_server: Callable[..., Server], dialect: Any
) -> None:
    server = make_server({**ON, "kinto.attachment.max_uploads_per_user": "2"})
    owner, nobody = server.as_user(), server.as_user(None)
    everyone = {"write": ["system.Everyone"]}
    owner.make_collection(permissions=everyone)
    owner.make_collection(f"{BUCKET}/collections/other", permissions=everyone)
    urls = [path_of(dialect.create(nobody, 10)) for _ in range(2)]

    dialect.create(server.as_user(None), 10, 429)

    dialect.create(owner, 10)
    elsewhere = TUS.headers() | {"Upload-Length": "10"}
    place = f"{BUCKET}/collections/other/records/first/attachment/uploads"
    nobody.request("POST", place, 201, headers=elsewhere)
    dialect.head(owner, urls[0], 404)
    dialect.send(server.as_user(None), urls[0], 0, b"0123456789", True)
    assert owner.get(ATTACHMENT).body == b"0123456789"
    dialect.create(nobody, 10)


# Requests that bring nothing


@EVERY_STORAGE
@every_dialect
def test_a_client_that_goes_on_without_bytes_is_refused(
    make_server: Callable[..., Server], dialect: Any
) -> None:
    server = make_server(ON)
    owner = server.as_user()
    owner.make_collection()
    url = path_of(dialect.create(owner, None))
    for start in (0, 3):  # Bytes begin the count anew.
        dialect.send(owner, url, start, b"abc", False, 204)
        for _ in range(space.MOST_EMPTY):
            dialect.send(owner, url, start + 3, b"", False, 204)

    for _ in range(2):
        refused = dialect.send(owner, url, 6, b"", False, 400)
        assert refused.json["details"]["reason"] == "upload_empty"

    assert dialect.head(owner, url).headers["Upload-Offset"] == "6"
    owner.get(RECORD, 404)
    dialect.send(owner, url, 6, b"", True)
    assert owner.get(ATTACHMENT).body == b"abcabc"
    assert_nothing_left(server)


# What they hold of a server

STALLED = 32
MIB = 1024 * 1024
LENGTH = 3 * MIB
ON_SERVER: dict[str, Any] = {
    "attachment__uploads": "true",
    "attachment__extensions": "any",
    "attachment__fsync": "false",
    "attachment__max_uploads_per_user": "500",
}


def on_a_database(postgresql: str, make_server: Callable[..., Server]) -> dict[str, str]:
    backend = parts.postgresql_settings(postgresql)
    make_server(backend)  # It makes the tables.
    return backend


STARTED = b"x" * (MIB + 300_000)


def test_stalled_requests_hold_no_connection_to_the_database(
    tmp_path: Path, postgresql: str, make_server: Callable[..., Server]
) -> None:
    """One connection is all that there is. Meanwhile the server serves others."""
    database, backend = Database(postgresql), on_a_database(postgresql, make_server)
    for part in ("storage", "permission"):
        backend[f"kinto.{part}_pool_size"] = "1"
        backend[f"kinto.{part}_max_overflow"] = "0"
        backend[f"kinto.{part}_pool_timeout"] = "20"
    with contextlib.ExitStack() as stack:
        kinto = stack.enter_context(
            streaming.server("gunicorn", tmp_path, backend, threads=STALLED + 2, **ON_SERVER)
        )
        paths = [begin(kinto, LENGTH) for _ in range(STALLED)]
        clients = [stalled(stack, kinto, path, STARTED, LENGTH) for path in paths]
        files = kinto.files / ".kinto-attachment-uploads"
        written = [files / path.rsplit("/", 1)[1] for path in paths]
        deadline = time.monotonic() + 60
        while any(path.stat().st_size < MIB for path in written):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # Between two looks; nothing relies on how long it is.

        assert database.idle_in_transaction() == 0
        assert len(streaming.open_files(kinto)) == STALLED
        assert streaming.send(kinto, "GET", "/buckets/big", b"", "text/plain")[0] == 200

        for client in clients[1::2]:
            client.close()
        for client in clients[::2]:
            client.sendall(b"x" * (LENGTH - len(STARTED)))
        for client in clients[2::2]:  # Who goes after the last byte costs nobody a connection.
            client.close()
        assert clients[0].recv(12) == b"HTTP/1.1 204"
        assert streaming.send(kinto, "DELETE", "/buckets/big", b"", "text/plain")[0] == 200
    database.close()


def test_stalled_requests_are_ended_and_what_came_is_kept(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        # What is on its way has to come meanwhile, on a machine that does much else.
        slowly = {**QUICKLY, "attachment__least_rate_grace": "2"}
        kinto = stack.enter_context(streaming.server("gunicorn", tmp_path, **ON_SERVER, **slowly))
        paths = [begin(kinto, LENGTH) for _ in range(4)]
        clients = [stalled(stack, kinto, path, STARTED, LENGTH) for path in paths]

        for client, path in zip(clients, paths, strict=True):
            status, said = answer_of(client)
            assert (status, said["details"]["reason"]) == (408, "too_slow")
            # gunicorn gives what it is asked for at once; what has come of the next is lost.
            assert len(STARTED) - QUICK_READ < offset(kinto, path) <= len(STARTED)
        assert streaming.open_files(kinto) == []


IDLE = 200


def test_uploads_that_wait_for_their_clients_hold_nothing(
    tmp_path: Path, postgresql: str, make_server: Callable[..., Server]
) -> None:
    """No connection to the database, no thread, no file."""
    database, backend = Database(postgresql), on_a_database(postgresql, make_server)
    with streaming.server("gunicorn", tmp_path, backend, **ON_SERVER) as kinto:

        def held() -> tuple[int, int, int]:
            found = streaming.serving(kinto)
            files = sum(len(list(Path(f"/proc/{p.pid}/fd").iterdir())) for p in found)
            threads = sum(process.num_threads() for process in found)
            (connections,) = database.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )[0]
            return files, threads, connections

        def begin_many(number: int) -> None:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(partial(begin, kinto, LENGTH), [b"first"] * number))

        begin_many(16)  # Every thread has what it keeps.
        before = held()

        begin_many(IDLE - 16)

        assert len(list((kinto.files / ".kinto-attachment-uploads").glob("*.state"))) == IDLE
        # A thread that had no request before may have opened a connection of its own meanwhile.
        assert all(now < then + IDLE // 10 for now, then in zip(held(), before, strict=True))
        assert database.idle_in_transaction() == 0
        assert streaming.open_files(kinto) == []
        assert streaming.send(kinto, "DELETE", "/buckets/big", b"", "text/plain")[0] == 200
    database.close()
