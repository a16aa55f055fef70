"""A client of uploads in several requests, by tus, that talks to server processes."""

import contextlib
import socket
from typing import Any

from tests.support import processes, streaming

TYPE = "application/offset+octet-stream"


def ask(
    kinto: processes.Kinto, method: str, path: str, body: Any = b"", **headers: str
) -> tuple[int, Any, bytes]:
    """Status, headers and body of the answer."""
    sent = {**streaming.CREDENTIALS, "Tus-Resumable": "1.0.0", "Content-Type": TYPE}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(streaming.connect(kinto)) as connection:
        connection.request(method, path, body, sent)
        with connection.getresponse() as answer:
            return answer.status, answer.headers, answer.read()


def done(kinto: processes.Kinto, method: str, path: str, body: Any = b"", **headers: str) -> Any:
    """The headers of the answer to a request that is granted."""
    status, found, said = ask(kinto, method, path, body, **headers)
    assert status in (200, 201, 204), said
    return found


def begin(
    kinto: processes.Kinto, length: int, body: bytes = b"", path: str = streaming.NORMAL
) -> str:
    """The path of a new upload; any node takes it."""
    found = done(kinto, "POST", f"/v1{path}/uploads", body, Upload_Length=str(length))
    return "/" + str(found["Location"]).split("/", 3)[3]


def offset(kinto: processes.Kinto, path: str) -> int:
    """How far an upload has come."""
    return int(done(kinto, "HEAD", path)["Upload-Offset"])


def stalled(
    stack: contextlib.ExitStack, kinto: processes.Kinto, path: str, sent: bytes, announced: int
) -> socket.socket:
    """A client that sends some of what it has announced, from byte 0 on, and waits."""
    host, port = kinto.origin.removeprefix("http://").split(":")
    head = f"PATCH {path} HTTP/1.1\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\n"
    head += f"Content-Type: {TYPE}\r\nUpload-Offset: 0\r\nContent-Length: {announced}\r\n"
    head += f"Authorization: {streaming.CREDENTIALS['Authorization']}\r\n\r\n"
    client = stack.enter_context(socket.create_connection((host, int(port)), timeout=120))
    client.sendall(head.encode() + sent)
    return client
