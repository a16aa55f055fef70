"""A module that can be included, and has no store."""

from pyramid.config import Configurator


def includeme(config: Configurator) -> None:
    """Nothing."""
