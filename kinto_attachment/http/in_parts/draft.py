"""Uploads in several requests by the IETF's draft (draft-ietf-httpbis-resumable-upload), interop
versions 8 and 6: all but their beginning, which draft_creation.py has.
"""

from typing import Any

from pyramid.httpexceptions import HTTPBadRequest, HTTPException
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.unfinished import FOR_GOOD, Session
from kinto_attachment.http.in_parts import resumable
from kinto_attachment.http.received import bodies
from kinto_attachment.records.refusing import as_http_error

VERSIONS = ("8", "6")
INTEROP = "Upload-Draft-Interop-Version"
TYPE = "application/partial-upload"
PROBLEMS = "https://iana.org/assignments/http-problem-types#"


def completeness(request: Request) -> bool | None:
    """What ``Upload-Complete`` says; None without it.

    :raises Refused: where it can't be read. Structured fields that can't are passed over elsewhere
        (RFC 9651, 4.2); here a part of a file would be taken for the whole.
    """
    if "Upload-Complete" not in request.headers:
        return None
    said = {"?1": True, "?0": False}.get(request.headers["Upload-Complete"].split(";")[0].strip())
    if said is None:
        raise Refused("upload_header", header="Upload-Complete", why="write ?0 or ?1")
    return said


def head(request: Request) -> Response:
    """Say how far an upload has come."""
    check_version(request)
    session = resumable.take(request)
    session.settle()
    response = resumable.empty(204)
    tell(request, response, session)
    response.headers["Cache-Control"] = "no-store"
    if session.upload.length is not None:
        response.headers["Upload-Length"] = str(session.upload.length)
    return response


def patch(request: Request) -> Any:
    """Go on with an upload, or end it."""
    check_version(request)
    if request.headers.get("Content-Type", "").split(";")[0].strip().lower() != TYPE:
        raise Refused("upload_type", wanted=TYPE)
    offset, complete = lenient(request, "Upload-Offset"), completeness(request)
    if offset is None or complete is None:
        header = "Upload-Offset" if offset is None else "Upload-Complete"
        raise Refused("upload_header", header=header, why="it is needed here")
    announced = resumable.announced(request)
    session = resumable.take(request)
    if session.is_finished:
        resumable.check_brings_nothing_new(request, session, offset)
        return _replay(request, session)
    session.check_offset(offset)
    length = _length(request, session, offset + (announced or 0), complete and bool(announced))
    append(request, session, offset, length)
    if complete and length in (None, session.offset):
        return finish(request, session)
    session.acknowledge(length)
    if complete:
        raise Refused("upload_length", length=length)
    response = resumable.empty(204)
    tell(request, response, session)
    return response


def _length(request: Request, session: Session, end: int, complete: bool) -> int | None:
    """Of the whole file, as far as it is known.

    :param end: where the body ends.
    :param complete: whether that is to be the end of the file.
    :raises Refused: it does not agree; what goes beyond it ends the upload.
    """
    said = lenient(request, "Upload-Length")
    resumable.uploads_of(request).check_length(session.upload, said)
    length = session.upload.length if said is None else said
    if length is not None and end > length:
        session.refuse()
    if length is not None and (end > length or (complete and end < length)):
        raise Refused("upload_length", length=length)
    return length


def delete(request: Request) -> Response:
    """Give an upload up."""
    check_version(request)
    resumable.take(request).terminate()
    return resumable.empty(204)


def limit_header(request: Request) -> str:
    """``Upload-Limit``: before version 7, what is left was called ``expires``."""
    limits = resumable.limits(request)
    if request.headers.get(INTEROP) == "6":
        limits["expires"] = limits.pop("max-age")
    return ", ".join(f"{name}={value}" for name, value in limits.items())


def refused(request: Request, refused: Refused) -> HTTPException:
    """A refusal: as a problem (RFC 9457) where the draft has a type for it."""
    response = as_http_error(request, refused)
    problem: dict[str, Any] = {}
    if refused.reason == "upload_offset":
        response.headers["Upload-Offset"] = str(refused.facts["offset"])
        response.headers["Upload-Complete"] = "?0"
        problem = {
            "type": f"{PROBLEMS}mismatching-upload-offset",
            "expected-offset": refused.facts["offset"],
            "provided-offset": lenient(request, "Upload-Offset"),
        }
    elif refused.reason == "upload_finished":
        response.headers["Upload-Complete"] = "?1"
        problem = {"type": f"{PROBLEMS}completed-upload"}
    elif refused.reason == "upload_length":
        problem = {"type": f"{PROBLEMS}inconsistent-upload-length"}
    elif refused.reason in FOR_GOOD:
        response.headers["Upload-Complete"] = "?1"  # There is nothing to go on with.
    if problem:
        response.json_body = {**response.json_body, "title": str(refused), **problem}
        response.content_type = "application/problem+json"
    return response


def append(request: Request, session: Session, offset: int, length: int | None) -> None:
    """Store the body; with ``Content-Digest``, once all of it is known to be right."""
    digest = bodies.expected_digest(request, "Content-Digest")
    if digest is None:
        session.append(offset, resumable.chunks_of(request), length)
        return
    differs = Refused("digest_differs", header=digest.header)
    with resumable.checked_chunks(request, "sha256", digest.sha256, differs) as checked:
        session.append(offset, checked, length)


def finish(request: Request, session: Session, created: bool = False) -> Any:
    """All bytes are there: the answer is the one of a plain upload, and says that it is the
    last one, errors included.

    :param created: whether the client waits for the URL of its upload.
    """
    length = session.offset
    location = (
        resumable.url_of(request, session)
        if created
        else resumable.record_url(request, session.upload.target)
    )

    def complete(response: Response, session: Session, answer: Response) -> None:
        if answer.status_code >= HTTPBadRequest.code:
            if session.has_ended:
                response.headers["Upload-Complete"] = "?1"
            return
        response.headers["Upload-Complete"] = "?1"
        response.headers["Upload-Offset"] = str(length)
        response.headers["Location"] = location

    return resumable.finish(request, session, length, complete)


def _replay(request: Request, session: Session) -> Any:
    """The answer to the last request, which may have been lost."""
    value, status = resumable.attachment_of(request, session)
    response = request.response
    response.status_code = status
    response.headers["Upload-Complete"] = "?1"
    response.headers["Upload-Offset"] = str(session.offset)
    response.headers["Location"] = resumable.record_url(request, session.upload.target)
    return value


def tell(request: Request, response: Response, session: Session) -> None:
    """How far an upload has come, in the headers of an answer."""
    response.headers["Upload-Offset"] = str(session.shown)
    response.headers["Upload-Complete"] = "?1" if session.is_finished else "?0"
    response.headers["Upload-Limit"] = limit_header(request)


def check_version(request: Request) -> None:
    """Raise :class:`Refused` for a version that is not spoken; none is taken for the newest."""
    if request.headers.get(INTEROP, VERSIONS[0]) not in VERSIONS:
        raise Refused("upload_version")


def lenient(request: Request, name: str) -> int | None:
    """A number in a structured field: one that can't be read is passed over (RFC 9651, 4.2)."""
    try:
        return resumable.whole_number(request, name)
    except Refused:
        return None
