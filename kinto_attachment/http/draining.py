"""What is left of a body that was refused is read, so that its connection can go on.

HTTP/1.1 keeps a connection for the next request, which begins where the body ends. gunicorn
promises that, and reads no more than 64 KiB of a rest; granian reads nothing. A client that is
still sending finds its connection reset, and may never read the answer. No WSGI application may
say ``Connection: close`` (PEP 3333).
"""

import contextlib
from collections.abc import Callable
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPBadRequest, HTTPUnauthorized
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.http.bodies import Body
from kinto_attachment.http.pace import ends

MOST = 8 * 1024 * 1024
"""Bytes: more is not worth reading, and a client that sends more has to bear a reset."""

LONGEST = 5.0
"""Seconds for all of the rest, where the server can be told: the thread is needed for others."""


def includeme(config: Configurator) -> None:
    """Around everything: when the rest is read, no connection to the database is held."""
    config.add_tween(
        "kinto_attachment.http.draining.tween_factory",
        over="kinto_attachment.agreement.errands.tween_factory",
    )


def tween_factory(handler: Callable[[Request], Response], registry: Any) -> Any:
    """Pyramid's: see the module's first lines."""

    def tween(request: Request) -> Response:
        path = request.environ["PATH_INFO"]
        if request.method not in ("POST", "PUT") or not path.endswith("/attachment"):
            return handler(request)
        response = handler(request)
        if response.status_code == HTTPUnauthorized.code and not ends(request.environ):
            return response  # A stranger must not hold a thread, by sending nothing.
        if response.status_code >= HTTPBadRequest.code:
            with contextlib.suppress(Refused):  # There is no body.
                (Body.of(request) or Body(request)).drain(MOST, LONGEST)
        return response

    return tween
