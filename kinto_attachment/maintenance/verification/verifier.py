"""Reads stored files again, and tells which ones are not what their links say.

Links come in the order of file ids, and files are settled in that order, whatever thread has
read them: so one id tells all that is done, and a run goes on where another one ended.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import transaction

from kinto_attachment.maintenance.verification.pace import Pace
from kinto_attachment.maintenance.walk import walk
from kinto_attachment.rows import Rows
from kinto_attachment.rows.links import Link
from kinto_attachment.storage import ReadableStore, StoreError, UnsafeKey
from kinto_attachment.storage.hashing import size_and_sha256

_draw = random.SystemRandom().random


@dataclass(frozen=True)
class Progress:
    """How far a run has come. Frozen, so that an interruption never finds half a step.

    :param after: id of the last file that is done.
    :param total: files that links name, up to that one.
    :param files: those among them that were looked at.
    :param bytes: what was read of them.
    :param damaged: those that are not what their link says.
    :param gone: those that were replaced or removed before they could be looked at.
    """

    after: str = ""
    total: int = 0
    files: int = 0
    bytes: int = 0
    damaged: int = 0
    gone: int = 0


@dataclass(frozen=True)
class Damage:
    """A file that is not what its link says.

    :param problem: ``missing``; ``size`` or ``hash``, which differ; ``unreadable``: the store
        works, and refuses this file.
    :param expected: the size in bytes, or the SHA-256 where that is the problem.
    :param found: the same of the file; None where it is missing, else the store's error.
    """

    problem: str
    link: Link
    expected: int | str
    found: int | str | None


class Verifier:
    """One run through the files of a database, or through a random share of them.

    :param share: 1 for all files; else each one is looked at with this probability.
    :param jobs: files that are read at once.
    :param found: called with each :class:`Damage`.
    :param keep: called with the new :class:`Progress` after each file.
    """

    def __init__(
        self,
        rows: Rows,
        store: ReadableStore,
        *,
        share: float = 1,
        jobs: int = 4,
        pace: Pace,
        found: Callable[[Damage], object],
        keep: Callable[[Progress], object] = lambda _: None,
    ) -> None:
        self._rows = rows
        self._store = store
        self._share = share
        self._jobs = jobs
        self._pace = pace
        self._found = found
        self._keep = keep

    def verify(self, progress: Progress) -> Progress:
        """Go on from ``progress`` to the end; the server may work meanwhile.

        :raises kinto_attachment.storage.StoreError: the store does not work.
        """

        def settle(looks: Iterator[tuple[list[Link], tuple[int, Damage | None] | None]]) -> None:
            nonlocal progress
            for links, look in looks:
                progress = self._settled(progress, links[0], look)
                self._keep(progress)

        walk(
            self._rows,
            self._look,
            settle,
            jobs=self._jobs,
            stop=self._pace.stop,
            after=progress.after,
        )
        return progress

    def _settled(
        self, progress: Progress, link: Link, look: tuple[int, Damage | None] | None
    ) -> Progress:
        done = replace(progress, after=link.file_id, total=progress.total + 1)
        if look is None:
            return done
        size, damage = look
        if damage:
            if not self._is_named(link):
                return replace(done, gone=done.gone + 1)
            if damage.problem == "unreadable":
                self._store.probe()  # It raises where it is not this file alone.
            self._found(damage)
            done = replace(done, damaged=done.damaged + 1)
        return replace(done, files=done.files + 1, bytes=done.bytes + size)

    def _is_named(self, link: Link) -> bool:
        """Whether there is still a link. The server removes it before it removes the file."""
        with transaction.manager:
            return bool(self._rows.held([link.file_id]))

    def _look(self, links: list[Link]) -> tuple[int, Damage | None] | None:
        """Bytes read and what was found; None for a file outside of the sample. Runs in a
        thread, without the database."""
        if _draw() >= self._share:
            return None
        link = links[0]
        try:
            size, digest = self._read(link.key)
        except (FileNotFoundError, UnsafeKey):
            return 0, Damage("missing", link, link.size, None)
        except (StoreError, OSError) as error:
            return 0, Damage("unreadable", link, link.size, str(error))
        differences = (_difference(link, size, digest) for link in links)
        return size, next((damage for damage in differences if damage), None)

    def _read(self, key: str) -> tuple[int, str]:
        """Size and SHA-256 of a file."""
        try:
            return size_and_sha256(self._store, key, self._pace.spend)
        except StoreError:  # Among millions of files, a connection breaks now and then.
            return size_and_sha256(self._store, key, self._pace.spend)


def _difference(link: Link, size: int, digest: str) -> Damage | None:
    if size != link.size:
        return Damage("size", link, link.size, size)
    return Damage("hash", link, link.hash, digest) if digest != link.hash else None
