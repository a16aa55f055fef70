"""Bodies that stall: they are ended, and meanwhile they hold no connection to the database."""

import contextlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import parts, processes, streaming

THREADS = 4
"""Of the servers in tests.support.streaming."""

FORM, FORM_TYPE = parts.multipart([("attachment", "a.txt", "text/plain", b"x" * 1000)])
BODIES = {
    "PUT": ("text/plain", b"x" * 1000),
    "POST": (FORM_TYPE, FORM),
}
QUICKLY = {"attachment__least_rate": str(2**40), "attachment__least_rate_grace": "0.2"}


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


@pytest.mark.parametrize("kind", ["gunicorn", "granian"])
def test_stalled_uploads_are_ended_and_free_their_threads(tmp_path: Path, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        kinto = stack.enter_context(streaming.server(kind, tmp_path, **QUICKLY))
        clients = [
            stalled(stack, kinto, method, streaming.NORMAL, chunked)
            for method in BODIES
            for chunked in (False, True)
            for _ in range(THREADS)
            # granian tells nobody whether a chunked body has ended: a PUT of one is a 411.
            if not (method == "PUT" and chunked and kind == "granian")
        ]

        answers = [answer_of(client) for client in clients]

        for status, said in answers:
            assert (status, said["details"]["reason"]) == (408, "too_slow")
        assert streaming.send(kinto, "GET", "/", b"", "text/plain")[0] == 200
        assert list(kinto.files.rglob("*.txt")) == []
        assert list((kinto.files / ".unfinished").iterdir()) == []


def test_stalled_uploads_into_new_collections_hold_no_connection_to_the_database(
    tmp_path: Path, postgresql: str, make_server: Callable[..., parts.Server]
) -> None:
    """One connection is all there is, and three uploads wait for their clients."""
    backend = parts.postgresql_settings(postgresql)
    make_server(backend)  # It makes the tables.
    for part in ("storage", "permission"):
        backend[f"kinto.{part}_pool_size"] = "1"
        backend[f"kinto.{part}_max_overflow"] = "0"
        backend[f"kinto.{part}_pool_timeout"] = "20"
    with contextlib.ExitStack() as stack:
        kinto = stack.enter_context(streaming.server("gunicorn", tmp_path, backend))
        clients = [
            stalled(stack, kinto, method, streaming.DEFAULT.replace("album", f"new{number}"))
            for number, method in enumerate(["PUT", "POST", "PUT"])
        ]

        answer = streaming.send(kinto, "GET", "/buckets/big", b"", "text/plain")

        assert answer[0] == 200
        for client, method in zip(clients, ["PUT", "POST", "PUT"], strict=True):
            client.sendall(BODIES[method][1][-10:])
            assert answer_of(client)[0] == 201
        assert streaming.send(kinto, "DELETE", "/buckets/default", b"", "text/plain")[0] == 200
        assert streaming.send(kinto, "DELETE", "/buckets/big", b"", "text/plain")[0] == 200
