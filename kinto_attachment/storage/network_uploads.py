"""Files that come in several requests to a store behind a network: what S3 and Google share."""

import contextlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Generic

from kinto_attachment.storage.errors import OffsetDiffers, UploadGone
from kinto_attachment.storage.hashing import size_and_sha256
from kinto_attachment.storage.interface import Readable
from kinto_attachment.storage.network import Unanswered, checked
from kinto_attachment.storage.tails import (
    SHA256,
    Objects,
    Sent,
    Standing,
    TailWriter,
    folder_of,
    standing,
)
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


class NetworkUploads(ABC, Generic[Sent]):
    """Base: offsets, tails and digests. What is sent in units is the subclass's.

    :ivar unit: bytes; the store takes only multiples of it, but for the end of a file.
    :ivar piece: bytes that are sent at once, and kept in memory for each upload under way.
    """

    unit: int
    piece: int

    def __init__(self, store: Readable, objects: Objects) -> None:
        self._store = store
        self._objects = objects

    def begin(
        self, upload_id: str, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> State:
        """Tell the store of a large file."""
        state = {
            "id": checked_id(upload_id),
            "key": checked(key),
            "token": secrets.token_hex(16),
            "unit": str(self.unit),
        }
        made = self._start(state, mimetype=mimetype, filename=filename, private=private)
        return {**state, **made}

    def progress(self, state: State) -> Progress:
        """Units and tails."""
        stands = self._standing(state)
        if stands is None:
            size = self._published_size(state)
            return Progress(size, size if self._finished_digest(state) else 0, published=True)
        return Progress(stands.offset, stands.digest.size if stands.digest else 0)

    def append(self, state: State, offset: int, chunks: Iterable[bytes], fence: Fence) -> int:
        """Send whole units, and keep the rest in a tail."""
        stands = self._standing(state)
        if stands is None or stands.offset != offset:
            raise OffsetDiffers(stands.offset if stands else self._published_size(state))
        self._objects.remove(stands.old)
        unit = int(state["unit"])
        piece = max(self.piece // unit, 1) * unit
        writer = TailWriter(stands, folder_of(state), self._objects, fence, unit, piece)
        arriving = Arriving(chunks)
        try:
            for chunk in arriving:
                writer.write(chunk)
            offset = writer.close()
        except (OffsetDiffers, FileNotFoundError):
            raise OffsetDiffers(self.progress(state).offset) from None
        arriving.check()
        return offset

    def first_bytes(self, state: State, size: int) -> bytes:
        """From the tails, as long as no unit was sent, or from the file."""
        stands = self._standing(state)
        if stands is None:
            self._published_size(state)
            with contextlib.closing(self._store.open(state["key"], 0, size)) as reader:
                return b"".join(reader)
        return bytes(self._rest(state, stands)[:size]) if not stands.units.size else b""

    def finish(self, state: State, length: int) -> Finished:
        """Send the tails behind the units, and publish."""
        stands = self._standing(state)
        if stands is None:
            return self._finished(state, length)
        if stands.offset != length:
            raise OffsetDiffers(stands.offset)
        rest = self._rest(state, stands)
        try:
            self._publish(state, stands.units, rest)
        except (FileExistsError, Unanswered):
            # The library repeats a request whose answer was lost, and meets our own file.
            if self._published_token(state) != state["token"]:
                raise
        sha256 = stands.digest.digest() if stands.digest else self._read_sha256(state)
        self._keep_digest(state, sha256)
        return Finished(state["key"], sha256, length)

    def discard(self, state: State) -> None:
        """Remove what was sent, and the tails."""
        self._drop(state)
        self._objects.remove([found.name for found in self._objects.listing(folder_of(state))])

    def abandoned(self, before: float, is_living: Callable[[str], bool]) -> list[str]:
        """By the objects beside uploads."""
        return list(self._abandoned(before, is_living))

    def missing_permission(self) -> str | None:
        """None, unless a store needs one that only uploads need."""
        return None

    def remove_abandoned(self, before: float, is_living: Callable[[str], bool]) -> int:
        """Go through the objects beside uploads."""
        doomed = self._abandoned(before, is_living)
        for names in doomed.values():
            self._drop_abandoned(names)
            self._objects.remove(names)
        return len(doomed)

    def _abandoned(self, before: float, is_living: Callable[[str], bool]) -> dict[str, list[str]]:
        """Names of objects, by the ids of their uploads."""
        listed = self._objects.listing(f"{UPLOADS}/")
        found = ((one.name.split("/")[1], one.name, one.modified) for one in listed)
        return abandoned(found, before, is_living)

    def _rest(self, state: State, stands: Standing[Sent]) -> bytearray:
        """What the tails have."""
        rest = bytearray()
        try:
            for name, _ in stands.tails:
                with contextlib.closing(self._objects.content(name)) as reader:
                    for chunk in reader:
                        rest += chunk
        except FileNotFoundError:  # Somebody has gone on, or given it up.
            raise OffsetDiffers(self.progress(state).offset) from None
        return rest

    # The file that is finished, and whose record may be missing yet

    def _finished(self, state: State, length: int) -> Finished:
        size = self._published_size(state)
        if size != length:
            raise OffsetDiffers(size)
        sha256 = self._finished_digest(state)
        return Finished(state["key"], sha256 or self._read_sha256(state), length)

    def _published_size(self, state: State) -> int:
        try:
            if self._published_token(state) == state["token"]:
                return self._store.stat(state["key"]).size
        except FileNotFoundError:
            pass
        raise UploadGone(state["id"])

    def _read_sha256(self, state: State) -> bytes:
        return bytes.fromhex(size_and_sha256(self._store, state["key"])[1])

    def _keep_digest(self, state: State, sha256: bytes) -> None:
        """For whoever has to finish once more: what was sent can't be asked for its digest."""
        with contextlib.suppress(FileExistsError):
            self._objects.create(_finished_name(state), b"", {SHA256: sha256.hex()})

    def _finished_digest(self, state: State) -> bytes | None:
        try:
            return bytes.fromhex(self._objects.metadata(_finished_name(state)).get(SHA256, ""))
        except FileNotFoundError:
            return None

    def _standing(self, state: State) -> Standing[Sent] | None:
        """How far it has come; None where it is published, or gone."""
        folder = folder_of(state)
        found = {tail.name: tail.size for tail in self._objects.listing(folder)}
        units = self._sent(state)  # After the list.
        return standing(folder, units, found, self._objects) if units is not None else None

    @abstractmethod
    def _start(
        self, state: State, *, mimetype: str, filename: str, private: bool
    ) -> Mapping[str, str]:
        """Begin a large file, whose metadata has the token; returns where it is found again."""

    @abstractmethod
    def _sent(self, state: State) -> Sent | None:
        """What the store has in units; None where it does not know the upload (any more)."""

    @abstractmethod
    def _publish(self, state: State, units: Sent, rest: bytearray) -> None:
        """Send the rest, and publish. Raises FileExistsError where the key is taken."""

    @abstractmethod
    def _published_token(self, state: State) -> str | None:
        """That of the file under the key. Raises FileNotFoundError."""

    @abstractmethod
    def _drop(self, state: State) -> None:
        """Remove the units; harmless where there are none."""

    def _drop_abandoned(self, names: list[str]) -> None:
        """Remove the units of an upload of which only objects are known."""


def _finished_name(state: State) -> str:
    return f"{folder_of(state)}finished"
