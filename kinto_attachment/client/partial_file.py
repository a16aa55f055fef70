"""A file on its way into a folder: hidden until it is whole, and kept where it breaks off."""

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from kinto_attachment.client import locks
from kinto_attachment.client.outcomes import Failure, Unusable

READ = 1024 * 1024

_PART = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.DOTALL)


class Damaged(Exception):
    """What arrived is not the file."""


class PartialFile:
    """The unfinished file for one name and one content.

    :param name: of the file in the folder, with ``/`` between the names of sub folders; each of
        them must be safe (:mod:`kinto_attachment.client.naming`).
    :param size: bytes of the whole file.
    :param digest: its SHA-256, in hexadecimal digits.
    """

    def __init__(self, folder: Path, name: str, size: int, digest: str) -> None:
        self._folder = folder
        self._target = folder / name
        self.path = self._target.with_name(f".{self._target.name}.{digest[:16]}.part")
        self.size = size
        self._hash = digest

    @contextlib.contextmanager
    def opened(self) -> Iterator["Writing"]:
        """Go on where it broke off; the file gets its name when the block has finished it.

        Nothing is left where nothing has come.

        :raises Failure: where the file is not to lie there, or does not fit there.
        """
        self._prepare()
        whole = False
        try:
            with _opened(self.path) as file:
                writing = Writing(file, self.size)
                yield writing
                whole = writing.is_finished
        finally:
            with contextlib.suppress(FileNotFoundError):
                if not (whole or self.path.stat().st_size):
                    self.discard()
        if whole:  # It is closed by now: Windows renames no file that is open.
            os.replace(self.path, self._target)

    def finish(self, writing: "Writing") -> None:
        """See that it is the file, and that it is on the disk. Raises :class:`Damaged`."""
        if writing.hash != self._hash:
            raise Damaged
        writing.finish()

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

    def _prepare(self) -> None:
        """Make the sub folders, and see that there is room: a server may say any size."""
        where = self._target.parent
        if not Path(os.path.realpath(where)).is_relative_to(os.path.realpath(self._folder)):
            raise Failure(f"{where} leads out of {self._folder}: remove that link")
        where.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if not is_plain(self.path.lstat()):
                self.discard()
        there = self.path.stat().st_size if self.path.exists() else 0
        free = shutil.disk_usage(where).free
        if self.size - there > free:
            raise Failure(f"it has {self.size} bytes, and {where} has room for {free}")


class Writing:
    """An open part: what is there is read once, since the digest is that of the whole."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        self._digest = hashlib.sha256()
        self.is_finished = False
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

    def finish(self) -> None:
        """Wait until the disk has it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.is_finished = True

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
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locks.alone_in(folder))
        except BlockingIOError as error:
            left = f" If there is none, remove {error.filename}." if error.filename else ""
            raise Unusable(
                f"Another download into {folder} is at work: wait for it, or give another --to."
                + left
            ) from None
        except OSError as error:
            raise Unusable(
                f"{folder} can't be used ({error.strerror}): give another --to."
            ) from error
        yield


def remove_other_partial_files(folders: Iterable[Path], wanted: set[Path]) -> None:
    """Parts of files that have been replaced or removed meanwhile."""
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if path not in wanted and _PART.fullmatch(path.name):
                path.unlink()


def is_plain(found: os.stat_result) -> bool:
    """Whether it is a file, and no other name leads to it: to write into a link is to write
    elsewhere."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink <= 1


def _opened(path: Path) -> IO[bytes]:
    """To read it, and to append to it; a link that has just come there is not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
    for name in ("O_NOFOLLOW", "O_BINARY"):  # Each system has one of them.
        flags |= getattr(os, name, 0)
    return open(os.open(path, flags, 0o666), "a+b")
