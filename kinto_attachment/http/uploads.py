"""POST and PUT: a body becomes a stored file, and the record says so."""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import transaction
from pyramid.httpexceptions import HTTPAccepted, HTTPBadRequest, HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.agreement.errands import Errand
from kinto_attachment.attachments import intake
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import ExpectedDigest, FilePart, StoredAttachment
from kinto_attachment.http import bodies, forms, preconditions
from kinto_attachment.plugin import Server, own_base_url
from kinto_attachment.records.refusing import refuse_in_batch
from kinto_attachment.targets import Target


def post(request: Request) -> Any:
    """Store the file of a multipart form."""
    content_type = request.headers.get("Content-Type", "")
    forms.boundary_of(content_type)
    digest = bodies.expected_digest(request, "Repr-Digest")
    whole = bodies.expected_digest(request, "Content-Digest")

    def read(body: bodies.Body, store: Callable[[FilePart], StoredAttachment]) -> forms.Form:
        form = forms.read_form(body, content_type, store)
        if whole:
            # RFC 9530 means the multipart body; clients often mean the file. Either will do.
            of_file = bytes.fromhex(form.stored.attachment.hash)
            if whole.sha256 not in (of_file, body.sha256()):
                raise Refused("digest_differs", header=whole.header)
        return form

    return _upload(request, read, digest, overhead=forms.OVERHEAD)


def put(request: Request) -> Any:
    """Store the body as it is: ``curl -T``."""
    refuse_in_batch(request)
    forms.check_raw(request)
    digest = bodies.expected_digest(request, "Repr-Digest")
    digest = digest or bodies.expected_digest(request, "Content-Digest")

    def read(body: bodies.Body, store: Callable[[FilePart], StoredAttachment]) -> forms.Form:
        return forms.Form(stored=store(forms.raw_part(request, body)))

    return _upload(request, read, digest, overhead=0)


def _upload(
    request: Request,
    read: Callable[[bodies.Body, Callable[[FilePart], StoredAttachment]], forms.Form],
    digest: ExpectedDigest | None,
    overhead: int,
) -> Any:
    """Permission was given by the route's context. The file is received here; its record is
    written by a request of its own (agreement/errands.py)."""
    refuse_in_batch(request)
    bodies.check_coding(request)
    target, server, errand = request.context.target, Server.of(request), Errand.on(request)
    existing = request.context.current_object
    preconditions.check(request, existing)
    _check_announced_size(request, server, target, overhead)
    _give_back_connection(request)
    server.custody.check()  # The store may hang, and no database connection with it.
    _give_back_connection(request)
    body = bodies.Body(request)

    def store(part: FilePart) -> StoredAttachment:
        stored = intake.store(
            part, target, server.settings, server.storage, digest, own_base_url(request)
        )
        errand.hold(stored)
        return stored

    metrics = request.registry.metrics
    with metrics.timer("attachment_upload_seconds"):
        form = read(body, store)
    metrics.count("attachment_bytes_in", count=form.stored.attachment.size)
    change = dict(form.fields)
    change["data"] = {**form.fields.get("data", {}), "attachment": form.stored.value}
    errand.change, errand.exists = change, existing is not None
    errand.answer = partial(_answer, form.stored)
    request.response.status_code = HTTPAccepted.code  # The record is still to be written.
    return form.stored.value


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
    if Server.of(request).settings.legacy_format or _is_html_form(request):
        response.status_code = HTTPSeeOther.code
    return response


def _check_announced_size(request: Request, server: Server, target: Target, overhead: int) -> None:
    """Refuse before the body is read, so that ``Expect: 100-continue`` saves it."""
    limit = server.settings.policy_for(target.bucket_id, target.collection_id).max_size_bytes
    announced = bodies.content_length(request)
    if limit and announced is not None and announced > limit + overhead:
        raise Refused("too_large", limit=limit)


def _give_back_connection(request: Request) -> None:
    """End the transaction that checked the permission.

    Otherwise each slow upload holds a database connection for as long as its body takes.
    Kinto's after-commit hook, set when the request came in, moves to the new transaction.
    """
    if isinstance(request.environ["wsgi.input"], io.BytesIO):
        return  # The server has the whole body in memory: nobody is waited for.
    hooks = list(transaction.get().getAfterCommitHooks())
    transaction.abort()
    renewed = transaction.begin()
    for hook, args, kwargs in hooks:
        renewed.addAfterCommitHook(hook, args, kwargs)


def _is_html_form(request: Request) -> bool:
    """Whether a browser sent a form without script: it wants a page, not JSON."""
    offers = request.accept.acceptable_offers(["application/json", "text/html"])
    return request.method == "POST" and bool(offers) and offers[0][0] == "text/html"


def _ids(target: Target) -> dict[str, str]:
    return {
        "bucket_id": target.bucket_id,
        "collection_id": target.collection_id,
        "id": target.record_id,
    }
