"""Files in a local directory: atomic, durable, and never outside ``base_path``.

A little above 200 lines, since each operation stands beside what the system answers to it.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator

from pyramid.exceptions import ConfigurationError
from pyramid_storage.local import LocalFileStorage as PyramidLocalFileStorage
from zope.interface import implementer

from kinto_attachment import keys
from kinto_attachment.storage.errors import StoreUnavailable, UnsafeKey
from kinto_attachment.storage.interface import IStreamingFileStorage, StoredFile
from kinto_attachment.storage.local.folders import make_folders
from kinto_attachment.storage.local.streams import LocalReader, LocalWriter, store_errors
from kinto_attachment.storage.local.uploads import LocalUploads
from kinto_attachment.storage.removing import remove_each
from kinto_attachment.storage.saving import SavesFiles

UNFINISHED = ".unfinished"
"""Folder, below ``base_path``, of files that are still being written."""

OWN = ".kinto-attachment-"
"""What the names of our own files in ``base_path`` begin with: they are none of the store's."""

MARK = f"{OWN}mark"


@implementer(IStreamingFileStorage)
class LocalFileStorage(SavesFiles, PyramidLocalFileStorage):
    """pyramid_storage's local backend, made streaming, atomic and durable.

    :param base_path: directory of the files.
    :param fsync: whether a file is forced to disk, with its directory, before it counts.
    :param create: whether the directory is made where it does not exist. A server does not: it
        can't tell a first start from a volume that is not mounted (attachments/custody.py can).
    :param writable: False for a server that only reads: then the directory may be missing, or
        on a read-only file system.
    :raises pyramid.exceptions.ConfigurationError: where the directory can't be used.
    """

    def __init__(
        self,
        base_path: str,
        base_url: str = "",
        extensions: str = "default",
        fsync: bool = True,
        create: bool = True,
        writable: bool = True,
    ) -> None:
        super().__init__(os.path.abspath(base_path), base_url, extensions)
        self.fsync = fsync
        try:
            if create:
                make_folders(self._unfinished())
            elif writable:
                _check_creatable(self.base_path)
        except OSError as error:
            raise ConfigurationError(
                f"kinto.attachment.base_path = {base_path}: the directory can't be made"
                f" ({error.strerror}): write one that the server's user may create and write."
            ) from error

    may_vanish = True

    def prepare(self) -> None:
        """Make the folder of unfinished files."""
        with store_errors():
            make_folders(self._unfinished())

    def mark(self) -> bytes | None:
        """The mark, a file of its own; None where there is none."""
        with store_errors():
            try:
                with open(os.path.join(self.base_path, MARK), "rb") as file:
                    return file.read() or None  # Empty while it is being written.
            except (FileNotFoundError, NotADirectoryError):
                return None

    def set_mark(self, content: bytes, replace: bool) -> bool:
        """Write the mark; False where there is one that may not be replaced."""
        writer = LocalWriter(
            self.base_path, self._temporary(), os.path.join(self.base_path, MARK), self.fsync
        )
        try:
            writer.write(content)
            if replace:
                with store_errors(), contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.base_path, MARK))
            writer.close()
        except FileExistsError:
            return False
        finally:
            writer.abort()  # Harmless after close.
        return True

    def path(self, filename: str) -> str:
        """The absolute path of a key. Raises :class:`UnsafeKey` where it would lead outside."""
        reason = keys.unsafe_reason(filename)
        if reason or _is_reserved(filename.split("/", 1)[0]):
            raise UnsafeKey(f"{filename!r} is no key of this store: {reason or 'reserved'}")
        return os.path.join(self.base_path, *filename.split("/"))

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> "LocalWriter":
        """A writer of a new file. Type and name are not kept on disk."""
        return LocalWriter(self.base_path, self._temporary(), self.path(key), self.fsync)

    @property
    def uploads(self) -> LocalUploads:
        """Files that come in several requests."""
        return LocalUploads(self)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> "LocalReader":
        """The bytes of a file, or of a range of it."""
        with store_errors(passing=FileNotFoundError):
            return LocalReader(open(self.path(key), "rb", buffering=0), start, stop)

    def stat(self, key: str) -> StoredFile:
        """Size and time of a file; a folder is none."""
        with store_errors(passing=FileNotFoundError):
            found = os.stat(self.path(key))
            if not stat.S_ISREG(found.st_mode):
                raise FileNotFoundError(f"{key} is no file")
        return StoredFile(key, found.st_size, found.st_mtime)

    def files(self) -> Iterator[StoredFile]:
        """Every file below ``base_path`` but our own, folder by folder."""
        with store_errors():
            yield from self._walk(self.base_path, "")

    def delete(self, filename: str) -> bool:
        """Remove a file, and the folder that is named by its id; False where there was none."""
        path = self.path(filename)
        with store_errors():
            try:
                os.unlink(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return False
        parent = os.path.dirname(path)
        if keys.is_id(os.path.basename(parent)):
            # Only this file ever lies in a folder that is named by its id.
            with contextlib.suppress(OSError):
                os.rmdir(parent)
        return True

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove files one by one, missing ones silently."""
        remove_each(self.delete, keys)

    def remove_unfinished(self, before: float) -> int:
        """Remove files from the folder of unfinished ones; returns how many."""
        removed = 0
        with store_errors():
            try:
                entries = os.scandir(self._unfinished())
            except FileNotFoundError:
                if os.path.isdir(self.base_path):
                    return 0  # Nothing was ever written.
                raise
        with store_errors(), entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mtime < before:
                        os.unlink(entry.path)
                        removed += 1
        return removed

    def probe(self) -> None:
        """Write, read and delete one small file beside the store's."""
        path = os.path.join(self.base_path, f"{OWN}probe-{secrets.token_hex(16)}")
        writer = LocalWriter(self.base_path, self._temporary(), path, self.fsync)
        try:
            writer.write(b"probe")
            writer.close()
            with store_errors(), open(path, "rb") as file:
                if file.read() != b"probe":
                    raise StoreUnavailable(f"{path} did not keep what was written")
        finally:
            writer.abort()  # Harmless after close.
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _temporary(self) -> str:
        return os.path.join(self._unfinished(), secrets.token_hex(16))

    def _unfinished(self) -> str:
        return os.path.join(self.base_path, UNFINISHED)

    def _walk(self, folder: str, prefix: str) -> Iterator[StoredFile]:
        with os.scandir(folder) as entries:
            for entry in entries:
                key = prefix + entry.name
                if _is_reserved(key):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_dir(follow_symlinks=False):
                        yield from self._walk(entry.path, f"{key}/")
                    elif entry.is_file(follow_symlinks=False):
                        found = entry.stat()
                        yield StoredFile(key, found.st_size, found.st_mtime)


def _is_reserved(name: str) -> bool:
    """Whether a name in ``base_path`` is our own, and no file's."""
    return name == UNFINISHED or name.startswith(OWN)


def _check_creatable(path: str) -> None:
    """Raise OSError where a directory could not be made, without making it."""
    if os.path.isdir(path):
        return
    above = path
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), above)
    if not os.access(above, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), above)
