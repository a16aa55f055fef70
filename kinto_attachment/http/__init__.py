"""What is asked, and what is answered."""

from pyramid.config import Configurator

PARTS = ("openapi", "default_bucket", "routes", "signed_urls")


def includeme(config: Configurator) -> None:
    """All of it."""
    for part in PARTS:
        config.include(f"kinto_attachment.http.{part}")
