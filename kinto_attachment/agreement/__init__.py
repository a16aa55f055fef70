"""Record, link and file agree: at the end of every request that writes."""

from pyramid.config import Configurator

INCLUDED = ("errands", "tween", "flush")


def includeme(config: Configurator) -> None:
    """All of it."""
    for module in INCLUDED:
        config.include(f"kinto_attachment.agreement.{module}")
