"""How an upload in several requests begins by the IETF's draft.

Careful: the first request says ``Upload-Complete: ?0``, and later ones go to the URL that its
answer names. Optimistic: it says ``Upload-Complete: ?1`` and has the whole file, and an interim
response has named the URL, for the case that the connection breaks. Where none can be sent, that
is a plain upload.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from pyramid.request import Request

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.unfinished import Session
from kinto_attachment.attachments.values import ExpectedDigest, FilePart
from kinto_attachment.http.in_parts import draft, interim, resumable
from kinto_attachment.http.received import bodies, raw_files

WITHOUT_ROOM = ("too_many_uploads", "no_space_unfinished")
"""Refusals that are about unfinished uploads only: a whole file may come nevertheless."""


def or_creation(view: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """A view of a whole upload that begins one in several requests where the client says so,
    and says that it was the whole where the client asks."""

    @wraps(view)
    def wrapped(request: Request) -> Any:
        if "Upload-Complete" not in request.headers:
            return view(request)
        try:
            complete = draft.completeness(request)
            _check_place(request, bool(complete))
            session = _begin_whole(request) if complete else None
            if session:
                return _receive_whole(request, session)
            if not complete:
                return create(request)
        except Refused as refused:
            raise draft.refused(request, refused) from refused
        request.response.headers["Upload-Complete"] = "?1"
        return view(request)

    return wrapped


def _check_place(request: Request, complete: bool) -> None:
    """Raise :class:`Refused` for what is not the beginning of a file, or not its whole."""
    if draft.lenient(request, "Upload-Offset"):
        raise Refused("upload_header", header="Upload-Offset", why="an upload begins at byte 0")
    length = draft.lenient(request, "Upload-Length")
    if complete and length is not None and length != resumable.announced(request):
        raise Refused("upload_length", length=length)


def create(request: Request) -> Any:
    """Begin an upload, with its first bytes perhaps."""
    draft.check_version(request)
    raw_files.check(request)
    length = draft.lenient(request, "Upload-Length")
    announced = resumable.announced(request)
    if length is not None and announced is not None and announced > length:
        raise Refused("upload_length", length=length)
    session = _begin(request, length, bodies.expected_digest(request, "Repr-Digest"))
    if announced != 0:
        _announce(request, session)
        draft.append(request, session, 0, length)
    elif length == 0:  # tus-js-client sends no more, and nothing can follow.
        return draft.finish(request, session, created=True)
    session.acknowledge(length)
    response = resumable.empty(201)
    draft.tell(request, response, session)
    response.headers["Location"] = resumable.url_of(request, session)
    return response


def _may_break(request: Request) -> bool:
    """Whether a whole file is taken as an upload that may be gone on with."""
    return (
        request.method == "PUT"
        and request.headers.get(draft.INTEROP) in draft.VERSIONS
        and interim.can_be_sent(request)
        and resumable.uploads_of(request).reason_against() is None
    )


def _digest(request: Request) -> ExpectedDigest | None:
    """The body is the file, so that either header tells the file's digest."""
    of_file, of_body = (bodies.expected_digest(request, name) for name in bodies.DIGESTS)
    if of_file and of_body and of_file.sha256 != of_body.sha256:
        raise Refused("digest_differs", header=of_body.header)
    return of_file or of_body


def _begin(request: Request, length: int | None, digest: ExpectedDigest | None) -> Session:
    raw_files.check(request)
    sent_type = request.headers.get("Content-Type")
    part = FilePart(raw_files.filename(request), sent_type, ())
    return resumable.begin(request, part, length, digest)


def _begin_whole(request: Request) -> Session | None:
    """None where it has to be a plain upload."""
    if not _may_break(request):
        return None
    try:
        return _begin(request, bodies.content_length(request), _digest(request))
    except Refused as refused:
        if refused.reason in WITHOUT_ROOM:
            return None
        raise


def _receive_whole(request: Request, session: Session) -> Any:
    _announce(request, session)
    session.append(0, resumable.chunks_of(request), session.upload.length)
    return draft.finish(request, session)


def _announce(request: Request, session: Session) -> None:
    """Only versions that were asked for may be told of (the draft, "Draft Version
    Identification")."""
    version = request.headers.get(draft.INTEROP)
    if version in draft.VERSIONS and interim.can_be_sent(request):
        headers = {
            draft.INTEROP: version,
            "Location": resumable.url_of(request, session),
            "Upload-Limit": draft.limit_header(request),
        }
        interim.send(request, headers)
