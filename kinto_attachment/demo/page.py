"""A page to try attachments on, where ``kinto.attachment.demo = true``; its files are in demo/.

It does nothing that any other page of this origin could not do with the API.
"""

import contextlib
import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNotFound
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import NO_PERMISSION_REQUIRED

from kinto_attachment.plugin import Plugin
from kinto_attachment.storage import Presigning, Readable, StoreError

FOLDER = Path(__file__).parent / "static"
PAGE = "index.html"
TYPES = {
    PAGE: "text/html",
    "demo.css": "text/css",
    "demo.js": "text/javascript",
    "api.js": "text/javascript",
    "send.js": "text/javascript",
    "tus.js": "text/javascript",
    "unfinished.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self'{pictures}; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


def includeme(config: Configurator) -> None:
    """Serve the page where it is asked for: a server in production does without."""
    if not Plugin.of_registry(config.registry).settings.demo:
        return
    for name, path, view in (
        ("attachments-demo", "/attachments", redirect),
        ("attachments-demo-file", "/attachments/{name:[^/]*}", serve),
    ):
        config.add_route(name, path)
        config.add_view(
            view, route_name=name, request_method="GET", permission=NO_PERMISSION_REQUIRED
        )


def redirect(request: Request) -> Response:
    """To the folder of the page, whose URLs are relative.

    Not to its bare slash: without this page Kinto redirects from there to here, and browsers
    remember that for an hour.
    """
    return HTTPFound(request.route_path("attachments-demo-file", name=PAGE))


def serve(request: Request) -> Response:
    """One of the page's files."""
    name = request.matchdict["name"] or PAGE
    if name not in TYPES or hasattr(request, "parent"):  # A batch speaks JSON alone.
        raise HTTPNotFound()
    content = (FOLDER / name).read_bytes()
    response = Response(
        content, content_type=TYPES[name], charset="utf-8", conditional_response=True
    )
    response.etag = hashlib.sha256(content).hexdigest()
    response.headers.update(
        {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": POLICY.format(pictures=_pictures_elsewhere(request)),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
    )
    return response


def _pictures_elsewhere(request: Request) -> str:
    """Where downloads are redirected to, for the policy: it holds after a redirect, too."""
    plugin, url = Plugin.of(request), None
    store = plugin.store
    with contextlib.suppress(StoreError):  # The page works without pictures.
        if not isinstance(store, Readable):
            url = store.url("picture.png")
        elif plugin.settings.download == "redirect" and isinstance(store, Presigning):
            url = store.presigned_url("picture.png", "picture.png", "image/png", 1)
    scheme, host = urlsplit(url or "")[:2]
    return f" {scheme}://{host}" if host else ""
