"""Files that come in several requests: what a store may offer for them besides.

The store keeps the bytes, and nothing else is believed about them: how far an upload has come
is what the store has. The caller keeps one small :data:`State` for each upload, never changed
from its beginning to its end, and says with a :data:`Fence` who may write.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from kinto_attachment.storage.errors import UnsafeKey

UPLOADS = ".kinto-attachment-uploads"
"""Folder, in every store, of what belongs to unfinished uploads. None of it is a file of the
store's, so it is never listed."""

FIRST_BYTES = 64 * 1024
"""The most that :meth:`Uploads.first_bytes` gives, and how far an upload may have come for it."""

State = dict[str, str]
"""Where a store finds an upload again: JSON-able, and secret, since at Google whoever has it may
write. It never changes."""

Fence = Callable[[], bool]
"""Says whether this writer may still write: False as soon as another request has taken the
upload over. It is asked before each piece that is stored, so it should be quick."""


@dataclass(frozen=True)
class Progress:
    """How far an upload has come.

    :param offset: bytes that the store has for good: they are still there after a crash.
    :param hashed: for how many of them SHA-256 has been computed. The others are read once
        more, by the next append or at the end.
    :param published: whether the file lies under its key, as after a :meth:`Uploads.finish`
        whose record was not written.
    """

    offset: int
    hashed: int
    published: bool = False


@dataclass(frozen=True)
class Finished:
    """A file that lies in the store; ``size`` in bytes."""

    key: str
    sha256: bytes
    size: int


def abandoned(
    found: Iterable[tuple[str, str, float]], before: float, is_living: Callable[[str], bool]
) -> dict[str, list[str]]:
    """Names of what nobody goes on with, by the ids of their uploads: the newest of an upload's
    tells its age.

    :param found: id, name, and last change in seconds since 1970.
    """
    names: dict[str, list[str]] = {}
    changed: dict[str, float] = {}
    for upload_id, name, at in found:
        names.setdefault(upload_id, []).append(name)
        changed[upload_id] = max(changed.get(upload_id, at), at)
    return {one: names[one] for one in names if changed[one] < before and not is_living(one)}


class Uploads(Protocol):
    """The unfinished uploads of one store.

    .. code-block:: python

        uploads = store.uploads
        state = uploads.begin(upload_id, key, mimetype="image/png", filename="photo.png")
        offset = uploads.append(state, 0, chunks, fence=lambda: True)
        offset = uploads.append(state, offset, more_chunks, fence=lambda: True)
        finished = uploads.finish(state, length=offset)
        uploads.discard(state)  # Once the record is written.

    Every method may raise :class:`~kinto_attachment.storage.StoreError`, a passing fault after
    which nothing that was acknowledged is lost; all that take a state but ``discard`` raise
    :class:`~kinto_attachment.storage.UploadGone` where the store knows nothing of the upload.
    No method keeps anything between two calls: each may run on another node.
    """

    @property
    def largest(self) -> int | None:
        """Bytes that one upload may have; None where the store sets no limit."""

    def begin(
        self, upload_id: str, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> State:
        """Begin an upload of a file that is to lie under ``key``.

        :param upload_id: letters, digits, ``-`` and ``_``. Names in the store carry it: whoever
            can list the store sees it.
        :param private: whether nobody but the plugin may read the file.
        :raises UnsafeKey: for a key, or an id, that could lead elsewhere.
        """

    def progress(self, state: State) -> Progress:
        """What the store has, made durable before it is told."""

    def append(self, state: State, offset: int, chunks: Iterable[bytes], fence: Fence) -> int:
        """Store chunks behind the first ``offset`` bytes; returns the new offset once they are
        durable.

        Where the iterator raises, as when the client has gone, what it gave before is stored
        first, and then its exception is raised. Nothing is locked while a chunk is waited for.

        :raises OffsetDiffers: the upload has not this offset, or somebody else has written
            meanwhile. Nothing of what was not stored until then is stored.
        :raises Superseded: the fence said no; nothing is stored from then on.
        """

    def first_bytes(self, state: State, size: int) -> bytes:
        """Up to ``size`` bytes from the beginning, to tell what kind of file it is.

        :param size: at most :data:`FIRST_BYTES`. Beyond that offset of the upload, no store
            promises that it can be read.
        """

    def finish(self, state: State, length: int) -> Finished:
        """Publish the file under its key, with the SHA-256 of the whole. Repeated after a crash
        or a lost answer, it finds the file that it has published, and returns the same.

        What is not :attr:`Progress.hashed` is read once, so it may take long.

        :raises OffsetDiffers: the upload has not ``length`` bytes.
        :raises FileExistsError: another file lies under the key; it is left alone.
        """

    def discard(self, state: State) -> None:
        """Remove all that is left of an upload, finished or not. A file that was published is
        left alone: that is ``store.delete``'s. Harmless when repeated."""

    def abandoned(self, before: float, is_living: Callable[[str], bool]) -> list[str]:
        """The ids of the uploads that :meth:`remove_abandoned` would remove."""

    def missing_permission(self) -> str | None:
        """The name of a permission that uploads need and the store refuses; None where it
        refuses none, or where its files need none beyond those that all files need."""

    def remove_abandoned(self, before: float, is_living: Callable[[str], bool]) -> int:
        """Remove what uploads have left that nobody will go on with; returns how many those were.

        :param before: seconds since 1970; uploads that have changed since are left alone.
        :param is_living: whether the upload with this id is one that may go on.
        """


@runtime_checkable
class Resumable(Protocol):
    """What a store may offer besides: uploads that go on where they broke off."""

    @property
    def uploads(self) -> Uploads:
        """Its unfinished uploads."""


class Arriving:
    """Chunks from a client who may go away: then they just end, and :meth:`check` tells it.

    .. code-block:: python

        arriving = Arriving(chunks)
        for chunk in arriving:
            ...
        keep_what_is_there()
        arriving.check()
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._broken: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._chunks)
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            except BaseException as error:
                self._broken = error
                return
            yield chunk

    def check(self) -> None:
        """Raise what the iteration ended with, where it did not come to its end."""
        if self._broken is not None:
            raise self._broken


def checked_id(upload_id: str) -> str:
    """The id itself. Raises :class:`~kinto_attachment.storage.UnsafeKey`."""
    plain = upload_id.replace("-", "").replace("_", "")
    if not (plain.isascii() and plain.isalnum() and len(upload_id) <= 128):
        raise UnsafeKey(f"{upload_id!r} is no id of an upload")
    return upload_id
