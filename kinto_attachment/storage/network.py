"""What the stores behind a network have in common: S3 and Google Cloud Storage."""

import contextlib
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator

from kinto_attachment import keys
from kinto_attachment.storage.client import SharedClient
from kinto_attachment.storage.errors import (
    StoreError,
    StoreSilent,
    StoreUnavailable,
    UnsafeKey,
)
from kinto_attachment.storage.saving import SavesFiles
from kinto_attachment.storage.time_limit import SECONDS

logger = logging.getLogger(__name__)

PART = 8 * 1024 * 1024
"""Bytes of one part of a large upload, and what a writer keeps in memory. All parts but the
last have this very size: Cloudflare's R2 asks for that. S3 takes 10,000 parts: 78 GiB."""

PROBES = ".kinto-attachment-probe"
"""Folder of the objects that :meth:`NetworkStorage.probe` writes."""

MARK = ".kinto-attachment-mark"
"""Key of the object that says whose store it is."""

WRITER = "kinto-attachment-writer"
"""Name of the metadata by which a writer knows its own file, when the store's answer is lost."""


class Unanswered(StoreUnavailable):
    """The store says too little: the request may have been carried out."""


def checked(key: str) -> str:
    """The key itself. Raises :class:`~kinto_attachment.storage.UnsafeKey`."""
    reason = keys.unsafe_reason(key)
    if reason or is_hidden(key):
        raise UnsafeKey(f"{key!r} is no key of this store: {reason or 'reserved'}")
    return key


def is_hidden(key: str) -> bool:
    """Whether an object is no file of the store: the mark, a probe, or a console's empty
    'folder'."""
    return key == MARK or key.startswith(f"{PROBES}/") or keys.unsafe_reason(key) is not None


class NetworkStorage(SavesFiles, ABC):
    """Mixin: the methods that need nothing but the others."""

    _shared: SharedClient

    def close(self) -> None:
        """Close the connections that are kept open; the next use opens others."""
        self._shared.close()

    @abstractmethod
    def _probe_with(self, key: str, content: bytes) -> bytes:
        """Write an object, read it back and delete it; returns what was read."""

    may_vanish = False
    time_limit: float = SECONDS
    """For the whole of an operation that carries no file."""

    def prepare(self) -> None:
        """Nothing to make: a bucket is made by its owner."""

    def probe(self) -> None:
        """Write, read and delete one small object in a folder of its own."""
        content = secrets.token_hex(16).encode()
        if self._probe_with(f"{PROBES}/{secrets.token_hex(16)}", content) != content:
            raise StoreUnavailable("the store did not keep what was written")

    def exists(self, filename: str) -> bool:
        """pyramid_storage's: whether there is such a file."""
        try:
            self.stat(filename)
        except FileNotFoundError:
            return False
        return True


class PartWriter(ABC):
    """Base of writers: collects parts, and sends them.

    A file of up to one part goes out in a single request. Memory never holds more than one
    part, and those that are on their way. Buffers are used again: memory that is freed would not
    always go back to the system.

    :ivar part: bytes of each part but the last.
    """

    part = PART

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._filled = 0
        self._began = False
        self._over = False
        self._token = secrets.token_hex(16)

    def write(self, data: bytes) -> None:
        """Append bytes; a part that is full is sent before the next one begins."""
        view = memoryview(data)
        while view:
            if self._filled == self.part:
                with self._giving_up():
                    self._flush()
            taken = view[: self.part - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            view = view[len(taken) :]

    def close(self) -> None:
        """Send what is left, and publish the file."""
        try:
            with self._giving_up():
                self._publish()
        except BaseException:
            self.abort()
            raise
        self._over = True

    def abort(self) -> None:
        """Remove what was sent; harmless after :meth:`close`."""
        if self._over:
            return
        self._over = True
        self._buffer = bytearray()
        if self._began:
            try:
                self._drop()
            except StoreError as error:
                logger.warning("An unfinished upload is left in the store: %s", error)

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        """A store that has gone silent is not asked to clear up: gc, or its own rule for
        unfinished uploads, does it later."""
        try:
            yield
        except StoreSilent:
            self._over = True
            raise

    def _publish(self) -> None:
        del self._buffer[self._filled :]
        try:
            if self._began:
                self._send(self._buffer, last=True)
                self._complete()
            else:
                self._put(self._buffer)
        except (FileExistsError, Unanswered):
            # The client library repeats a request whose answer was lost, and meets the file
            # that the first one made: that is a success.
            if not self._is_ours():
                raise

    def _flush(self) -> None:
        if not self._began:
            self._begin()
            self._began = True
        self._buffer = self._send(self._buffer, last=False) or bytearray(self.part)
        self._filled = 0

    def _is_ours(self) -> bool:
        try:
            return self._stored_token() == self._token
        except (FileNotFoundError, StoreError):
            return False

    @abstractmethod
    def _put(self, content: bytearray) -> None:
        """Publish a small file."""

    @abstractmethod
    def _begin(self) -> None:
        """Start a large file."""

    @abstractmethod
    def _send(self, part: bytearray, last: bool) -> bytearray | None:
        """Send one part of a large file. The last one is never empty.

        :returns: a part that was sent, to be written over; None where all are on their way.
        """

    @abstractmethod
    def _complete(self) -> None:
        """Publish the parts."""

    @abstractmethod
    def _drop(self) -> None:
        """Remove the parts."""

    @abstractmethod
    def _stored_token(self) -> str | None:
        """The token of the file that lies under the key."""
