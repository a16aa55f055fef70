"""A request for a file, from its first byte to the commit of its record.

An upload is two requests to Kinto. The first one asks for the caller's rights and receives the
body. The second one is Kinto's own PUT or PATCH of the record, with rights, groups and parents
looked at anew, however long the body took; where it meets one of Kinto's conflicts, it is sent
once more, with the file in hand.

Longer than others, since the tween and the errand that it drives make no sense apart.
"""

import io
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kinto.core.utils import json
from pyramid.config import Configurator
from pyramid.events import BeforeTraversal, NewRequest
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.attachments import intake
from kinto_attachment.attachments.file_changes import Fate, Incoming
from kinto_attachment.attachments.values import StoredAttachment
from kinto_attachment.plugin import Plugin
from kinto_attachment.records import subrequests
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.conflicts import passes
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry

logger = logging.getLogger(__name__)

ATTEMPTS = 30
"""How often a record is written that meets conflicts of Kinto's, which last milliseconds."""

LONGEST_PAUSE = 0.05
"""Seconds, at the most, between two attempts: two that have met once would meet again."""

Handler = Callable[[Request], Response]
"""What a tween is made from, and what it is."""

KEY = "kinto_attachment.errand"
_PATH = re.compile(
    r"(/v\d+/buckets/[^/]+/collections/[^/]+/records/[^/]+)/attachment(/uploads(?:/[^/]+)?)?$"
)
"""To be matched, as Pyramid matches its routes: ``$`` lets a line break follow, ``fullmatch``
would not."""

WHOLE, IN_PARTS = ("POST", "PUT", "DELETE"), ("POST", "PATCH")
"""Methods of requests for a file, and of those for an upload in several requests, that may end in
a record that is written."""

OF_FRAMEWORKS = ("webob.", "bfg.", "pyramid.")
"""How the names begin that Pyramid and WebOb add to the environ of a request."""


@dataclass
class Errand:
    """What one POST, PUT or DELETE of ``/attachment`` is about.

    :param environ: of the request as it came in, with what server and middleware say of it.
    :param incoming: the file that comes with it, as soon as it is declared.
    :param change: what the record's PUT or PATCH will say.
    :param exists: whether the record existed when it was last looked at.
    :param passing: whether what failed last was a conflict that passes.
    :param lets_go: whether the file goes if its record was not written in the end; False for
        one of an upload that may go on.
    :param before: done before the record is written, in its transaction; may raise.
    :param after: done once the record is written, in its transaction; may raise.
    :param answer: makes the client's response of the first one, which has the headers of our
        own URL, and of Kinto's answer for the record.
    """

    environ: Mapping[str, Any]
    record_path: str
    incoming: Incoming | None = None
    change: dict[str, Any] | None = None
    exists: bool = False
    passing: bool = False
    lets_go: bool = True
    before: Callable[[], None] = field(default=lambda: None)
    after: Callable[[], None] = field(default=lambda: None)
    answer: Callable[[Request, Response, Response], Response] = field(
        default=lambda request, response, answer: answer
    )

    @classmethod
    def of(cls, request: Request) -> "Errand | None":
        """The errand of a request, if it is one."""
        found: Errand | None = request.environ.get(KEY)
        return found

    @classmethod
    def on(cls, request: Request) -> "Errand":
        """The errand of a request that can't be anything else."""
        found: Errand = request.environ[KEY]
        return found

    @property
    def conditional(self) -> bool:
        """Whether the client has set a precondition."""
        return "HTTP_IF_MATCH" in self.environ or "HTTP_IF_NONE_MATCH" in self.environ

    def expect(self, key: str) -> None:
        """A file is about to be stored under this key: from now on it is in this hand."""
        self.incoming = Incoming(key)

    def hold(self, stored: StoredAttachment) -> None:
        """The file that was expected lies in the store."""
        self.incoming = Incoming(stored.key, stored)

    def leave_to_gc(self) -> None:
        """The store does not answer: what it may have kept can't be removed now."""
        if self.incoming:
            logger.warning("%s, if it was stored, is left to gc.", self.incoming.key)
            self.incoming.fate = Fate.UNKNOWN

    def note(self, error: BaseException) -> None:
        """Something has failed: does it pass?"""
        self.passing = passes(error)

    def again(self) -> Request:
        """The request once more, which has no body."""
        return self._request(self.environ["REQUEST_METHOD"], self.environ["PATH_INFO"], b"")

    def of_record(self) -> Request:
        """The request to the record."""
        request = self._request(
            "PATCH" if self.exists else "PUT", self.record_path, json.dumps(self.change).encode()
        )
        if not (self.exists or self.conditional):
            # A plain PUT would drop the fields of a record that was created meanwhile.
            request.headers["If-None-Match"] = "*"
        for name in subrequests.NOT_FOR_THE_RECORD:
            request.headers.pop(name, None)
        request.headers["Content-Type"] = "application/json"
        return request

    def _request(self, method: str, path: str, body: bytes) -> Request:
        environ = {
            **self.environ,
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            KEY: self,
        }
        return Request(environ)


def includeme(config: Configurator) -> None:
    """Around the transaction, so that each attempt has one of its own."""
    config.add_tween(
        "kinto_attachment.agreement.errands.tween_factory", over="pyramid_tm.tm_tween_factory"
    )
    config.add_subscriber(_carry, NewRequest)
    config.add_subscriber(_lock, BeforeTraversal)


def tween_factory(handler: Handler, registry: "Registry") -> Handler:
    """Pyramid's: see the module's first lines."""

    def tween(request: Request) -> Response:
        path = _PATH.match(request.environ["PATH_INFO"])
        if path is None or request.method not in (IN_PARTS if path[2] else WHOLE):
            return handler(request)
        environ = {k: v for k, v in request.environ.items() if not k.startswith(OF_FRAMEWORKS)}
        errand = request.environ[KEY] = Errand(environ, path[1])
        try:
            return _go(request, errand, handler(request))
        finally:
            _let_go(registry, errand)

    return tween


def _go(request: Request, errand: Errand, response: Response) -> Response:
    if errand.change is None:
        if request.method != "DELETE":
            return response
        for _ in range(ATTEMPTS):
            if not errand.passing:
                break
            response = _send(request, errand, errand.again())
        return response
    return errand.answer(request, response, _written(request, errand))


def _written(request: Request, errand: Errand) -> Response:
    """Kinto's answer to the PUT or PATCH of the record, after conflicts that have passed.

    A record may have come or gone meanwhile: then, unless the client set a precondition, the
    other verb is tried. Where both find nothing, it is the collection that has gone.
    """
    before: int | None = None
    for _ in range(ATTEMPTS):
        answer = _send(request, errand, errand.of_record())
        status = answer.status_code
        if status in (404, 412) and not errand.conditional and (before, status) != (404, 404):
            errand.exists = not errand.exists
            before = status
        elif not errand.passing:
            break
    return answer


def _send(request: Request, errand: Errand, again: Request) -> Response:
    if errand.passing:
        time.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 - no secret
    errand.passing = False
    return request.invoke_subrequest(again, use_tweens=True)


def _let_go(registry: "Registry", errand: Errand) -> None:
    """What is in hand when all is over, and no record has it, goes."""
    incoming = errand.incoming
    if incoming and errand.lets_go and incoming.fate is Fate.OPEN:
        intake.forget(Plugin.of_registry(registry).store, incoming.key)


def _carry(event: NewRequest) -> None:
    """Sub-requests of Kinto's own, as for the default bucket, have another environ."""
    request = event.request
    errand = Errand.of(request)
    if errand is None and hasattr(request, "parent"):
        errand = Errand.of(request.parent)
        if errand is not None and errand.change is not None:
            request.environ[KEY] = errand


def _lock(event: BeforeTraversal) -> None:
    """Before Kinto looks: nobody may delete the collection between its look and its write; and
    with a precondition nobody may write the record, so that one of two that are sent at once
    gets 412."""
    request = event.request
    errand, ids = Errand.of(request), request.matchdict or {}
    if errand is None or not {"bucket_id", "collection_id", "id"} <= set(ids):
        return
    if errand.change is None and request.method != "DELETE":
        return  # The body is still to come: nobody has to wait for that.
    target = Target(ids["bucket_id"], ids["collection_id"], ids["id"])
    rows = rows_of(request.registry.storage)
    if errand.change is not None:
        rows.share_parents([target.collection_uri])
    if errand.conditional:
        rows.lock_record(target)
