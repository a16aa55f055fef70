"""Uploads in several requests by tus, 1.0.0: core, creation, creation-with-upload,
creation-defer-length, expiration, checksum, termination (https://tus.io/protocols/resumable-upload).

A little above 200 lines: the whole dialect stands in one file.
"""

import base64
import binascii
from email.utils import formatdate
from typing import Any

from pyramid.httpexceptions import HTTPBadRequest, HTTPException
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.unfinished import Session
from kinto_attachment.attachments.values import ExpectedDigest, FilePart
from kinto_attachment.http.in_parts import resumable
from kinto_attachment.http.received import bodies
from kinto_attachment.http.received.part_bodies import json_object
from kinto_attachment.records.refusing import as_http_error

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
)
ALGORITHMS = ("sha1", "sha256")
TYPE = "application/offset+octet-stream"

MAX_METADATA = 4096
"""Bytes of ``Upload-Metadata``: servers take no header fields of more than 8 KiB together."""

NAMES, TYPES = ("filename", "name"), ("filetype", "type", "contentType")
FIELDS = ("data", "permissions")
"""Keys of the metadata: of the file's name, its type, and the fields of the record."""


def is_spoken(request: Request) -> bool:
    """Whether a request is one of this dialect."""
    return "Tus-Resumable" in request.headers


def post(request: Request) -> Any:
    """Begin an upload of the file of a record."""
    _check_version(request)
    length = resumable.whole_number(request, "Upload-Length")
    deferred = request.headers.get("Upload-Defer-Length")
    if "Upload-Concat" in request.headers:
        raise Refused("upload_header", header="Upload-Concat", why="files are not joined here")
    if deferred not in (None, "1") or (length is None) == (deferred is None):
        why = "send either Upload-Length or Upload-Defer-Length: 1"
        raise Refused("upload_header", header="Upload-Defer-Length", why=why)
    raw = request.headers.get("Upload-Metadata")
    sent = _metadata(raw or "")
    part = FilePart(_first(sent, NAMES), _first(sent, TYPES), ())
    change = {name: json_object(name, iter([sent[name]]), MAX_METADATA) for name in _fields(sent)}
    session = resumable.begin(request, part, length, _digest(request, sent), raw, change)
    if _type(request) == TYPE and resumable.announced(request) != 0:
        return _append(request, session, 0, session.upload.length, created=True)
    if length == 0:
        return _finish(request, session, 0, created=True)
    response = resumable.empty(201)
    _tell(response, session)
    response.headers["Location"] = resumable.url_of(request, session)
    return response


def head(request: Request) -> Response:
    """Say how far an upload has come."""
    _check_version(request)
    session = resumable.take(request)
    session.settle()
    upload, offset = session.upload, session.shown
    response = resumable.empty(200)
    _tell(response, session)
    response.headers["Upload-Offset"] = str(offset)
    response.headers["Cache-Control"] = "no-store"
    if upload.length is None:
        response.headers["Upload-Defer-Length"] = "1"
    else:
        response.headers["Upload-Length"] = str(upload.length)
    if upload.metadata is not None:
        response.headers["Upload-Metadata"] = upload.metadata
    return response


def patch(request: Request) -> Any:
    """Go on with an upload."""
    _check_version(request)
    if _type(request) != TYPE:
        raise Refused("upload_type", wanted=TYPE)
    offset = resumable.whole_number(request, "Upload-Offset")
    if offset is None:
        raise Refused("upload_header", header="Upload-Offset", why="say where these bytes begin")
    length = resumable.whole_number(request, "Upload-Length")
    announced = resumable.announced(request)
    session = resumable.take(request)
    if session.is_finished:
        resumable.check_brings_nothing_new(request, session, offset)
        response = resumable.empty(204)
        _tell(response, session)
        return response
    session.check_offset(offset)
    resumable.uploads_of(request).check_length(session.upload, length)
    length = session.upload.length if length is None else length
    if length is not None and offset + (announced or 0) > length:
        raise Refused("upload_length", length=length)
    return _append(request, session, offset, length)


def delete(request: Request) -> Response:
    """Give an upload up."""
    _check_version(request)
    resumable.take(request).terminate()
    return Response(status=204, content_type=None, headers={"Tus-Resumable": VERSION})


def discovery(request: Request) -> dict[str, str]:
    """The headers that say what is offered."""
    most = resumable.limits(request).get("max-size")
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        **({"Tus-Max-Size": str(most)} if most else {}),
    }


def refused(request: Request, refused: Refused) -> HTTPException:
    """A refusal, with the headers of the dialect."""
    response = as_http_error(request, refused)
    if refused.reason == "upload_version":
        response.headers["Tus-Version"] = VERSION
    if refused.reason == "upload_offset":
        response.headers["Upload-Offset"] = str(refused.facts["offset"])
    return response


def _append(
    request: Request, session: Session, offset: int, length: int | None, created: bool = False
) -> Any:
    checksum = request.headers.get("Upload-Checksum")
    if checksum is None:
        session.append(offset, resumable.chunks_of(request), length)
    else:
        algorithm, digest = _checksum(checksum)
        differs = Refused("upload_checksum")
        with resumable.checked_chunks(request, algorithm, digest, differs) as checked:
            session.append(offset, checked, length)
    if length is not None and session.offset == length:
        return _finish(request, session, length, created)
    session.acknowledge(length)
    response = resumable.empty(201 if created else 204)
    _tell(response, session)
    if created:
        response.headers["Location"] = resumable.url_of(request, session)
    return response


def _finish(request: Request, session: Session, length: int, created: bool = False) -> Any:
    wants_json = "application/json" in request.headers.get("Accept", "")
    upload_url = resumable.url_of(request, session)
    record_url = resumable.record_url(request, session.upload.target)

    def complete(response: Response, session: Session, answer: Response) -> None:
        response.headers["Tus-Resumable"] = VERSION
        if created:
            response.headers["Location"] = upload_url
        if answer.status_code >= HTTPBadRequest.code:
            return
        response.headers["Upload-Offset"] = str(length)
        if not created:
            response.headers["Location"] = record_url
        if wants_json:
            response.status_code = 201 if created else 200
        else:
            resumable.without_body(response, 201 if created else 204)

    return resumable.finish(request, session, length, complete)


def _tell(response: Response, session: Session) -> None:
    response.headers["Tus-Resumable"] = VERSION
    response.headers["Upload-Offset"] = str(session.shown)
    response.headers["Upload-Expires"] = formatdate(session.upload.expires, usegmt=True)


def _check_version(request: Request) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Refused("upload_version")


def _type(request: Request) -> str:
    return request.headers.get("Content-Type", "").split(";")[0].strip().lower()


def _metadata(header: str) -> dict[str, bytes]:
    """The pairs of ``Upload-Metadata`` (tus 1.0, "Creation"); an empty header has none."""
    if len(header) > MAX_METADATA:
        why = f"it has more than {MAX_METADATA} bytes; send less"
        raise Refused("upload_header", header="Upload-Metadata", why=why)
    found: dict[str, bytes] = {}
    for pair in filter(None, (pair.strip() for pair in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            decoded = base64.b64decode(value.strip(), validate=True)
        except (binascii.Error, ValueError):
            why = f"the value of {key} is no Base64"
            raise Refused("upload_header", header="Upload-Metadata", why=why) from None
        if key in found:
            why = f"{key} comes twice"
            raise Refused("upload_header", header="Upload-Metadata", why=why)
        found[key] = decoded
    return found


def _first(sent: dict[str, bytes], names: tuple[str, ...]) -> str | None:
    for name in names:
        if sent.get(name):
            try:
                text = sent[name].decode("utf-8")
            except UnicodeDecodeError:
                raise Refused("undecodable_name") from None
            if "\0" in text:
                why = f"{name} has the character U+0000, which is no text"
                raise Refused("upload_header", header="Upload-Metadata", why=why)
            return text
    return None


def _fields(sent: dict[str, bytes]) -> list[str]:
    return [name for name in FIELDS if sent.get(name)]


def _digest(request: Request, sent: dict[str, bytes]) -> ExpectedDigest | None:
    of_header = bodies.expected_digest(request, "Repr-Digest")
    if of_header or not sent.get("sha256"):
        return of_header
    try:
        digest = bytes.fromhex(sent["sha256"].decode("ascii"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        why = "sha256 has 64 hex digits"
        raise Refused("upload_header", header="Upload-Metadata", why=why)
    return ExpectedDigest("sha256 of Upload-Metadata", digest)


def _checksum(header: str) -> tuple[str, bytes]:
    algorithm, _, value = header.strip().partition(" ")
    why = f"write one of {', '.join(ALGORITHMS)}, a space, and Base64"
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        algorithm = ""
    if algorithm not in ALGORITHMS:
        raise Refused("upload_header", header="Upload-Checksum", why=why)
    return algorithm, digest
