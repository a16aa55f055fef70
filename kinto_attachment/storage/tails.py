"""What waits beside an unfinished upload in a store that takes bytes in large units only.

S3 keeps parts of 8 MiB, Google multiples of 256 KiB; what does not fill one waits in *tails*,
small objects below ``.kinto-attachment-uploads/<id>/``. A tail is named by the position of its
first byte and is never written over, so there is one at most for each position: which of two
writers goes on is decided by the store. The first begins where the units end, each other one
where the one before it ends, and the last one ends at the upload's offset. Once the unit is sent
that a tail is part of, the tail is old, and goes with the next append.

Each tail also carries how far SHA-256 has come at its end, and a proof of the units for which
that is true. Where an append ends with a unit, an empty *sum* carries them.
"""

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from kinto_attachment.storage.errors import OffsetDiffers, Superseded
from kinto_attachment.storage.interface import Reader
from kinto_attachment.storage.network import WRITER
from kinto_attachment.storage.sha256 import Sha256, can_go_on
from kinto_attachment.storage.unfinished import UPLOADS, Fence, State, checked_id

SHA256, PROOF = "kinto-attachment-sha256", "kinto-attachment-proof"
"""Names of the metadata that tails and sums carry."""


@dataclass(frozen=True)
class Stored:
    """An object beside an upload: size in bytes, last change in seconds since 1970."""

    name: str
    size: int
    modified: float


class Units(Protocol):
    """What a store has taken for good, in whole units."""

    @property
    def size(self) -> int:
        """Bytes."""

    def proof(self) -> str:
        """A text that is another one where other bytes were sent, as far as the store tells."""

    def send(self, piece: bytearray) -> None:
        """Send the next units. Raises :class:`~kinto_attachment.storage.StoreError`."""


SUM_EVERY = 1.0
"""Seconds: how often a long request writes a sum, which is a request more. One part of S3 takes
longer from most clients, so that each has one."""

Sent = TypeVar("Sent", bound=Units)
"""What a subclass knows of the units besides."""


class Objects(Protocol):
    """Small objects in a bucket. Every method may raise
    :class:`~kinto_attachment.storage.StoreError`."""

    def listing(self, prefix: str) -> Iterator[Stored]:
        """Those whose name begins so, in any order."""

    def create(self, name: str, content: bytes | bytearray, metadata: Mapping[str, str]) -> None:
        """Write one. Raises FileExistsError where there is one already."""

    def metadata(self, name: str) -> Mapping[str, str]:
        """What was written with it. Raises FileNotFoundError."""

    def content(self, name: str) -> Reader:
        """Its bytes. Raises FileNotFoundError."""

    def remove(self, names: list[str]) -> None:
        """Remove some, missing ones silently."""


@dataclass
class Standing(Generic[Sent]):
    """How far an upload has come.

    :param offset: bytes that the store has.
    :param tails: name and size of those that go on where the units end, in order.
    :param old: names of objects that have been overtaken.
    :param digest: of the first ``offset`` bytes; None where it is not known.
    """

    units: Sent
    offset: int
    tails: list[tuple[str, int]]
    old: list[str]
    digest: Sha256 | None


def folder_of(state: State) -> str:
    """Where everything of one upload lies."""
    return f"{UPLOADS}/{checked_id(state['id'])}/"


def standing(
    folder: str, units: Sent, found: Mapping[str, int], objects: Objects
) -> Standing[Sent]:
    """Put together what the store has.

    :param found: name and size of the upload's objects. They were listed before the units were
        asked for: a tail that was overtaken in between is counted with them.
    """
    offset = units.size
    tails: list[tuple[str, int]] = []
    while size := found.get(_tail(folder, offset), 0):
        tails.append((_tail(folder, offset), size))
        offset += size
    last = tails[-1][0] if tails else _sum(folder, offset)
    old = [name for name in found if name < _tail(folder, units.size)]
    digest = _digest(last, units, objects) if last in found else None
    if not offset and can_go_on():
        digest = Sha256()
    if digest and digest.size != offset:
        digest = None
    return Standing(units, offset, tails, old, digest)


def _digest(name: str, units: Units, objects: Objects) -> Sha256 | None:
    try:
        carried = objects.metadata(name)
    except FileNotFoundError:
        return None  # Somebody has gone on meanwhile.
    if carried.get(PROOF) != units.proof():
        return None
    return Sha256.restore(carried.get(SHA256, ""))


def _tail(folder: str, position: int) -> str:
    return f"{folder}{position:016d}"


def _sum(folder: str, position: int) -> str:
    return f"{_tail(folder, position)}.sum"


class TailWriter:
    """Goes on with an upload: fills units, sends them, and keeps the rest in a tail.

    No more is in memory than one piece. What the tails have of it is read when the piece is to
    be sent, each byte once.

    :param unit: bytes; all that is sent is a multiple of it.
    :param piece: bytes that are sent at once, a multiple of ``unit``.
    """

    def __init__(
        self,
        stands: Standing[Sent],
        folder: str,
        objects: Objects,
        fence: Fence,
        unit: int,
        piece: int,
    ) -> None:
        self._units = stands.units
        self._digest = stands.digest
        self._unread = stands.tails
        self._began = self._summed = stands.offset
        self._last_sum = time.monotonic()
        # By tails, which are read later. It grows as bytes come: a stalled client costs no piece.
        self._filled = stands.offset - stands.units.size
        self._buffer = bytearray(self._filled)
        self._folder, self._objects, self._fence = folder, objects, fence
        self._unit, self._piece = unit, piece

    def write(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        view = memoryview(chunk)
        while view:
            taken = view[: self._piece - self._filled]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            if self._digest:
                self._digest.update(bytes(taken))
            view = view[len(taken) :]
            if self._filled == self._piece:
                self._send(self._piece)
                if time.monotonic() >= self._last_sum + SUM_EVERY:
                    self._sum_up()

    def close(self) -> int:
        """Keep the rest, so that all is durable; returns the new offset."""
        if whole := self._filled // self._unit * self._unit:
            self._send(whole)
        end = self._units.size + self._filled
        before = max(self._began - self._units.size, 0)  # It has waited in tails before.
        rest = self._buffer[before : self._filled]
        if rest:
            self._check_fence()
            self._create(_tail(self._folder, end - len(rest)), rest)
        elif end > self._summed:
            self._sum_up()
        return end

    def _send(self, size: int) -> None:
        """Send the first bytes of the buffer, and move the others there. It is used again: memory
        that is freed would not always go back to the system."""
        self._read_tails()
        self._check_fence()
        whole = self._buffer if size == self._piece else self._buffer[:size]
        self._units.send(whole)
        rest = self._buffer[size : self._filled]
        self._buffer[: len(rest)] = rest
        self._filled = len(rest)

    def _sum_up(self) -> None:
        """Note the digest of all units, for whoever goes on if this writer is killed."""
        self._summed, self._last_sum = self._units.size, time.monotonic()
        if self._digest:
            with contextlib.suppress(FileExistsError):  # Another one came so far, and crashed.
                self._objects.create(_sum(self._folder, self._summed), b"", self._carried())

    def _read_tails(self) -> None:
        """Put the bytes of the tails into the place that was left for them."""
        position = 0
        unread, self._unread = self._unread, []
        for name, _ in unread:
            with contextlib.closing(self._objects.content(name)) as chunks:
                for chunk in chunks:
                    self._buffer[position : position + len(chunk)] = chunk
                    position += len(chunk)

    def _create(self, name: str, content: bytearray) -> None:
        mine = self._carried()
        try:
            self._objects.create(name, content, mine)
        except FileExistsError:
            # The library repeats a request whose answer was lost, and meets its own object.
            if self._objects.metadata(name).get(WRITER) != mine[WRITER]:
                raise OffsetDiffers(self._began) from None

    def _carried(self) -> dict[str, str]:
        known = {SHA256: self._digest.save(), PROOF: self._units.proof()} if self._digest else {}
        return {WRITER: secrets.token_hex(16), **known}

    def _check_fence(self) -> None:
        if not self._fence():
            raise Superseded(self._folder)
