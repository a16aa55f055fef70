"""Record, link and file agree: at the end of every request that writes."""

from pyramid.config import Configurator

PARTS = ("errands", "tween", "flush")


def includeme(config: Configurator) -> None:
    """All of it."""
    for part in PARTS:
        config.include(f"kinto_attachment.agreement.{part}")
