"""104, "Upload Resumption Supported": where an upload can be gone on with, told before its body
has come (draft-ietf-httpbis-resumable-upload, "Upload Creation").

WSGI knows no interim responses. gunicorn lends the connection's socket, and writes nothing to it
between its own ``100 Continue`` and the final answer; other servers lend none.
"""

import contextlib
from collections.abc import Mapping

from pyramid.request import Request

from kinto_attachment.plugin import Plugin

STATUS = "HTTP/1.1 104 Upload Resumption Supported"


def can_be_sent(request: Request) -> bool:
    """Whether the operator wants it, and the server can: only in HTTP/1.1 is an answer a text that
    may simply be written, and HTTP/1.0 has no interim ones."""
    environ = request.environ
    return (
        Plugin.of(request).settings.interim_responses
        and "gunicorn.socket" in environ
        and environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    )


def send(request: Request, headers: Mapping[str, str]) -> None:
    """Send it. A client that is gone is noticed when its body is read."""
    lines = [STATUS, *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    with contextlib.suppress(OSError):
        request.environ["gunicorn.socket"].sendall("\r\n".join(lines).encode("latin-1"))
