"""What is asked, and what is answered."""

from pyramid.config import Configurator

INCLUDED = (
    "openapi",
    "received.draining",
    "default_bucket",
    "routes",
    "upload_routes",
    "signed_urls",
    "gauges",
)


def includeme(config: Configurator) -> None:
    """All of it."""
    for module in INCLUDED:
        config.include(f"kinto_attachment.http.{module}")
