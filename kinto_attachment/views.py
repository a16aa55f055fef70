"""POST, PUT, GET, HEAD and DELETE of a record's ``/attachment``."""

from collections.abc import Callable
from typing import Any

import transaction
from kinto.core import Service
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPSeeOther
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment import attachments, downloads, forms, openapi, records
from kinto_attachment.attachments import ExpectedDigest, FilePart, StoredAttachment, Target
from kinto_attachment.default_bucket import ensure_parents
from kinto_attachment.errors import Refused, as_http_error
from kinto_attachment.files import Files
from kinto_attachment.links import Links
from kinto_attachment.server import Server
from kinto_attachment.storage import StorageError, StorageFull

PATH = "/buckets/{bucket_id}/collections/{collection_id}/records/{id}/attachment"

KINTO_METHOD = {"POST": "PUT", "PUT": "PUT", "DELETE": "PATCH", "GET": "GET", "HEAD": "GET"}
"""The request to the record whose permission each of ours needs."""


def includeme(config: Configurator) -> None:
    """Define the service now: it copies Kinto's renderer and CORS origins when constructed."""
    service = Service(
        name="attachment",
        path=PATH,
        description="The file of a record",
        factory=permission_context,
        cors_headers=("ETag", "Last-Modified", "Location", "Repr-Digest", "Content-Range"),
        tags=["Attachments"],
    )
    upload = openapi.responses("200", "201", "303", "400", "401", "403", "404", "409", "411")
    upload.update(openapi.responses("412", "413", "503", "507"))
    service.add_view(
        "POST",
        _refusing(post),
        permission="dynamic",
        content_type=("multipart/form-data",),
        schema=openapi.FormRequest(),
        response_schemas={**upload, **openapi.responses("415")},
        operation_id="upload_attachment",
    )
    service.add_view(
        "PUT",
        _refusing(put),
        permission="dynamic",
        schema=openapi.RawRequest(),
        response_schemas=upload,
        operation_id="put_attachment",
    )
    download = openapi.responses(
        "206", "304", "401", "403", "404", "416", _200=openapi.whole_file()
    )
    for method, name in (("GET", "get_attachment"), ("HEAD", "head_attachment")):
        service.add_view(
            method,
            _refusing(get),
            permission="dynamic",
            response_schemas=download,
            operation_id=name,
        )
    service.add_view(
        "DELETE",
        _refusing(delete),
        permission="dynamic",
        schema=openapi.ConditionalRequest(),
        response_schemas=openapi.responses("204", "400", "401", "403", "404", "409", "412"),
        operation_id="delete_attachment",
    )
    config.add_cornice_service(service)


def permission_context(request: Request) -> Any:
    """Route factory: whatever Kinto requires for the same on the record, before the body."""
    ids = request.matchdict
    target = Target(ids["bucket_id"], ids["collection_id"], ids["id"])
    method = KINTO_METHOD.get(request.method, "GET")
    wrote_parents = method == "PUT" and ensure_parents(request, target)
    if method == "GET" and "file" in request.GET:
        target = _holder(request, target, request.GET["file"])
    context = records.context(request, target, method)
    context.wrote_parents = wrote_parents
    return context


def post(request: Request) -> Any:
    """Store the file of a multipart form."""
    content_type = request.headers.get("Content-Type", "")
    forms.boundary_of(content_type)
    digest = forms.expected_digest(request, "Repr-Digest")
    whole = forms.expected_digest(request, "Content-Digest")

    def read(body: forms.Body, store: Callable[[FilePart], StoredAttachment]) -> forms.Form:
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
    digest = forms.expected_digest(request, "Repr-Digest")
    digest = digest or forms.expected_digest(request, "Content-Digest")

    def read(body: forms.Body, store: Callable[[FilePart], StoredAttachment]) -> forms.Form:
        return forms.Form(stored=store(forms.raw_part(request, body)))

    return _upload(request, read, digest, overhead=0)


def get(request: Request) -> Response:
    """Serve the file of a record that the caller may read."""
    _refuse_in_batch(request)
    target, server = request.context.target, _server(request)
    record = records.find(request, target)
    if record is None:
        raise records.not_found(target)
    value = record.get("attachment")
    held = Links(request.registry.storage).of_record(target.uri)
    file_id = request.GET.get("file")
    link = next((k for k in held if k.value == value and file_id in (None, k.file_id)), None)
    if link is None:
        raise Refused("no_attachment", record=target.record_id)
    try:
        response = downloads.respond(request, server.storage, link)
    except FileNotFoundError:
        raise Refused("file_missing", record=target.record_id) from None
    _metrics(request).count("attachment_downloads", unique=[("method", request.method.lower())])
    return response


def delete(request: Request) -> Any:
    """Take the attachment out of the record; the file follows after the commit."""
    target, record = request.context.target, request.context.current_object
    if record is None:
        raise records.not_found(target)
    records.check_preconditions(request, record)
    if record.get("attachment") is None:
        raise Refused("no_attachment", record=target.record_id)
    answer = records.remove_attachment(request, target)
    if hasattr(request, "parent"):
        request.response.status_code = 204
        return None  # Kinto's batch can't show an empty body.
    return _with_record_headers(Response(status=204, content_type=None), answer)


def _upload(
    request: Request,
    read: Callable[[forms.Body, Callable[[FilePart], StoredAttachment]], forms.Form],
    digest: ExpectedDigest | None,
    overhead: int,
) -> Any:
    """Permission was given by the route's context; everything else happens here, in order."""
    _refuse_in_batch(request)
    target, server = request.context.target, _server(request)
    existing = request.context.current_object
    records.check_preconditions(request, existing)
    _check_announced_size(request, server, target, overhead)
    _give_back_connection(request)
    body = forms.Body(request)
    files = Files.current(server.storage, server.rolls_back)

    def store(part: FilePart) -> StoredAttachment:
        stored = attachments.store(part, target, server.settings, server.storage, digest)
        files.create(stored)
        return stored

    with _metrics(request).timer("attachment_upload_seconds"):
        form = read(body, store)
    _metrics(request).count("attachment_bytes_in", count=form.stored.attachment.size)
    return _write_record(request, target, form, existing is not None)


def _write_record(request: Request, target: Target, form: forms.Form, exists: bool) -> Any:
    ensure_parents(request, target)
    change = dict(form.fields)
    change["data"] = {**form.fields.get("data", {}), "attachment": form.stored.value}
    answer = records.write(request, target, change, exists)
    record_url = request.route_url("record-object", **_ids(target))
    if _server(request).settings.legacy_format or _is_html_form(request):
        return HTTPSeeOther(location=record_url)
    request.response.status_code = answer.status_code
    request.response.headers["Location"] = record_url
    _with_record_headers(request.response, answer)
    return form.stored.value


def _with_record_headers(response: Response, answer: Response) -> Response:
    for name in ("ETag", "Last-Modified"):
        response.headers[name] = answer.headers[name]
    return response


def _check_announced_size(request: Request, server: Server, target: Target, overhead: int) -> None:
    """Refuse before the body is read, so that ``Expect: 100-continue`` saves it."""
    limit = server.settings.policy_for(target.bucket_id, target.collection_id).max_size_bytes
    announced = forms.content_length(request)
    if limit and announced is not None and announced > limit + overhead:
        raise Refused("too_large", limit=limit)


def _give_back_connection(request: Request) -> None:
    """End the transaction that checked the permission, and begin the one that writes.

    Otherwise each slow upload holds a database connection for as long as its body takes.
    Kinto's after-commit hook, set when the request came in, moves to the new transaction.
    """
    if request.context.wrote_parents:
        return  # The default bucket was just created: that must not be undone.
    hooks = list(transaction.get().getAfterCommitHooks())
    transaction.abort()
    renewed = transaction.begin()
    for hook, args, kwargs in hooks:
        renewed.addAfterCommitHook(hook, args, kwargs)


def _refuse_in_batch(request: Request) -> None:
    if hasattr(request, "parent"):
        raise Refused("in_batch")


def _is_html_form(request: Request) -> bool:
    """Whether a browser sent a form without script: it wants a page, not JSON."""
    offers = request.accept.acceptable_offers(["application/json", "text/html"])
    return request.method == "POST" and bool(offers) and offers[0][0] == "text/html"


def _refusing(view: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """One exit for every refusal and every failure of the store."""

    def wrapped(request: Request) -> Any:
        try:
            return view(request)
        except Refused as refused:
            raise as_http_error(request, refused) from refused
        except StorageFull as error:
            raise as_http_error(request, Refused("no_space")) from error
        except StorageError as error:
            raise as_http_error(request, Refused("store_unavailable")) from error

    wrapped.__doc__ = view.__doc__
    return wrapped


def _holder(request: Request, target: Target, file_id: str) -> Target:
    """The record through which a location with ``?file=`` is read.

    Copies of a record name the same file under the location of the first one, which may have
    been deleted, or have another file by now: then any record that the caller may read, and
    that names the file, opens it.
    """
    holders = Links(request.registry.storage).of_files([file_id])
    others = [Target.of_uri(link.record_uri) for link in holders if not link.kept]
    if target in others:
        return target
    return next((other for other in others if records.may_read(request, other)), target)


def _ids(target: Target) -> dict[str, str]:
    return {
        "bucket_id": target.bucket_id,
        "collection_id": target.collection_id,
        "id": target.record_id,
    }


def _server(request: Request) -> Server:
    server: Server = request.registry.attachments
    return server


def _metrics(request: Request) -> Any:
    return request.registry.metrics
