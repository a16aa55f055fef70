"""Copies the files that records name into another store, under the same keys.

Every file is compared with its link before it counts. What lies at the destination with the
right size is complete, since a store shows no file before its last byte: so a copy that was
interrupted goes on where it was, and needs no notes of its own.

Longer than others: what a copy has seen decides what it may do next.
"""

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import transaction

from kinto_attachment import keys
from kinto_attachment.maintenance.walk import walk
from kinto_attachment.rows import Rows
from kinto_attachment.rows.links import Link
from kinto_attachment.settings import Settings
from kinto_attachment.storage import Readable, ReadableStore, Store, StoreError, UnsafeKey, Writer
from kinto_attachment.storage.hashing import measured

RACES = 3
"""How often a file is tried that another copy writes at the same time."""

LOOKS, BETWEEN_LOOKS = 20, 0.05
"""How often, and after how many seconds, an empty file is looked at that should not be one."""

COPIED, PRESENT = "copied", "present"

PROBLEMS = {
    "missing": "the store has no such file",
    "size": "the file has another size than its link says, and was not copied",
    "hash": "the file has another SHA-256 than its link says, and was not copied",
    "unreadable": "the store works, and does not give this file out",
    "taken": "the destination has another file under this key, and it was left alone",
    "key": "a store can't hold a file under this key",
}
"""What becomes of a file that is neither copied nor present."""


@dataclass
class CopyReport:
    """What became of the files.

    :param present: those that the destination had already.
    :param gone: those that were replaced or removed while the copy ran.
    :param bytes: what was copied.
    """

    copied: int = 0
    present: int = 0
    gone: int = 0
    findings: int = 0
    bytes: int = 0


class Stopped(Exception):
    """The copy ends before its time, in the middle of a file."""


class Unusable(Exception):
    """A file that can't be copied; ``problem`` is one of :data:`PROBLEMS`."""

    def __init__(self, problem: str) -> None:
        super().__init__(PROBLEMS[problem])
        self.problem = problem


class Copier:
    """One run through all links of a database.

    :param settings: the destination's.
    :param jobs: files that are copied at once.
    :param found: called with a name of :data:`PROBLEMS` and a link to the file.
    :param tick: called with the number of files that were looked at.
    """

    def __init__(
        self,
        rows: Rows,
        source: Readable,
        destination: ReadableStore,
        settings: Settings,
        *,
        jobs: int,
        found: Callable[[str, Link], object],
        tick: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._rows = rows
        self._source = source
        self._destination = destination
        self._settings = settings
        self._jobs = jobs
        self._found = found
        self._tick = tick
        self._stop = threading.Event()

    def copy(self, report: CopyReport) -> None:
        """Copy what is not there yet; ``report`` counts as it goes.

        :raises kinto_attachment.storage.StoreError: as a store failed.
        """
        settle = partial(self._settle, report=report)
        walk(self._rows, self._copy, settle, jobs=self._jobs, stop=self._stop.set)

    def _settle(self, outcomes: Iterator[tuple[list[Link], str]], report: CopyReport) -> None:
        problems = []
        for links, outcome in outcomes:
            self._tick(1)
            if outcome == COPIED:
                report.copied += 1
                report.bytes += links[0].size
            elif outcome == PRESENT:
                report.present += 1
            else:
                problems.append((links[0], outcome))
        self._tell(problems, report)

    def _tell(self, problems: list[tuple[Link, str]], report: CopyReport) -> None:
        """Only of files that are still named: the others went while they were copied."""
        with transaction.manager:
            still = self._rows.held({link.file_id for link, _ in problems})
        for link, problem in problems:
            if link.file_id in still:
                report.findings += 1
                self._found(problem, link)
            else:
                report.gone += 1

    def _copy(self, links: list[Link]) -> str:
        """Copy one file; returns what became of it. Runs in a thread, without the database."""
        link = links[0]
        for _ in range(RACES):
            try:
                there = self._size_there(link)
                if there is not None:
                    return PRESENT if there == link.size else "taken"
                return self._stream(link, self._is_private(links))
            except FileExistsError:
                continue  # Another copy was quicker.
            except UnsafeKey:
                return "key"
        return "taken"

    def _size_there(self, link: Link) -> int | None:
        """Bytes of the file at the destination; None where there is none.

        A local store takes the name of a file first, with an empty one. If another copy is at
        work, it is filled at once; if that was killed at this very moment, it stays empty, and
        is removed here.
        """
        for _ in range(LOOKS):
            try:
                size = self._destination.stat(link.key).size
            except FileNotFoundError:
                return None
            if size or not link.size:
                return size
            self._stop.wait(BETWEEN_LOOKS)
        self._destination.delete(link.key)
        return None

    def _is_private(self, links: list[Link]) -> bool:
        """As soon as one of the records that name the file says so."""
        return any(self._settings.policy_for(*link.target.place).private for link in links)

    def _stream(self, link: Link, private: bool) -> str:
        writer = self._destination.open_writer(
            link.key, mimetype=link.mimetype, filename=link.filename, private=private
        )
        try:
            with contextlib.closing(self._read(link)) as chunks:
                _write(chunks, writer, link)
            writer.close()
        except Unusable as error:
            return error.problem
        finally:
            writer.abort()  # Harmless after close.
        return COPIED

    def _read(self, link: Link) -> Generator[bytes]:
        """The bytes of the source. Raises :class:`Unusable` where it is this file's own fault."""
        try:
            with contextlib.closing(self._source.open(link.key)) as reader:
                for chunk in reader:
                    if self._stop.is_set():
                        raise Stopped
                    yield chunk
        except FileNotFoundError:
            raise Unusable("missing") from None
        except (StoreError, OSError) as error:
            if not _works(self._source):
                raise
            raise Unusable("unreadable") from error


def _write(chunks: Iterable[bytes], writer: Writer, link: Link) -> None:
    """Raises :class:`Unusable` where the bytes are not what the link says."""
    size, sha256 = measured(chunks, writer.write)
    if size != link.size:
        raise Unusable("size")
    if sha256.hex() != link.hash:
        raise Unusable("hash")


def _works(store: Readable) -> bool:
    """Whether a store answers as it should when it is asked for a file that can't be there."""
    try:
        store.stat(f"{keys.new_id()}.txt")
    except FileNotFoundError:
        return True
    except StoreError:
        return False
    return False


def are_one(source: Readable, destination: Store) -> bool:
    """Whether two stores are the same, by whatever names they are reached.

    A file is put into the one, looked for in the other, and removed; where the process is
    killed in between, ``gc`` finds it.

    :raises kinto_attachment.storage.StoreError: as a store failed; so a destination that
        can't be written is known before anything is copied.
    """
    key = f"{keys.new_id()}.txt"
    writer = destination.open_writer(key, mimetype="text/plain", filename="probe.txt")
    try:
        writer.write(b"probe")
        writer.close()
    finally:
        writer.abort()  # Harmless after close.
    try:
        source.stat(key)
    except FileNotFoundError:
        return False
    else:
        return True
    finally:
        destination.delete(key)
