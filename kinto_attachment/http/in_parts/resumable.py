"""What both dialects of uploads in several requests share (tus.py, draft.py)."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kinto.core.errors import raise_invalid
from pyramid.httpexceptions import (
    HTTPAccepted,
    HTTPBadRequest,
    HTTPNoContent,
    HTTPRequestEntityTooLarge,
)
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment import record_field
from kinto_attachment.agreement.errands import Errand
from kinto_attachment.attachments import intake
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.unfinished import Session, UnfinishedUploads
from kinto_attachment.attachments.values import ExpectedDigest, FilePart
from kinto_attachment.http import default_bucket, preconditions
from kinto_attachment.http.received import bodies
from kinto_attachment.http.uploads import pace_of
from kinto_attachment.plugin import Plugin, own_base_url
from kinto_attachment.records.refusing import as_http_error, refuse_in_batch
from kinto_attachment.rows import Upload
from kinto_attachment.rows.apart import give_back_connection
from kinto_attachment.settings import Policy
from kinto_attachment.storage.holding import DigestDiffers, TooMuchToHold, held_back
from kinto_attachment.targets import Target

READ, QUICK_READ = 64 * 1024, 256 * 1024
"""Bytes that are read at once: what a read has begun is lost when the connection breaks."""

QUICK, IN_A_ROW = 0.05, 4
"""A line that brings what it was asked for in so few seconds, so often, is asked for more."""

CHECKED = 64 * 1024 * 1024
"""Bytes of a part that is held back until its checksum is known."""

PRECONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH")
REFUSING = (400, 412, HTTPRequestEntityTooLarge.code)
"""What Kinto answers for a record that will never be written; all else may pass."""

Answer = Callable[[Response, Session, Response], None]
"""Completes the client's response, given Kinto's for the record."""


def uploads_of(request: Request) -> UnfinishedUploads:
    """Those of the server."""
    plugin, metrics = Plugin.of(request), request.registry.metrics

    def count(event: str) -> None:
        metrics.count("attachment_resumable_uploads", unique=[("event", event)])

    return UnfinishedUploads(plugin.settings, plugin.store, request.registry.storage, count)


def whole_number(request: Request, name: str) -> int | None:
    """The number in a header; None without it. Raises :class:`Refused`."""
    sent = request.headers.get(name)
    if sent is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", sent.strip()):
        raise Refused("upload_header", header=name, why="write a whole number of bytes")
    return int(sent)


def begin(
    request: Request,
    part: FilePart,
    length: int | None,
    digest: ExpectedDigest | None,
    metadata: str | None = None,
    change: dict[str, Any] | None = None,
) -> Session:
    """Begin an upload, with all that can be refused before its first byte."""
    refuse_in_batch(request)
    bodies.check_coding(request)
    uploads, target = uploads_of(request), request.context.target
    uploads.at_store  # noqa: B018 - refuses where there are none
    _check_ids(request, target)
    preconditions.check(request, request.context.current_object)
    user_id = request.prefixed_userid
    give_back_connection()
    Plugin.of(request).custody.check()
    give_back_connection()
    policy = uploads.settings.policy_for(*target.place)
    wanted = Upload(
        id="",
        record_uri=target.uri,
        private=policy.private,
        user_id=user_id,
        file_id="",
        key="",
        filename="",
        mimetype="",
        content_type=None,
        length=length,
        metadata=metadata,
        change=change or {},
        preconditions={n: request.environ[n] for n in PRECONDITIONS if n in request.environ},
        digest=(digest.sha256.hex(), digest.header) if digest else None,
        store_state={},
        created=0,
        expires=0,
    )
    return uploads.begin(wanted, part, policy)


def _check_ids(request: Request, target: Target) -> None:
    """As Kinto does when a record is written, which may be hours later. A collection may still be
    to come, in a default bucket."""
    known = request.registry.id_generators
    for name, given in (("record", target.record_id), ("collection", target.collection_id)):
        if not known.get(name, known[""]).match(given):
            raise_invalid(request, location="path", description="Invalid object id")


def take(request: Request) -> Session:
    """The upload of the URL, taken over by this request."""
    refuse_in_batch(request)
    uploads = uploads_of(request)
    uploads.at_store  # noqa: B018 - refuses where there are none
    upload_id, user_id = request.matchdict["upload_id"], request.prefixed_userid
    if not re.fullmatch(r"[0-9a-f]{32}", upload_id):
        raise Refused("upload_unknown")
    give_back_connection()
    Plugin.of(request).custody.check()  # A store that is not mounted has no upload of anybody.
    give_back_connection()
    return uploads.take(request.context.target, upload_id, user_id)


def url_of(request: Request, session: Session) -> str:
    """Of an upload: absolute, from Kinto's own settings. In a default bucket it keeps the alias,
    since the bucket may be made only when the record is written."""
    target = session.upload.target
    alias = default_bucket.followed(request)
    ids = {
        "bucket_id": "default" if alias else target.bucket_id,
        "collection_id": target.collection_id,
    }
    url: str = request.route_url(
        "attachment-upload", **ids, id=target.record_id, upload_id=session.upload.id
    )
    return url


def announced(request: Request) -> int | None:
    """Bytes of the body; None where it is chunked. Without any header there is none (RFC 9112,
    6.3).

    :raises Refused: where that can't be read, or the bytes are not the file's own.
    """
    bodies.check_coding(request)
    named = request.environ.get("CONTENT_LENGTH") or "Transfer-Encoding" in request.headers
    return bodies.content_length(request) if named else 0


def chunks_of(request: Request) -> Iterator[bytes]:
    """The body, in pieces that are small enough for a bad connection."""
    if announced(request) == 0:
        return iter(())
    return _read_by_pace(bodies.Body(request, pace_of(request)))


def _read_by_pace(body: bodies.Body) -> Iterator[bytes]:
    quick, began = 0, time.monotonic()
    while chunk := body.read(QUICK_READ if quick >= IN_A_ROW else READ):
        quick = quick + 1 if time.monotonic() < began + QUICK else 0
        yield chunk
        began = time.monotonic()


def check_brings_nothing_new(request: Request, session: Session, offset: int) -> None:
    """Of a request to a finished upload, whose last answer may have been lost.

    :raises Refused: where it brings other bytes than the file has: they would not be stored.
    """
    if not session.ends_with(offset, chunks_of(request)):
        raise Refused("upload_finished")


@contextlib.contextmanager
def checked_chunks(
    request: Request, algorithm: str, digest: bytes, differs: Refused
) -> Iterator[Iterator[bytes]]:
    """The body, once it is known to have this digest.

    :raises Refused: as it says, where it has another; or too large to be held back.
    """
    try:
        with held_back(chunks_of(request), {algorithm: digest}, CHECKED) as checked:
            yield checked
    except DigestDiffers:
        raise differs from None
    except TooMuchToHold as error:
        raise Refused("checked_part_too_large", limit=error.limit) from None


def finish(request: Request, session: Session, length: int, answer: Answer) -> Any:
    """All bytes are there: as any other upload, the errand has the record written."""
    plugin, errand = Plugin.of(request), Errand.on(request)
    exists = request.context.current_object is not None
    with request.registry.metrics.timer("attachment_upload_seconds"):
        plan, received = session.publish(length)
    target = session.upload.target
    location = plugin.locations.of(
        received.key, target.uri, plan.file_id, plan.policy.private, own_base_url(request)
    )
    stored = intake.seal(plan, received, location, plugin.settings.legacy_format)
    errand.lets_go = False
    errand.hold(stored)
    asked = {k: v for k, v in errand.environ.items() if k in PRECONDITIONS}
    others = {k: v for k, v in errand.environ.items() if k not in PRECONDITIONS}
    errand.environ = {**others, **session.upload.preconditions, **asked}
    change = dict(session.upload.change)
    change["data"] = {**change.get("data", {}), record_field.NAME: stored.value}
    errand.change, errand.exists = change, exists
    errand.before = partial(_check_still_ours, request, session)
    errand.after = lambda: session.mark_finished(length, 200 if errand.exists else 201)
    all_remembered = asked.items() <= session.upload.preconditions.items()
    errand.answer = partial(_answer, session, answer, all_remembered)
    count = request.registry.metrics.count
    count("attachment_uploads", unique=[("method", request.method.lower())])
    count("attachment_received_bytes", count=received.size)
    request.response.status_code = HTTPAccepted.code  # The record is still to be written.
    return stored.value


def _check_still_ours(request: Request, session: Session) -> None:
    try:
        session.check_still_ours()
    except Refused as refused:
        raise as_http_error(request, refused) from refused


def _answer(
    session: Session,
    complete: Answer,
    may_end: bool,
    request: Request,
    response: Response,
    answer: Response,
) -> Response:
    """After the record was written, or refused: only the former acknowledges the last byte.

    :param may_end: whether a refusal ends the upload: it may be one of this request's own
        preconditions, and the next one may have others.
    """
    response.status_code = answer.status_code
    for name in ("ETag", "Last-Modified", "Retry-After"):
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    if answer.status_code < HTTPBadRequest.code:
        session.tidy()
    else:
        response.content_type, response.body = answer.content_type, answer.body
        if may_end and answer.status_code in REFUSING and not _is_of_a_race(answer):
            session.refuse()
    complete(response, session, answer)
    return response


def _is_of_a_race(answer: Response) -> bool:
    """Where Kinto commits each step by itself, one of two that write at once is told so."""
    with contextlib.suppress(ValueError, LookupError, TypeError):
        return bool(answer.json["details"]["reason"] == "forged_metadata")
    return False


def empty(status: int) -> Response:
    """A response without a body, of which no type is said."""
    response = Response()
    without_body(response, status)
    return response


def without_body(response: Response, status: int) -> None:
    """Make a response one that has no body, and says no length where there can be none
    (RFC 9110, section 8.6)."""
    response.body = b""
    response.status_code = status
    response.headers.pop("Content-Type", None)
    if status == HTTPNoContent.code:
        response.headers.pop("Content-Length", None)


def record_url(request: Request, target: Target) -> str:
    """Of the record."""
    url: str = request.route_url(
        "record-object",
        bucket_id=target.bucket_id,
        collection_id=target.collection_id,
        id=target.record_id,
    )
    return url


def attachment_of(request: Request, session: Session) -> tuple[dict[str, Any], int]:
    """What the record says of the file of a finished upload, and the status that told it."""
    held = uploads_of(request).link_of(session.upload)
    if held is None:
        raise Refused("upload_unknown")
    return held.value, session.upload.answer


def limits(request: Request) -> dict[str, int]:
    """What an upload here may be, in bytes and seconds: ``max-size``, ``max-age``."""
    uploads = uploads_of(request)
    policy = policy_of(request)
    most = uploads.most(policy)
    sizes = {"max-size": most} if most else {"min-size": 0}
    return {**sizes, "max-age": uploads.settings.upload_max_age}


def policy_of(request: Request) -> Policy:
    """That of the collection in the URL, before the route is known."""
    return Plugin.of(request).settings.policy_for(*_place(request))


def _place(request: Request) -> tuple[str, str]:
    parts = request.environ["PATH_INFO"].split("/buckets/", 1)[-1].split("/")
    return parts[0], parts[2] if len(parts) > 2 else ""
