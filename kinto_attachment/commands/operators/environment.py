"""Kinto's own environment for commands that look at records and files."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kinto_attachment.commands.reporting import ERROR, complain

if TYPE_CHECKING:
    from kinto.core.types import Registry


@contextlib.contextmanager
def kinto(ini: str) -> Iterator["Registry"]:
    """The registry of a Kinto application made from an ini; it serves nothing.

    :raises SystemExit: with a sentence and exit code 2, for an ini that can't be used.
    """
    from kinto.core.storage.exceptions import BackendError
    from pyramid.exceptions import ConfigurationError
    from pyramid.paster import bootstrap

    if not os.path.isfile(ini):
        _stop(f"{ini} does not exist: write the path of Kinto's configuration.")
    try:
        environment = bootstrap(ini, options={"command": "kinto-attachment"})
    except ConfigurationError as error:
        _stop(str(error))
    with environment:
        registry = environment["registry"]
        if not hasattr(registry, "attachments"):
            _stop(f"{ini} does not include kinto_attachment: add it to kinto.includes.")
        if not hasattr(registry.storage, "client"):
            _stop(
                f"{ini} keeps records in memory: only the running server knows them."
                " Use kinto.storage_backend = kinto.core.storage.postgresql."
            )
        try:
            yield registry
        except BackendError as error:
            _stop(f"The database failed, run it again: {str(error).splitlines()[0]}")


def _stop(sentence: str) -> None:
    complain(sentence)
    raise SystemExit(ERROR)
