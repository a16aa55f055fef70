"""The streaming interface that a store offers beside pyramid_storage's.

A backend is a pyramid_storage class (``save``, ``url``, ``delete``, ``exists``) with the
methods of :class:`Store` added, and those of the other protocols that it can keep. The store is
dumb: keys are decided in keys.py, what may be stored in attachments/intake.py, and when a file
goes in attachments/file_changes.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from pyramid_storage.interfaces import IFileStorage

CHUNK_SIZE = 512 * 1024
"""Bytes read or written at once: large enough for hashing to release the GIL, and for glibc to
keep what is freed for the next chunk more often than not. Else it gives the memory back to the
system and asks for it again, page by page, which takes longer than all the rest."""


class IStreamingFileStorage(IFileStorage):
    """Marker of the backends that offer the methods of :class:`Store`."""


@dataclass(frozen=True)
class StoredFile:
    """A file in the store: size in bytes, last change in seconds since 1970."""

    key: str
    size: int
    modified: float


class Writer(Protocol):
    """A file being written. It is visible under its key only after :meth:`close`."""

    def write(self, data: bytes) -> object:
        """Append bytes. Raises :class:`StoreError`."""

    def close(self) -> str | None:
        """Publish the file, durably. Raises :class:`StoreError`; FileExistsError, and
        leaves the existing file alone, where the key is taken. On any error nothing is left.

        Returns the key, where the store did not take the one that it was given, else None.
        """

    def abort(self) -> None:
        """Drop everything. Never raises; harmless after :meth:`close`."""


@runtime_checkable
class Foresighted(Protocol):
    """What a writer may offer besides: to make use of knowing how much will come.

    :ivar largest: bytes that a file may have; 0 is no limit.
    """

    largest: int

    def announce(self, size: int) -> None:
        """Before the first byte: no more than ``size`` bytes will come."""


class Reader(Protocol):
    """The bytes of one file: an iterator that must be closed."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """Free the handle. Harmless when called twice."""


@runtime_checkable
class Store(Protocol):
    """What every store can do. Every method may raise :class:`StoreError`.

    .. code-block:: python

        writer = store.open_writer(key, mimetype="image/png", filename="photo.png")
        try:
            writer.write(content)
            key = writer.close() or key
        finally:
            writer.abort()

    What only some stores can do are protocols of their own: :class:`Readable`,
    :class:`Listable`, :class:`Presigning`, :class:`Marked` and
    :class:`~kinto_attachment.storage.Resumable`. ``isinstance`` tells.
    """

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> Writer:
        """Start a new file; type and name are stored with it where the store can.

        :param private: whether nobody but the plugin may read it, whatever ACL new files have.
        """

    def delete(self, filename: str) -> bool:
        """Remove one file; False, silently, where there was none."""

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove files, missing ones silently. Tries all before it raises."""

    def remove_unfinished(self, before: float) -> int:
        """Remove what writers left that died before ``before`` (seconds since 1970)."""

    def probe(self) -> None:
        """Write, read and delete one small object outside of :meth:`Listable.files`."""

    def url(self, filename: str) -> Any:
        """pyramid_storage's: ``base_url`` and key."""


@runtime_checkable
class Readable(Protocol):
    """What a store may offer besides: its files, for the plugin to serve and to compare. Every
    method may raise :class:`StoreError`."""

    def open(self, key: str, start: int = 0, stop: int | None = None) -> Reader:
        """The bytes from ``start`` up to, without, ``stop``. Raises FileNotFoundError."""

    def stat(self, key: str) -> StoredFile:
        """Size and time of one file. Raises FileNotFoundError."""


@runtime_checkable
class Listable(Protocol):
    """What a store may offer besides: to tell which files it has."""

    def files(self) -> Iterator[StoredFile]:
        """Every file of the store, in any order, page by page. Raises :class:`StoreError`."""


@runtime_checkable
class ReadableStore(Store, Readable, Protocol):
    """A store whose files can be compared with what records say of them."""


@runtime_checkable
class CompleteStore(ReadableStore, Listable, Protocol):
    """A store in which files can be found that no record names."""


@runtime_checkable
class Presigning(Protocol):
    """What a store may offer besides: URLs that open one file for some time."""

    def presigned_url(self, key: str, filename: str, mimetype: str, expires: int) -> str | None:
        """A URL that anybody can read the file from during ``expires`` seconds, under this
        name and type. None where the store's credentials can't sign. Whether the file exists
        is not looked at. Raises :class:`StoreError`."""


@runtime_checkable
class Marked(Protocol):
    """What a store may offer besides: one small object beside its files, which says whose they
    are (attachments/custody.py). Every method may raise :class:`StoreError`."""

    may_vanish: bool
    """Whether it can go away under a running server, as a volume that is unmounted."""

    def prepare(self) -> None:
        """Make what has to be there before the first file; harmless where it is."""

    def mark(self) -> bytes | None:
        """What the store is marked with; None where it has no mark, or is not there."""

    def set_mark(self, content: bytes, replace: bool) -> bool:
        """Write the mark; False, and nothing is written, where there is one already that may
        not be replaced."""


POWERS: dict[type, tuple[str, ...]] = {
    Store: ("open_writer", "delete", "delete_many", "remove_unfinished", "probe", "url"),
    Readable: ("open", "stat"),
    Listable: ("files",),
    Presigning: ("presigned_url",),
    Marked: ("may_vanish", "prepare", "mark", "set_mark"),
}
"""The protocols of stores, and the names that belong to each: who has one has all of them."""


def lacks(store: Store) -> list[str]:
    """What a store can't do, in words for people: ``list``, ``read``, both, or nothing.

    Only pyramid_storage's backends that know no more than ``save``, ``url`` and ``delete``
    lack anything.
    """
    powers = {"list": isinstance(store, Listable), "read": isinstance(store, Readable)}
    return [word for word, has in powers.items() if not has]
