"""Writing and reading one file of a local directory."""

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import IO

from kinto_attachment.storage.errors import StoreFull, StoreUnavailable
from kinto_attachment.storage.interface import CHUNK_SIZE
from kinto_attachment.storage.local.folders import (
    fsync_directory,
    keep_owner,
    make_folders,
    remove_folders,
)

MAX_RACES = 5
"""How often a folder that others remove at the same time is made again."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def store_errors(passing: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """One vocabulary of errors for all stores: see :mod:`kinto_attachment.storage`."""
    try:
        yield
    except passing:
        raise
    except (NotADirectoryError, IsADirectoryError) as error:
        if passing is FileNotFoundError:
            raise FileNotFoundError(str(error)) from error
        raise StoreUnavailable(str(error)) from error
    except OSError as error:
        if passing is FileNotFoundError and error.errno == errno.ENAMETOOLONG:
            raise FileNotFoundError(str(error)) from error
        kind = StoreFull if error.errno in _FULL else StoreUnavailable
        raise kind(str(error)) from error


class LocalWriter:
    """A temporary file on the same file system, renamed into place by :meth:`close`."""

    def __init__(self, base_path: str, temporary: str, path: str, fsync: bool) -> None:
        self._base_path = base_path
        self._fsync = fsync
        self._temporary = temporary
        self._path = path
        with store_errors():
            self._file = open(temporary, "xb", buffering=0)  # noqa: SIM115
            keep_owner(temporary)

    def write(self, data: bytes) -> None:
        """Append bytes to the temporary file."""
        view = memoryview(data)
        with store_errors():
            while view:  # An unbuffered file may take less than it was given.
                view = view[self._file.write(view) :]

    def close(self) -> None:
        """Rename the file into place."""
        try:
            with store_errors(passing=FileExistsError):
                if self._fsync:
                    os.fsync(self._file.fileno())
                self._file.close()
                publish(self._temporary, self._path, self._base_path, self._fsync)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove the temporary file; harmless after :meth:`close`."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary)


class LocalReader:
    """The bytes of an open file, in chunks of :data:`CHUNK_SIZE`."""

    def __init__(self, file: IO[bytes], start: int, stop: int | None) -> None:
        self._file = file
        self._left = None if stop is None else max(0, stop - start)
        file.seek(start)

    def __iter__(self) -> "LocalReader":
        return self

    def __next__(self) -> bytes:
        wanted = CHUNK_SIZE if self._left is None else min(CHUNK_SIZE, self._left)
        data = self._file.read(wanted) if wanted else b""
        if not data:
            self.close()
            raise StopIteration
        if self._left is not None:
            self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def publish(
    temporary: str, path: str, base_path: str, fsync: bool, only_copy: bool = False
) -> None:
    """Rename a file, never over another one, and make the folders above it.

    :param only_copy: once it is renamed, the file stays, whatever fails then.
    :raises FileExistsError: the name is taken.
    """
    folder = os.path.dirname(path)
    made = _take_name(path, base_path)
    try:
        os.replace(temporary, path)
        if fsync:
            for directory in {folder, *(os.path.dirname(new) for new in made)}:
                fsync_directory(directory)
    except BaseException:
        if not only_copy or os.path.exists(temporary):
            with contextlib.suppress(OSError):
                os.unlink(path)
            remove_folders(made)
        raise


def _take_name(path: str, base_path: str) -> list[str]:
    """Create an empty file, exclusively; returns the folders that were made for it.

    ``rename`` alone would replace a file silently, and ``link`` does not exist on every file
    system.
    """
    made: list[str] = []
    try:
        for attempt in range(MAX_RACES):
            made += make_folders(os.path.dirname(path), base_path)
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileNotFoundError:  # Somebody removed the folder because it was empty.
                if attempt == MAX_RACES - 1:
                    raise
            else:
                break
    except BaseException:
        remove_folders(made)
        raise
    return made
