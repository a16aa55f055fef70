"""POST and PUT: a body becomes a stored file, and the record says so.

An upload has five steps. 1: Kinto is asked whether it may be (the route's context), and what can
be known beforehand is looked at. 2: the body is streamed into the store, once. 3: a request of
its own has Kinto write the record (agreement/errands.py). 4: at its end the links are brought in
line (agreement/reconciling.py). 5: the transaction ends, and with it goes what nothing names.
"""

from functools import partial
from typing import Any

from pyramid.httpexceptions import HTTPAccepted, HTTPBadRequest, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment import record_field
from kinto_attachment.agreement.errands import Errand
from kinto_attachment.attachments import intake, sniffing
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import ExpectedDigest, FilePart, StoredAttachment
from kinto_attachment.http import origins, preconditions
from kinto_attachment.http.received import bodies, forms, raw_files
from kinto_attachment.http.received.pace import Pace
from kinto_attachment.plugin import Plugin, own_base_url
from kinto_attachment.records.refusing import refuse_in_batch
from kinto_attachment.rows.apart import give_back_connection
from kinto_attachment.settings import Policy
from kinto_attachment.storage import StoreSilent
from kinto_attachment.targets import Target


def post(request: Request) -> Any:
    """Store the file of a multipart form."""
    refuse_in_batch(request)
    content_type = request.headers.get("Content-Type", "")
    forms.boundary_of(content_type)
    may_set_permissions = origins.check(request)
    of_file = bodies.expected_digest(request, "Repr-Digest")
    of_body = bodies.expected_digest(request, "Content-Digest")

    policy = _look_before(request, forms.OVERHEAD)
    body = bodies.Body(request, pace_of(request))
    stored: StoredAttachment | None = None
    fields: dict[str, dict[str, Any]] = {}
    for part in forms.parts(body, content_type):
        if isinstance(part, forms.Field):
            if part.name == "permissions" and not may_set_permissions:
                raise Refused("cross_site_permissions", origin=origins.sender(request))
            fields[part.name] = part.value
        else:
            stored = _store(request, part, policy, of_file)
    if stored is None:
        raise Refused("missing_file")
    # RFC 9530 means the multipart body; clients often mean the file. Either will do.
    _check_digest(of_body, bytes.fromhex(stored.attachment.hash), body.sha256())
    return _hand_over(request, stored, fields)


def put(request: Request) -> Any:
    """Store the body as it is: ``curl -T``."""
    refuse_in_batch(request)
    raw_files.check(request)
    of_file = bodies.expected_digest(request, "Repr-Digest")
    of_body = bodies.expected_digest(request, "Content-Digest")

    policy = _look_before(request, overhead=0)
    part = raw_files.part(request, bodies.Body(request, pace_of(request)))
    stored = _store(request, part, policy, of_file or of_body)
    _check_digest(of_body, bytes.fromhex(stored.attachment.hash))
    return _hand_over(request, stored, {})


def _look_before(request: Request, overhead: int) -> Policy:
    """The first step: whatever can be refused is, while no byte of the body was read.

    :param overhead: bytes that the body may weigh beside its file.
    """
    bodies.check_coding(request)
    target, plugin = request.context.target, Plugin.of(request)
    preconditions.check(request, request.context.current_object)
    policy = plugin.settings.policy_for(*target.place)
    _check_announced_size(request, policy.max_size_bytes, overhead)
    give_back_connection()
    plugin.custody.check()  # The store may hang, and no database connection with it.
    give_back_connection()
    return policy


def _check_digest(expected: ExpectedDigest | None, *found: bytes | None) -> None:
    if expected and expected.sha256 not in found:
        raise Refused("digest_differs", header=expected.header)


def _store(
    request: Request, part: FilePart, policy: Policy, expected: ExpectedDigest | None
) -> StoredAttachment:
    """The second step: the file is planned, declared, received and sealed."""
    plugin, errand = Plugin.of(request), Errand.on(request)
    settings, target = plugin.settings, request.context.target
    with request.registry.metrics.timer("attachment_upload_seconds"):
        head, chunks = sniffing.peek(part.chunks) if settings.sniff else (None, part.chunks)
        plan = intake.plan(part, head, target, policy)
        errand.expect(plan.key)
        try:
            announced = bodies.Body.announced(request)
            received = intake.receive(plan, chunks, plugin.store, expected, announced)
            errand.expect(received.key)  # Some stores have names of their own.
        except StoreSilent:
            errand.leave_to_gc()
            raise
    location = plugin.locations.of(
        received.key, target.uri, plan.file_id, policy.private, own_base_url(request)
    )
    stored = intake.seal(plan, received, location, settings.legacy_format)
    errand.hold(stored)
    count = request.registry.metrics.count
    count("attachment_uploads", unique=[("method", request.method.lower())])
    count("attachment_received_bytes", count=received.size)
    return stored


def _hand_over(
    request: Request, stored: StoredAttachment, fields: dict[str, dict[str, Any]]
) -> Any:
    """The third step: the errand takes it from here."""
    errand = Errand.on(request)
    change = dict(fields)
    change["data"] = {**fields.get("data", {}), record_field.NAME: stored.value}
    errand.change, errand.exists = change, request.context.current_object is not None
    errand.answer = partial(_answer, stored)
    request.response.status_code = HTTPAccepted.code  # The record is still to be written.
    return stored.value


def _answer(
    stored: StoredAttachment, request: Request, response: Response, answer: Response
) -> Response:
    """What the client is told: ``response``, which has the headers of our own URL, after what
    Kinto has answered for the record."""
    response.status_code = answer.status_code
    for name in ("ETag", "Last-Modified", "Retry-After"):
        if name in answer.headers:
            response.headers[name] = answer.headers[name]
    if answer.status_code >= HTTPBadRequest.code:
        response.content_type, response.body = answer.content_type, answer.body
        return response
    response.headers["Location"] = request.route_url("record-object", **_ids(stored.target))
    if Plugin.of(request).settings.legacy_format or _is_html_form(request):
        response.status_code = HTTPSeeOther.code
    return response


def _check_announced_size(request: Request, limit: int, overhead: int) -> None:
    """Refuse before the body is read, so that ``Expect: 100-continue`` saves it."""
    announced = bodies.content_length(request)
    if limit and announced is not None and announced > limit + overhead:
        raise Refused("too_large", limit=limit)


def pace_of(request: Request) -> Pace:
    """How fast a body has to come."""
    settings = Plugin.of(request).settings
    return Pace(settings.least_rate, settings.least_rate_grace)


def _is_html_form(request: Request) -> bool:
    """Whether a browser sent a form without script: it wants a page, not JSON. Java's
    HttpURLConnection says that it accepts HTML as well, and would follow a 303 without the
    password."""
    return request.method == "POST" and origins.is_navigation(request)


def _ids(target: Target) -> dict[str, str]:
    return {
        "bucket_id": target.bucket_id,
        "collection_id": target.collection_id,
        "id": target.record_id,
    }
