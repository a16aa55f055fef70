"""Files that come to a local directory in several requests.

Each is one file that grows by appends, ``.kinto-attachment-uploads/<id>``, and so its offset is
its size. Beside it lies ``<id>.state``: how far SHA-256 has come. That is a saving, not a truth:
where it is old, damaged or gone, as after a kill, the bytes that it lacks are read from the disk.

Whoever writes holds a lock for one piece, and while it asks its fence; so does whoever asks for
the offset. After that answer nothing is written by anybody whose fence says no.

A little above 200 lines, since each operation stands beside the state that it leaves.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from kinto_attachment.storage.errors import (
    OffsetDiffers,
    StoreUnavailable,
    Superseded,
    UploadGone,
)
from kinto_attachment.storage.hashing import size_and_sha256
from kinto_attachment.storage.local.folders import fsync_directory
from kinto_attachment.storage.local.growing import GrowingFile, pieces
from kinto_attachment.storage.local.streams import publish, store_errors
from kinto_attachment.storage.sha256 import Sha256, can_go_on
from kinto_attachment.storage.unfinished import (
    UPLOADS,
    Arriving,
    Fence,
    Finished,
    Progress,
    State,
    abandoned,
    checked_id,
)

if TYPE_CHECKING:
    from kinto_attachment.storage.local import LocalFileStorage

PIECE = 1024 * 1024
"""Bytes written at once, and kept in memory for each upload under way: the fence, which may be a
query, is asked for each."""

WRITE_EVERY = 1.0
"""Seconds: how often what has come is written, however little it is. No more is lost where the
client's next request overtakes one whose line is dead: a slow line that is cut again and again
gets on."""

SAVE_EVERY = 1.0
"""Seconds: how often a long request forces to the disk what it has written. No more is read once
more where it is killed, or overtaken."""


class LocalUploads:
    """The unfinished uploads of a local store. A network file system has to know ``flock``, as
    that of NFS 4 does."""

    largest: int | None = None

    def __init__(self, storage: "LocalFileStorage") -> None:
        self._storage = storage
        self._folder = os.path.join(storage.base_path, UPLOADS)

    def begin(
        self, upload_id: str, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> State:
        """Make an empty file. Type and name are not kept on disk."""
        self._storage.path(key)
        state = {"id": checked_id(upload_id), "key": key}
        with store_errors():
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._folder)  # Not what is above it: a volume may not be mounted.
                self._sync_folder(self._storage.base_path)
            open(self._path(state), "xb").close()
            self._sync_folder(self._folder)
        return state

    def progress(self, state: State) -> Progress:
        """The file's size, once all of it is on the disk."""
        with self._file(state) as file:
            if file is None:
                size = self._published_size(state)
            else:
                with file.locked():
                    size = file.size
                self._sync(file)
        known = self._known(state)
        hashed = known.size if known and known.size <= size else 0
        return Progress(size, hashed, published=file is None)

    def append(self, state: State, offset: int, chunks: Iterable[bytes], fence: Fence) -> int:
        """Write piece after piece, and force them to the disk at the end."""
        with self._file(state) as file:
            if file is None:
                raise OffsetDiffers(self._published_size(state))
            with file.locked():
                file.check_size(offset)
            digest = self._digest(state, file, offset)
            arriving, last = Arriving(chunks), time.monotonic()
            # While the digest works, the next bytes arrive.
            look = digest.update if digest else len
            for piece in pieces(arriving, PIECE, WRITE_EVERY, look):
                with file.locked():
                    if not file.is_there() or not fence():
                        raise Superseded(state["id"])
                    file.check_size(offset)
                    file.write(piece, offset)
                offset += len(piece)
                if time.monotonic() >= last + SAVE_EVERY:
                    self._keep(state, file, digest)
                    last = time.monotonic()
            self._keep(state, file, digest)
        arriving.check()
        return offset

    def first_bytes(self, state: State, size: int) -> bytes:
        """The beginning of the file, from the disk."""
        with self._file(state) as file:
            if file is not None:
                return b"".join(file.read(0, min(size, file.size)))
        self._published_size(state)
        with contextlib.closing(self._storage.open(state["key"], 0, size)) as reader:
            return b"".join(reader)

    def finish(self, state: State, length: int) -> Finished:
        """Rename the file."""
        with self._file(state) as file:
            if file is not None:
                with file.locked():
                    file.check_size(length)
                digest = self._digest(state, file, length)
                sha256 = digest.digest() if digest else file.sha256()
                self._keep(state, file, digest)
                with file.locked():
                    file.check_size(length)
                    # Another one may have finished it while the lock was waited for.
                    if file.is_there():
                        self._publish(state)
                return Finished(state["key"], sha256, length)
        return self._finished(state, length)

    def discard(self, state: State) -> None:
        """Remove both files."""
        _remove([self._path(state), self._state_path(state)])

    def abandoned(self, before: float, is_living: Callable[[str], bool]) -> list[str]:
        """By the names in the folder of uploads."""
        return list(self._abandoned(before, is_living))

    def missing_permission(self) -> str | None:
        """None: whoever can store a file can append to it."""
        return None

    def remove_abandoned(self, before: float, is_living: Callable[[str], bool]) -> int:
        """Remove old files from the folder of uploads."""
        doomed = self._abandoned(before, is_living)
        for paths in doomed.values():
            _remove(paths)
        return len(doomed)

    def _abandoned(self, before: float, is_living: Callable[[str], bool]) -> dict[str, list[str]]:
        """Paths, by the ids of their uploads."""
        return abandoned(self._all(), before, is_living)

    def _all(self) -> Iterator[tuple[str, str, float]]:
        with (
            store_errors(),
            contextlib.suppress(FileNotFoundError),
            os.scandir(self._folder) as entries,
        ):
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    yield entry.name.partition(".")[0], entry.path, entry.stat().st_mtime

    # The file

    def _path(self, state: State) -> str:
        return os.path.join(self._folder, checked_id(state["id"]))

    @contextlib.contextmanager
    def _file(self, state: State) -> Iterator[GrowingFile | None]:
        """The open file; None where it was published, or is gone."""
        try:
            file = GrowingFile(self._path(state))
        except FileNotFoundError:
            file = None
        try:
            yield file
        finally:
            if file is not None:
                file.close()

    def _publish(self, state: State) -> None:
        path, target = self._path(state), self._storage.path(state["key"])
        with store_errors(passing=FileExistsError):
            try:
                publish(path, target, self._storage.base_path, self._storage.fsync, only_copy=True)
            except FileExistsError:
                # An empty file took the name for a finish that was killed before the rename:
                # nobody else knows the key, and nobody else is here, because of the lock.
                if os.stat(target).st_size:
                    raise
                os.replace(path, target)
                self._sync_folder(os.path.dirname(target))

    def _published_size(self, state: State) -> int:
        """Of the file under the key: an upload that has its state, but not its bytes, is
        finished."""
        try:
            if os.path.exists(self._state_path(state)):
                return self._storage.stat(state["key"]).size
        except FileNotFoundError:
            pass
        if not os.path.isdir(self._folder):
            raise StoreUnavailable(f"{self._folder} is gone: is its volume mounted?")
        raise UploadGone(state["id"])

    def _finished(self, state: State, length: int) -> Finished:
        size = self._published_size(state)
        if size != length:
            raise OffsetDiffers(size)
        known = self._known(state)
        if known and known.size == length:
            return Finished(state["key"], known.digest(), length)
        _, sha256 = size_and_sha256(self._storage, state["key"])
        return Finished(state["key"], bytes.fromhex(sha256), length)

    def _sync(self, file: GrowingFile) -> None:
        if self._storage.fsync:
            file.sync()

    def _sync_folder(self, path: str) -> None:
        if self._storage.fsync:
            fsync_directory(path)

    # How far SHA-256 has come

    def _state_path(self, state: State) -> str:
        return f"{self._path(state)}.state"

    def _known(self, state: State) -> Sha256 | None:
        with store_errors():
            try:
                with open(self._state_path(state), encoding="ascii", errors="replace") as file:
                    return Sha256.restore(file.read(1000))
            except FileNotFoundError:
                return None

    def _digest(self, state: State, file: GrowingFile, size: int) -> Sha256 | None:
        """Of the first ``size`` bytes, of which only those are read that are not known; None
        where this Python can't go on with one."""
        if not can_go_on():
            return None
        known = self._known(state)
        digest = known if known and known.size <= size else Sha256()
        for chunk in file.read(digest.size, size):
            digest.update(chunk)
        return digest

    def _keep(self, state: State, file: GrowingFile, digest: Sha256 | None) -> None:
        """The bytes first: so the digest is never one of bytes that a power cut takes back."""
        self._sync(file)
        self._save(state, digest)

    def _save(self, state: State, digest: Sha256 | None) -> None:
        """Replace the state at once. It is not forced to the disk: it is checked when read."""
        temporary = f"{self._state_path(state)}.{secrets.token_hex(8)}"
        with store_errors():
            try:
                with open(temporary, "x", encoding="ascii") as file:
                    file.write(digest.save() if digest else "")
                os.replace(temporary, self._state_path(state))
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                raise


def _remove(paths: Iterable[str]) -> None:
    with store_errors():
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
