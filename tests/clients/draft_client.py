"""A client of the IETF's draft of resumable uploads, written on sockets: it reads interim
responses, which no client library hands out."""

import contextlib
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from tests.clients.servers import OWNER

SECRET = f"Basic {b64encode(':'.join(OWNER).encode()).decode()}"


@dataclass(frozen=True)
class Answer:
    """A response; ``headers`` in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


def ask(
    method: str,
    url: str,
    body: bytes = b"",
    protocol: str = "HTTP/1.1",
    listens: bool = False,
    **headers: Any,
) -> tuple[list[Answer], Answer]:
    """Send one request, on a connection of its own.

    :param listens: whether it first hears what there is to say before the body has come.
    :param headers: ``_`` stands for ``-``.
    :returns: the interim responses, and the answer.
    :raises EOFError: there is none.
    """
    interim: list[Answer] = []
    with _asking(method, url, {"Content-Length": len(body)} | headers, protocol) as (line, stream):
        if listens:
            interim.append(_answer(stream, method))
        with contextlib.suppress(OSError):  # It may have answered, and gone.
            line.sendall(body)
        while (answer := _answer(stream, method)).status < 200:
            interim.append(answer)
    return interim, answer


def break_off(
    method: str, url: str, body: bytes, length: int, wait: Callable[[], None], **headers: Any
) -> Answer:
    """Send the first bytes of a body that is longer, wait, and be gone.

    :returns: the interim response that there was before.
    """
    with _asking(method, url, {"Content-Length": length} | headers) as (line, stream):
        interim = _answer(stream, method)
        line.sendall(body)
        wait()
    return interim


@contextlib.contextmanager
def _asking(
    method: str, url: str, headers: Mapping[str, Any], protocol: str = "HTTP/1.1"
) -> Iterator[tuple[socket.socket, BinaryIO]]:
    """A connection on which a request's headers were sent, and what comes back on it."""
    place, _, path = url.removeprefix("http://").partition("/")
    host, _, port = place.partition(":")
    fields = {"Host": place, "Authorization": SECRET}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} /{path} {protocol}", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
    with (
        socket.create_connection((host, int(port)), timeout=60) as connection,
        connection.makefile("rb") as stream,
    ):
        connection.sendall("\r\n".join(lines).encode())
        yield connection, stream


def _answer(stream: BinaryIO, method: str) -> Answer:
    status = stream.readline().decode("latin-1").split(" ")
    if len(status) < 3:
        raise EOFError
    headers = {}
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    code = int(status[1])
    size = 0 if method == "HEAD" or code in (100, 104, 204) else headers["content-length"]
    return Answer(code, headers, stream.read(int(size)))
