"""The URLs of uploads in several requests, below a record's ``/attachment``."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kinto.core import Service
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPLocked, HTTPMethodNotAllowed, HTTPServiceUnavailable
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.unfinished import UnfinishedUploads
from kinto_attachment.http import routes
from kinto_attachment.http.in_parts import draft, resumable, tus
from kinto_attachment.plugin import Plugin
from kinto_attachment.records import permissions

if TYPE_CHECKING:
    from kinto.core.types import Registry

EXPOSED = (
    *routes.EXPOSED,
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Complete",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Limit",
    "Upload-Metadata",
    "Upload-Offset",
)
"""Headers that scripts of other origins may read."""

_PATH = r"/buckets/[^/]+/collections/[^/]+/records/[^/]+/attachment(/uploads(/[^/]+)?)?"
"""Below the version of the API."""

_LOCKED = HTTPLocked.code
"""In place of 503, where a client of tus asks how far an upload has come: tus-js-client asks again
after this one only, and after any other sends the whole file anew."""


def includeme(config: Configurator) -> None:
    """Define the services, and answer to what Kinto's services do not."""
    if not config.registry.attachments.settings.uploads:
        return
    for name, path, views in (
        ("attachment-uploads", "/uploads", {"POST": (tus.post, "create_upload")}),
        (
            "attachment-upload",
            "/uploads/{upload_id}",
            {
                "HEAD": (_by_dialect(tus.head, draft.head), "head_upload"),
                "PATCH": (patch, "append_upload"),
                "DELETE": (_by_dialect(tus.delete, draft.delete), "delete_upload"),
                "POST": (override, "override_upload"),
            },
        ),
    ):
        service = Service(
            name=name,
            path=routes.PATH + path,
            description="Uploads in several requests",
            factory=context,
            cors_headers=EXPOSED,
            tags=["Attachments"],
        )
        for method, (view, operation_id) in views.items():
            service.add_view(
                method,
                routes.refusing(refusing(view)),
                permission="dynamic",
                operation_id=operation_id,
            )
        config.add_cornice_service(service)
    config.add_tween(
        "kinto_attachment.http.upload_routes.tween_factory",
        over="kinto_attachment.http.received.draining.tween_factory",
    )


def context(request: Request) -> permissions.Context | permissions.OwnersContext:
    """Route factory: whatever Kinto requires to write the record, for each of the requests.

    A browser asks beforehand, without a password (CORS): then nothing is told of the record, and
    the collection may be one that does not exist yet.
    """
    if request.method == "OPTIONS":
        return routes.permission_context(request)
    return routes.writing_context(request)


def patch(request: Request) -> Any:
    """Go on with an upload."""
    return draft.patch(request) if _is_of_draft(request) else tus.patch(request)


def override(request: Request) -> Any:
    """PATCH and DELETE for those who can only POST (tus 1.0, "X-HTTP-Method-Override")."""
    wanted = request.headers.get("X-HTTP-Method-Override", "").upper()
    view = {"PATCH": tus.patch, "DELETE": tus.delete}.get(wanted)
    if view is None:
        raise HTTPMethodNotAllowed()
    return view(request)


def refusing(view: Callable[[Request], Any]) -> Callable[[Request], Any]:
    """Refusals in the words of the dialect."""

    def wrapped(request: Request) -> Any:
        try:
            return view(request)
        except Refused as refused:
            dialect = draft if _is_of_draft(request) else tus
            raise dialect.refused(request, refused) from refused

    wrapped.__doc__ = view.__doc__
    return wrapped


def tween_factory(handler: Callable[[Request], Response], registry: "Registry") -> Any:
    """Tell what is offered where OPTIONS has no ``Origin`` (Kinto's services refuse that), and
    have each answer to tus say its version, those of Kinto's own included."""
    plugin = Plugin.of_registry(registry)
    ours = re.compile(f"/{re.escape(registry.route_prefix)}{_PATH}")

    def tween(request: Request) -> Response:
        found = ours.fullmatch(request.environ["PATH_INFO"])
        if found is None:
            return handler(request)
        is_preflight = "Access-Control-Request-Method" in request.headers
        if request.method == "OPTIONS" and not is_preflight and _is_offered(request, plugin):
            response = Response(status=204, content_type=None)
            response.headers["Upload-Limit"] = draft.limit_header(request)
            response.headers.update(tus.discovery(request) if found[1] else {})
            response.headers["X-Content-Type-Options"] = "nosniff"
            if "Origin" in request.headers:
                _let_read(response, handler(request))
            return response
        response = handler(request)
        if found[1] and tus.is_spoken(request):
            response.headers["Tus-Resumable"] = tus.VERSION
            if request.method == "HEAD" and response.status_code == HTTPServiceUnavailable.code:
                response.status_code = _LOCKED
        return response

    return tween


def _let_read(response: Response, of_kinto: Response) -> None:
    """A page of another origin, as far as Kinto lets it."""
    allowed = of_kinto.headers.get("Access-Control-Allow-Origin")
    if allowed:
        response.headers["Access-Control-Allow-Origin"] = allowed
        response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)


def _is_offered(request: Request, plugin: Plugin) -> bool:
    uploads = UnfinishedUploads(plugin.settings, plugin.store, request.registry.storage)
    return uploads.reason_against(resumable.policy_of(request)) is None


def _is_of_draft(request: Request) -> bool:
    return "Upload-Complete" in request.headers and not tus.is_spoken(request)


def _by_dialect(
    of_tus: Callable[[Request], Any], of_draft: Callable[[Request], Any]
) -> Callable[[Request], Any]:
    def view(request: Request) -> Any:
        return of_tus(request) if tus.is_spoken(request) else of_draft(request)

    view.__doc__ = of_tus.__doc__
    return view
