"""One file that grows by appends, while others may look at it and append, too."""

import contextlib
import fcntl
import hashlib
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator

from kinto_attachment.storage.errors import OffsetDiffers, StoreUnavailable
from kinto_attachment.storage.interface import CHUNK_SIZE
from kinto_attachment.storage.local.streams import store_errors


class GrowingFile:
    """A file that is there. Every method raises :class:`~kinto_attachment.storage.StoreError`.

    :raises FileNotFoundError: where it is not.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with store_errors(passing=FileNotFoundError):
            self._file = open(path, "r+b", buffering=0)  # noqa: SIM115

    def close(self) -> None:
        """Close it."""
        self._file.close()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else who asks for it is in such a block for this file, on any node."""
        with store_errors():
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def is_there(self) -> bool:
        """Whether it still has its name: nobody has removed or renamed it."""
        return os.path.exists(self._path)

    @property
    def size(self) -> int:
        """Bytes."""
        with store_errors():
            return os.fstat(self._file.fileno()).st_size

    def check_size(self, size: int) -> None:
        """Raise :class:`~kinto_attachment.storage.OffsetDiffers` where it is another one."""
        if self.size != size:
            raise OffsetDiffers(self.size)

    def write(self, view: memoryview, offset: int) -> None:
        """Write behind ``offset`` bytes."""
        with store_errors():
            while view:  # A file may take less than it was given.
                taken = os.pwrite(self._file.fileno(), view, offset)
                view, offset = view[taken:], offset + taken

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to, without, ``stop``, which have to be there."""
        while start < stop:
            with store_errors():
                wanted = min(CHUNK_SIZE, stop - start)
                chunk = os.pread(self._file.fileno(), wanted, start)
            if not chunk:
                raise StoreUnavailable("an unfinished file has become shorter")
            start += len(chunk)
            yield chunk

    def sha256(self) -> bytes:
        """Of all bytes."""
        digest = hashlib.sha256()
        for chunk in self.read(0, self.size):
            digest.update(chunk)
        return digest.digest()

    def sync(self) -> None:
        """Force it to the disk."""
        with store_errors():
            os.fsync(self._file.fileno())


def pieces(
    chunks: Iterable[bytes],
    size: int,
    seconds: float,
    look: Callable[[bytes], object] = lambda _: None,
) -> Iterator[memoryview]:
    """The same bytes, gathered into pieces. All of them lie in one place, so that each one is gone
    when the next is asked for; it is not of the heap, which would be given back to the system and
    asked for again for each piece.

    :param size: bytes; a piece that has as many is given out.
    :param seconds: so is one that has been gathered for so long, when its next chunk comes.
    :param look: called with the bytes as they come, and never with any of a later piece.
    """
    place = memoryview(mmap.mmap(-1, size, access=mmap.ACCESS_COPY))
    filled, began = 0, time.monotonic()
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            taken = view[: size - filled]
            look(chunk if len(taken) == len(chunk) else bytes(taken))
            place[filled : filled + len(taken)] = taken
            view, filled = view[len(taken) :], filled + len(taken)
            if filled == size or time.monotonic() >= began + seconds:
                yield place[:filled]
                filled, began = 0, time.monotonic()
    if filled:
        yield place[:filled]
