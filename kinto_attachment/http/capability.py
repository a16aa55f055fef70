"""The ``attachments`` capability of the root URL."""

from typing import Any

from kinto.core import Service
from pyramid.config import Configurator
from pyramid.events import BeforeRender

from kinto_attachment.attachments.unfinished import UnfinishedUploads
from kinto_attachment.http.in_parts import draft, tus
from kinto_attachment.plugin import Plugin, own_base_url

URL = "https://github.com/Kinto/kinto-attachment/"


def announce(config: Configurator, plugin: Plugin, version: str) -> None:
    """Register the capability; complete its ``base_url`` for each request where needed."""
    config.add_api_capability(
        "attachments",
        description="Attach files to records.",
        url=URL,
        version=version,
        **plugin.capability(),
        **_uploads(config, plugin),
    )
    if plugin.settings.announced_base_url() is None:
        config.add_subscriber(_complete, BeforeRender)


def _uploads(config: Configurator, plugin: Plugin) -> dict[str, Any]:
    """What is offered for uploads in several requests; nothing where they are off."""
    uploads = UnfinishedUploads(plugin.settings, plugin.store, config.registry.storage)
    if uploads.reason_against() is not None:
        return {}
    offered = {
        "tus": tus.VERSION,
        "extensions": list(tus.EXTENSIONS),
        "draft": [int(version) for version in draft.VERSIONS],
        "max_age": plugin.settings.upload_max_age,
    }
    return {"uploads": offered}


def _complete(event: BeforeRender) -> None:
    """Kinto's capabilities are the same for all requests; our own URL is not."""
    value, request = event.rendering_val, event.get("request")
    if not (isinstance(value, dict) and "capabilities" in value and request is not None):
        return
    service: Service | None = request.current_service
    if service is None or service.name != "hello":
        return
    ours = {**value["capabilities"]["attachments"], "base_url": own_base_url(request)}
    value["capabilities"] = {**value["capabilities"], "attachments": ours}
