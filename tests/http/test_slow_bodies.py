"""Bodies that stall: they are ended, and meanwhile they hold no connection to the database."""

import contextlib
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import Database
from tests.support import parts, processes, streaming

THREADS = 4
"""Of the servers in tests.support.streaming."""

SIZE = 600_000
"""Bytes; gunicorn gives 256 KiB at once, or waits for them."""

FORM, FORM_TYPE = parts.multipart([("attachment", "a.txt", "text/plain", b"x" * SIZE)])
BODIES = {
    "PUT": ("text/plain", b"x" * SIZE),
    "POST": (FORM_TYPE, FORM),
}
QUICKLY: dict[str, Any] = {
    "attachment__least_rate": str(2**40),
    "attachment__least_rate_grace": "0.2",
}


def stalled(
    stack: contextlib.ExitStack,
    kinto: processes.Kinto,
    method: str,
    path: str,
    chunked: bool = False,
) -> socket.socket:
    """A client that sends all of its upload but the last ten bytes, and waits."""
    host, port = kinto.origin.removeprefix("http://").split(":")
    content_type, body = BODIES[method]
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"{method} /v1{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\n"
    head += f"Authorization: {streaming.CREDENTIALS['Authorization']}\r\n{length}\r\n\r\n"
    sent = body[:-10]
    if chunked:
        sent = f"{len(body):x}\r\n".encode() + sent
    client = stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
    client.sendall(head.encode() + sent)
    return client


def answer_of(client: socket.socket) -> tuple[int, Any]:
    received = b""
    while not received.endswith(b"}"):
        data = client.recv(65536)
        assert data, received
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_stalled_uploads_are_ended_and_free_their_threads(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        kinto = stack.enter_context(streaming.server("gunicorn", tmp_path, **QUICKLY))
        clients = [
            stalled(stack, kinto, method, streaming.NORMAL, chunked)
            for method in BODIES
            for chunked in (False, True)
            for _ in range(THREADS)
        ]

        answers = [answer_of(client) for client in clients]

        for status, said in answers:
            assert (status, said["details"]["reason"]) == (408, "too_slow")
        assert streaming.send(kinto, "GET", "/", b"", "text/plain")[0] == 200
        assert list(kinto.files.rglob("*.txt")) == []
        assert list((kinto.files / ".unfinished").iterdir()) == []


@pytest.mark.parametrize("method", BODIES)
def test_what_comes_after_the_answer_to_a_stalled_upload_is_no_request(
    tmp_path: Path, method: str
) -> None:
    """The rest of the body could be somebody else's words."""
    with contextlib.ExitStack() as stack:
        kinto = stack.enter_context(streaming.server("gunicorn", tmp_path, **QUICKLY))
        client = stalled(stack, kinto, method, streaming.NORMAL)
        assert answer_of(client)[0] == 408

        with contextlib.suppress(ConnectionError):
            client.sendall(b"GET /v1/ HTTP/1.1\r\nHost: somebody\r\n\r\n")
            assert client.recv(65536) == b""


def test_stalled_uploads_into_new_collections_hold_no_connection_to_the_database(
    tmp_path: Path, postgresql: str, make_server: Callable[..., parts.Server]
) -> None:
    """One connection is all there is, and three uploads wait for their clients."""
    database = Database(postgresql)
    backend = parts.postgresql_settings(postgresql)
    make_server(backend)  # It makes the tables.
    for part in ("storage", "permission"):
        backend[f"kinto.{part}_pool_size"] = "1"
        backend[f"kinto.{part}_max_overflow"] = "0"
        backend[f"kinto.{part}_pool_timeout"] = "20"
    methods = ["PUT", "POST", "PUT"]
    with contextlib.ExitStack() as stack:
        kinto = stack.enter_context(streaming.server("gunicorn", tmp_path, backend))
        first = streaming.send(kinto, "PUT", streaming.NORMAL, b"marks the store", "text/plain")
        assert first[0] == 201
        clients = [
            stalled(stack, kinto, method, streaming.DEFAULT.replace("album", f"new{number}"))
            for number, method in enumerate(methods)
        ]
        deadline = time.monotonic() + 60
        while len(list((kinto.files / ".unfinished").iterdir())) < len(clients):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # Between two looks; nothing relies on how long it is.

        assert database.idle_in_transaction() == 0
        assert streaming.send(kinto, "GET", "/buckets/big", b"", "text/plain")[0] == 200

        for client, method in zip(clients, methods, strict=True):
            client.sendall(BODIES[method][1][-10:])
            assert answer_of(client)[0] == 201
        for bucket in ("default", "big"):
            assert (
                streaming.send(kinto, "DELETE", f"/buckets/{bucket}", b"", "text/plain")[0] == 200
            )
    database.close()
