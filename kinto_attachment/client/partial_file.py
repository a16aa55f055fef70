"""A file on its way into a folder: hidden until it is whole, and kept where it breaks off."""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kinto_attachment.client.outcomes import Unusable

READ = 1024 * 1024

_PART = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.DOTALL)


class Damaged(Exception):
    """What arrived is not the file."""


class PartialFile:
    """The unfinished file for one name and one content.

    :param size: bytes of the whole file.
    :param digest: its SHA-256, in hexadecimal digits.
    """

    def __init__(self, folder: Path, name: str, size: int, digest: str) -> None:
        self.path = folder / f".{name}.{digest[:16]}.part"
        self.size = size
        self._target = folder / name
        self._hash = digest

    @contextlib.contextmanager
    def opened(self) -> Iterator["Writing"]:
        """Go on where it broke off. Nothing is left where nothing has come."""
        try:
            with open(self.path, "a+b") as file:
                yield Writing(file, self.size)
        finally:
            with contextlib.suppress(FileNotFoundError):
                if not self.path.stat().st_size:
                    self.discard()

    def finish(self, writing: "Writing") -> None:
        """Give it its name, once it is on the disk. Raises :class:`Damaged`."""
        if writing.hash != self._hash:
            raise Damaged
        writing.force()
        os.replace(self.path, self._target)

    def discard(self) -> None:
        """Forget what there is."""
        self.path.unlink(missing_ok=True)

    def is_done(self) -> bool:
        """Whether the file is there, whole."""
        target = self._target
        if not target.is_file() or target.stat().st_size != self.size:
            return False
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self._hash


class Writing:
    """An open part: what is there is read once, since the digest is that of the whole."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        self._digest = hashlib.sha256()
        self.count = 0
        """Bytes that are there."""
        file.seek(0)
        while block := file.read(READ):
            self._count(block)

    @property
    def hash(self) -> str:
        """SHA-256 of what is there."""
        return self._digest.hexdigest()

    def write(self, block: bytes) -> None:
        """Append. Raises :class:`Damaged` where that is more than the whole."""
        self._count(block)
        self._file.write(block)

    def restart(self) -> None:
        """Begin with nothing."""
        self._file.truncate(0)
        self._digest, self.count = hashlib.sha256(), 0

    def force(self) -> None:
        """Wait until the disk has it."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def _count(self, block: bytes) -> None:
        self.count += len(block)
        self._digest.update(block)
        if self.count > self._size:
            raise Damaged


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[None]:
    """Make the folder where needed, and keep other downloads out of it.

    :raises Unusable: where that can't be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Unusable(f"{folder} can't be used ({error.strerror}): give another --to.") from error
    try:
        with contextlib.suppress(OSError):  # Some network disks know no locks.
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Unusable(
                    f"Another download into {folder} is at work: wait for it, or give another"
                    " --to."
                ) from None
        yield
    finally:
        os.close(handle)


def remove_other_partial_files(folder: Path, wanted: set[Path]) -> None:
    """Parts of files that have been replaced or removed meanwhile."""
    for path in folder.iterdir():
        if path not in wanted and _PART.fullmatch(path.name):
            path.unlink()
