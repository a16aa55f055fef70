"""Any pyramid_storage backend, of which no more is known than ``save``, ``url`` and ``delete``.

What comes in is spooled to a temporary file, since such a backend wants a whole file. It
can't be asked for a file again: downloads are a redirect to its ``url()``, and nothing can
look for files that no record names.
"""

import contextlib
import errno
import os
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pyramid.exceptions import ConfigurationError

from kinto_attachment import keys
from kinto_attachment.storage.errors import (
    StoreError,
    StoreFull,
    StoreUnavailable,
    UnsafeKey,
)
from kinto_attachment.storage.removing import remove_each

IN_MEMORY = 1024 * 1024
"""Bytes of a file up to which no temporary file is needed."""

RACES = 3


@dataclass
class Upload:
    """What pyramid_storage's ``save`` takes: the parts of a ``cgi.FieldStorage`` that it uses."""

    file: IO[bytes]
    filename: str


class ThirdPartyStorage:
    """The streaming interface in front of a backend that does not have it.

    :param backend: it may have ``save_file`` and ``exists`` too.
    :raises pyramid.exceptions.ConfigurationError: where it lacks what nothing can replace.
    """

    def __init__(self, backend: Any) -> None:
        missing = [name for name in ("url", "delete") if not hasattr(backend, name)]
        if not (hasattr(backend, "save") or hasattr(backend, "save_file")):
            missing.append("save")
        if missing:
            raise ConfigurationError(
                f"kinto.attachment.backend: {self._name(backend)} has no method"
                f" {' and no method '.join(missing)}; take another backend."
            )
        self.backend = backend

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> "SpoolingWriter":
        """A writer of a new file. Name and type are not passed on, nor that the file is private:
        choice.py refuses such a server to start."""
        return SpoolingWriter(self, _checked(key))

    def delete(self, filename: str) -> bool:
        """Remove a file; False where there was none, as far as the backend can tell."""
        if not self._may_exist(_checked(filename)):
            return False
        with self._errors("delete"):
            return self.backend.delete(filename) is not False

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove files one by one, missing ones silently."""
        remove_each(self.delete, keys)

    def remove_unfinished(self, before: float) -> int:
        """Always 0: temporary files have no name, and go with their process."""
        return 0

    def probe(self) -> None:
        """Write and delete one small file; reading can't be tried."""
        with tempfile.TemporaryFile() as file:
            file.write(b"probe")
            self.delete(self.save(file, f"probe-{secrets.token_hex(16)}.txt"))

    def url(self, filename: str) -> Any:
        """The backend's own URL of a file: where downloads are redirected to."""
        with self._errors("url"):
            return self.backend.url(filename)

    def save(self, file: IO[bytes], key: str) -> str:
        """Hand a file over; returns the backend's own name of it.

        :raises FileExistsError: where the backend can tell that the key is taken.
        """
        folder, _, name = key.rpartition("/")
        if hasattr(self.backend, "exists"):
            with self._errors("exists"):
                taken = self.backend.exists(key)
            if taken:
                raise FileExistsError(f"{key} is taken")
        with self._errors("save"):
            for _ in range(RACES):
                # Two threads that make the same folder: pyramid_storage's own local class
                # raises in one of them, before it has written anything.
                with contextlib.suppress(FileExistsError):
                    return self._hand_over(file, folder, name)
            return self._hand_over(file, folder, name)

    def _hand_over(self, file: IO[bytes], folder: str, name: str) -> str:
        # What may be stored was decided before: the backend's own list would decide anew.
        allowed = {"extensions": (os.path.splitext(name)[1].lstrip(".").lower(),)}
        where = {"folder": folder} if folder else {}
        file.seek(0)
        if hasattr(self.backend, "save_file"):
            return str(self.backend.save_file(file, name, **where, **allowed))
        return str(self.backend.save(Upload(file, name), **where, **allowed))

    def _may_exist(self, key: str) -> bool:
        with self._errors("exists"):
            return not hasattr(self.backend, "exists") or bool(self.backend.exists(key))

    @contextlib.contextmanager
    def _errors(self, method: str) -> Iterator[None]:
        """One vocabulary of errors for all stores; what the backend says stays in the chain."""
        try:
            yield
        except (StoreError, FileExistsError):
            raise
        except Exception as error:
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            said = f"{self._name(self.backend)}.{method} raised {type(error).__name__}"
            raise (StoreFull if full else StoreUnavailable)(said) from error

    @staticmethod
    def _name(backend: Any) -> str:
        return f"{type(backend).__module__}.{type(backend).__qualname__}"


class SpoolingWriter:
    """A temporary file that is handed to the backend as a whole."""

    def __init__(self, storage: ThirdPartyStorage, key: str) -> None:
        self._storage = storage
        self._key = key
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115

    def write(self, data: bytes) -> None:
        """Append bytes to the temporary file."""
        try:
            self._file.write(data)
        except OSError as error:
            raise StoreFull(f"the folder of temporary files: {error.strerror}") from error

    def close(self) -> str | None:
        """Hand the whole file over; returns the backend's own name, which must still carry the
        file's id."""
        plain = _plain(self._key)
        try:
            saved = self._saved(plain)
            file_id = keys.id_of_key(self._key)
            if file_id and keys.id_in_location(saved) != file_id:
                self._storage.delete(saved)
                raise StoreError(f"{self._key} was renamed to {saved}, and would be lost")
        finally:
            self.abort()
        return saved

    def _saved(self, plain: str) -> str:
        try:
            return self._storage.save(self._file, plain)
        except StoreError:
            # It may have failed after it has stored, and nobody could list what it has.
            with contextlib.suppress(StoreError):
                self._storage.delete(plain)
            raise

    def abort(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):
            self._file.close()


def _checked(key: str) -> str:
    reason = keys.unsafe_reason(key)
    if reason:
        raise UnsafeKey(f"{key!r} is no key of this store: {reason}")
    return key


def _plain(key: str) -> str:
    """The key with a name in ASCII: pyramid_storage's backends drop all other letters, and
    with them, where nothing else is left, the extension."""
    folder, slash, name = key.rpartition("/")
    stem, suffix = (re.sub(r"[^A-Za-z0-9_.-]", "", part) for part in os.path.splitext(name))
    return folder + slash + (stem.strip("._") or "file") + (suffix if suffix != "." else "")
