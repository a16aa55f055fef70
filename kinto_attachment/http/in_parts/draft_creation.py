"""How an upload in several requests begins by the IETF's draft: careful creation, that is, the
first request says ``Upload-Complete: ?0``, and later ones go to the URL that its answer names.
Interim responses are not sent.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.http.in_parts import draft, resumable
from kinto_attachment.http.received import bodies, raw_files


def or_creation(view: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A view of a whole upload that begins one in several requests where the client says so,
    and says that it was the whole where the client asks."""

    @wraps(view)
    def wrapped(request: Request) -> Any:
        complete = draft.completeness(request)
        if complete is None:
            return view(request)
        if not complete:
            return create(request)
        request.response.headers["Upload-Complete"] = "?1"
        return view(request)

    return wrapped


def create(request: Request) -> Any:
    """Begin an upload, with its first bytes perhaps."""
    draft.check_version(request)
    raw_files.check(request)
    length = draft.lenient(request, "Upload-Length")
    announced = resumable.announced(request)
    if length is not None and announced is not None and announced > length:
        raise Refused("upload_length", length=length)
    digest = bodies.expected_digest(request, "Repr-Digest")
    sent_type = request.headers.get("Content-Type")
    part = FilePart(raw_files.filename(request), sent_type, ())
    session = resumable.begin(request, part, length, digest)
    if announced != 0:
        draft.append(request, session, 0, length)
    session.acknowledge(length)
    response = Response(status=201, content_type=None)
    draft.tell(request, response, session)
    response.headers["Location"] = resumable.url_of(request, session)
    return response
