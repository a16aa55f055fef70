"""What is left of a body that was refused, or ignored, is read, so that its connection can go on.

HTTP/1.1 keeps a connection for the next request, which begins where the body ends. gunicorn
promises that, and reads no more than 64 KiB of a rest; granian reads nothing. A client that is
still sending finds its connection reset, and may never read the answer. No WSGI application may
say ``Connection: close`` (PEP 3333).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest, HTTPForbidden, HTTPUnauthorized
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.agreement.errands import Errand
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.http.received.bodies import Body
from kinto_attachment.http.received.pace import ends, part, was_ended

MOST = 8 * 1024 * 1024
"""Bytes: more is not worth reading, and a client that sends more has to bear a reset."""

STRANGERS = (HTTPUnauthorized.code, HTTPForbidden.code)
"""Answers to those who may do nothing: where the waiting for a body can't be ended, they would
hold a thread by sending nothing. Kinto knows every made-up password: 403 is a stranger's, too."""

LONGEST = 5.0
"""Seconds for all of the rest, where the server can be told: the thread is needed for others."""


def includeme(config: Configurator) -> None:
    """Around everything: when the rest is read, no connection to the database is held."""
    config.add_tween(
        "kinto_attachment.http.received.draining.tween_factory",
        over="kinto_attachment.agreement.errands.tween_factory",
    )


def tween_factory(handler: Callable[[Request], Response], registry: Any) -> Any:
    """Pyramid's: see the module's first lines."""

    def tween(request: Request) -> Response:
        response = handler(request)
        if request.method not in ("POST", "PUT", "PATCH") or Errand.of(request) is None:
            return response
        if response.status_code in STRANGERS and not ends(request.environ):
            return response
        body = Body.of(request)
        if response.status_code >= HTTPBadRequest.code or body is None:
            with contextlib.suppress(Refused):  # There is no body.
                (body or Body(request)).drain(MOST, LONGEST)
        if was_ended(request.environ):
            return Parting.instead_of(response)
        return response

    return tween


class Parting(Response):
    """An answer after which the connection is closed.

    Subscribers of Kinto's read an answer's body, and close it, before it is sent: so what has to
    be closed is only added when the server asks for the answer.
    """

    @classmethod
    def instead_of(cls, response: Response) -> "Parting":
        """The same answer, which closes the connection."""
        return cls(response.body, response.status, response.headerlist)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> "Sent":
        """The server calls ``close`` of what it gets when it has sent all of it (PEP 3333)."""
        return Sent(super().__call__(environ, start_response), lambda: part(environ))


class Sent:
    """What the server sends, and what is to be done then."""

    def __init__(self, chunks: Iterable[bytes], close: Callable[[], None]) -> None:
        self._chunks = chunks
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks)
