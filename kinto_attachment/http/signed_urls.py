"""``…/attachment/link``: makes signed URLs, and serves the files that they are for.

They are URLs of the plugin's own, for every store: so they can die with their file, and HEAD and
ranges work. For a store that signs URLs itself they redirect to one of those.
"""

import time
from typing import Any

from kinto.core import Service
from kinto.core.errors import raise_invalid
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response
from pyramid.security import NO_PERMISSION_REQUIRED

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.signatures import Signer, Token
from kinto_attachment.http import routes
from kinto_attachment.plugin import Plugin, own_base_url
from kinto_attachment.records import lookup
from kinto_attachment.records.refusing import refuse_in_batch

EXPIRES_IN = 300
"""Seconds, where the client asks for nothing else."""


def includeme(config: Configurator) -> None:
    """Define the two services now, for the reason that routes.py gives."""
    asked = Service(
        name="attachment-link",
        path=f"{routes.PATH}/link",
        description="Signed links to the file of a record",
        factory=routes.reading_context,
        tags=["Attachments"],
    )
    asked.add_view(
        "POST",
        routes.refusing(create),
        permission="dynamic",
        operation_id="link_attachment",
    )
    opened = Service(
        name="attachment-linked",
        path=f"{routes.PATH}/link/{{token}}",
        description="The file of a record, by a signed link",
        cors_headers=routes.EXPOSED,
        tags=["Attachments"],
    )
    for method in ("GET", "HEAD"):
        opened.add_view(
            method,
            routes.refusing(follow),
            permission=NO_PERMISSION_REQUIRED,
            operation_id=f"{method.lower()}_linked_attachment",
        )
    for service in (asked, opened):
        config.add_cornice_service(service)


def create(request: Request) -> Any:
    """A URL of the record's file for whoever has no credentials: ``<img>``, e-mails."""
    plugin, target = Plugin.of(request), request.context.target
    signer = _signer(plugin)
    seconds = _expires_in(request, plugin.settings.link_max_age)
    link, _ = routes.current_link(request, target)
    expires = int(time.time()) + seconds
    token = signer.sign(link, expires)
    url = f"{own_base_url(request)}{target.uri[1:]}/attachment/link/{token}"
    return {"data": {"url": url, "expires_in": seconds, "expires": expires}}


def follow(request: Request) -> Response:
    """Serve the file that a signed URL is for."""
    refuse_in_batch(request)
    target, signer = routes.target_of(request), _signer(Plugin.of(request))
    token = Token.read(request.matchdict["token"])
    if token is None:
        raise Refused("link_invalid")
    if token.expires < time.time():
        raise Refused("link_expired")
    record = lookup.find(request, target)
    link = routes.held_link(request, target, record, token.file_id)
    if record is None or link is None or not signer.opens(token, link):
        raise Refused("link_invalid")
    return routes.serve(request, record, link, public=False)


def _signer(plugin: Plugin) -> Signer:
    if plugin.signer is None:
        raise Refused("links_off")
    return plugin.signer


def _expires_in(request: Request, most: int) -> int:
    try:
        body = request.json_body if request.body else {}
        seconds = body.get("data", {}).get("expires_in", min(EXPIRES_IN, most))
    except (ValueError, AttributeError):
        raise_invalid(request, location="body", description='write {"data": {"expires_in": 300}}')
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 < seconds <= most:
        said = f"a whole number of seconds, at most {most}"
        raise_invalid(request, location="body", name="data.expires_in", description=said)
    return int(seconds)
