"""POST, PUT, GET, HEAD and DELETE of a record's ``/attachment``.

A little above 200 lines: the service, and the short views that need no module of their own.
"""

from collections.abc import Callable
from typing import Any

from kinto.core import Service
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment import keys, record_field
from kinto_attachment.agreement.sources import readable_source
from kinto_attachment.attachments import adoption
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.http import default_bucket, password_prompts, preconditions, uploads
from kinto_attachment.http.in_parts import draft_creation
from kinto_attachment.http.sent import downloads
from kinto_attachment.plugin import Plugin
from kinto_attachment.records import lookup, permissions, subrequests
from kinto_attachment.records.refusing import as_http_error, refuse_in_batch
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.links import Link, same
from kinto_attachment.storage import StoreError, StoreFull
from kinto_attachment.targets import Target

PATH = "/buckets/{bucket_id}/collections/{collection_id}/records/{id}/attachment"

KINTO_METHOD = {"POST": "PUT", "PUT": "PUT", "DELETE": "PATCH", "GET": "GET", "HEAD": "GET"}
"""The request to the record whose permission each of ours needs."""


EXPOSED = (
    "ETag",
    "Last-Modified",
    "Location",
    "Repr-Digest",
    # Viewers of other origins read a file by ranges only where they see that it can be done.
    "Accept-Ranges",
    "Content-Range",
    "Content-Disposition",
    "Upload-Complete",
    "Upload-Limit",
    "Upload-Offset",
)
"""Headers that scripts of other origins may read."""


def includeme(config: Configurator) -> None:
    """Define the service now: it copies Kinto's renderer and CORS origins when constructed."""
    service = Service(
        name="attachment",
        path=PATH,
        description="The file of a record",
        factory=permission_context,
        cors_headers=EXPOSED,
        tags=["Attachments"],
    )
    for method, view, operation_id in (
        ("POST", draft_creation.or_creation(uploads.post), "upload_attachment"),
        ("PUT", draft_creation.or_creation(uploads.put), "put_attachment"),
        ("GET", get, "get_attachment"),
        ("HEAD", get, "head_attachment"),
        ("DELETE", delete, "delete_attachment"),
    ):
        service.add_view(
            method,
            refusing(view),
            permission="dynamic",
            operation_id=operation_id,  # What openapi.py goes by.
        )
    config.add_cornice_service(service)


def permission_context(request: Request) -> permissions.Context | permissions.OwnersContext:
    """Route factory: whatever Kinto requires for the same on the record, before the body."""
    password_prompts.suppress(request)
    target = target_of(request)
    method = KINTO_METHOD.get(request.method, "GET")
    if method == "GET" and "file" in request.GET:
        target = _holder(request, target, request.GET["file"])
    if method == "PUT":
        return writing_context(request)
    return permissions.context(request, target, method)


def writing_context(request: Request) -> permissions.Context | permissions.OwnersContext:
    """Route factory: whatever Kinto requires to write the record."""
    password_prompts.suppress(request)
    target = target_of(request)
    if default_bucket.followed(request) and not _has_parents(request, target):
        return permissions.OwnersContext(request, target)
    return permissions.context(request, target, "PUT")


def _has_parents(request: Request, target: Target) -> bool:
    rows = rows_of(request.registry.storage)
    bucket_uri = target.collection_uri.rsplit("/collections/", 1)[0]
    return rows.exists(bucket_uri) and rows.exists(target.collection_uri)


def reading_context(request: Request) -> permissions.Context:
    """Route factory: whatever Kinto requires to read the record."""
    return permissions.context(request, target_of(request), "GET")


def target_of(request: Request) -> Target:
    """The record in the request's URL."""
    ids = request.matchdict
    return Target(ids["bucket_id"], ids["collection_id"], ids["id"])


def get(request: Request) -> Response:
    """Serve the file of a record that the caller may read."""
    refuse_in_batch(request)
    target = request.context.target
    link, record = current_link(request, target, request.GET.get("file"))
    may_be_kept = Plugin.of(request).settings.public_max_age > 0
    public = may_be_kept and permissions.is_public(request, target)
    return serve(request, record, link, public)


def current_link(
    request: Request, target: Target, file_id: str | None = None
) -> tuple[Link, dict[str, Any]]:
    """The file that the record names now, and the record.

    :param file_id: the one that is wanted; None for whichever it is.
    :raises Refused: where it names none, or another one.
    :raises pyramid.httpexceptions.HTTPNotFound: for a missing record, as Kinto says it.
    """
    record = lookup.find(request, target)
    if record is None:
        raise lookup.missing(request, target)
    link = held_link(request, target, record, file_id)
    if link is None:
        raise Refused("no_attachment", record=target.record_id)
    return link, record


def held_link(
    request: Request, target: Target, record: dict[str, Any] | None, file_id: str | None
) -> Link | None:
    """As :func:`current_link`, for a record that was read already; None where it names no file,
    or another one."""
    value = record_field.value_of(record)
    rows = rows_of(request.registry.storage)
    held = rows.of_records([target.uri])
    if not held and isinstance(value, dict):
        storage, store = request.registry.storage, Plugin.of(request).store
        found = adoption.published_link(rows, storage, store, target, value)
        held = [found] if found else []
    return next((k for k in held if same(k.value, value) and file_id in (None, k.file_id)), None)


def serve(request: Request, record: dict[str, Any], link: Link, public: bool) -> Response:
    """The response with the file. Raises :class:`Refused` where the store has lost it."""
    plugin, version = Plugin.of(request), record["last_modified"]
    try:
        response = downloads.respond(request, plugin, link, version, public)
    except FileNotFoundError:
        raise Refused("file_missing", record=record["id"]) from None
    request.registry.metrics.count(
        "attachment_downloads", unique=[("method", request.method.lower())]
    )
    return response


def delete(request: Request) -> Any:
    """Take the attachment out of the record; the file follows after the commit."""
    target, record = request.context.target, request.context.current_object
    if record is None:
        raise lookup.not_found(target)
    preconditions.check(request, record)
    if record_field.value_of(record) is None:
        raise Refused("no_attachment", record=target.record_id)
    answer = subrequests.remove_attachment(request, target)
    if hasattr(request, "parent"):
        request.response.status_code = 204
        return None  # Kinto's batch can't show an empty body.
    return subrequests.with_headers(Response(status=204, content_type=None), answer)


def refusing(view: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """One exit for every refusal and every failure of the store."""

    def wrapped(request: Request) -> Any:
        try:
            return view(request)
        except Refused as refused:
            raise as_http_error(request, refused) from refused
        except StoreFull as error:
            raise as_http_error(request, Refused("no_space"), error) from error
        except StoreError as error:
            raise as_http_error(request, Refused("store_unavailable"), error) from error

    wrapped.__doc__ = view.__doc__
    return wrapped


def _holder(request: Request, target: Target, file_id: str) -> Target:
    """The record through which a location with ``?file=`` is read.

    Copies of a record name the same file under the location of the first one, which may have
    been deleted, or have another file by now: then any record that the caller may read, and
    that names the file, opens it.
    """
    if not keys.is_id_or_made(file_id):
        return target
    rows = rows_of(request.registry.storage)
    if any(link.file_id == file_id for link in rows.of_records([target.uri])):
        return target
    found = readable_source(request, rows, file_id)
    return found.target if found else target
