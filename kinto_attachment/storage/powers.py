"""What a store can do, by the methods that it has: looked at once, at the start.

A method that is missing, or misspelt, would otherwise take much more than itself away, and nobody
would hear of it.
"""

import logging
from typing import Any

from pyramid.exceptions import ConfigurationError

from kinto_attachment.storage.interface import (
    POWERS,
    IStreamingFileStorage,
    Marked,
    Store,
    lacks,
)

logger = logging.getLogger(__name__)

LOST = {
    "list": "files that no record names can't be found",
    "read": "downloads are redirected to its own URLs",
}
"""What comes of each word of :func:`kinto_attachment.storage.interface.lacks`."""


def check(backend: Any) -> None:
    """See that a backend has all or none of the methods of each protocol.

    One that has no ``open_writer`` is any pyramid_storage backend, which may have a method that
    is only called like one of ours: that is logged.

    :raises pyramid.exceptions.ConfigurationError: otherwise, with the missing names.
    """
    streams = _has(backend, "open_writer") or IStreamingFileStorage.providedBy(backend)
    if not streams:
        _tell_of_no_use(backend)
        return
    for protocol, names in POWERS.items():
        missing = [name for name in names if not _has(backend, name)]
        some = protocol is Store or len(missing) < len(names)
        if missing and some:
            raise ConfigurationError(
                f"kinto.attachment.backend: {_called(backend)} has no {' and no '.join(missing)};"
                f" add what kinto_attachment.storage.{protocol.__name__} has, or take the rest"
                " of it out."
            )


def tell(store: Store, backend: Any) -> None:
    """Log what a store can't do, and what comes of that.

    :param backend: the store itself, or what it stands in front of.
    """
    name, missing = type(backend).__qualname__, lacks(store)
    if missing:
        lost = ", and ".join(LOST[word] for word in missing)
        logger.warning("The attachment store %s lacks %s: %s.", name, " and ".join(missing), lost)
    if not isinstance(store, Marked):
        logger.warning(
            "The attachment store %s can't be marked: nothing notices where it is not there, or"
            " belongs to another database.",
            name,
        )


def _tell_of_no_use(backend: Any) -> None:
    ours = {name for names in POWERS.values() for name in names} - {"delete", "url"}
    found = sorted(name for name in ours if callable(getattr(backend, name, None)))
    if found:
        logger.warning(
            "The attachment store %s has %s, but no open_writer: it is used as a backend that has"
            " save, url and delete alone.",
            _called(backend),
            " and ".join(found),
        )


def _has(backend: Any, name: str) -> bool:
    return getattr(backend, name, None) is not None


def _called(backend: Any) -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"
