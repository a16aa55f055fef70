"""The ``attachments`` capability of the root URL."""

from kinto.core import Service
from pyramid.config import Configurator
from pyramid.events import BeforeRender

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
    )
    if plugin.settings.announced_base_url() is None:
        config.add_subscriber(_complete, BeforeRender)


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
