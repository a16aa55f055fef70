"""The files of one transaction: what becomes of them is decided by how it ends.

A ``transaction`` data manager is the only mechanism that sees success, abort and a failing
COMMIT alike. Kinto's after-commit hook makes ``transaction`` call :meth:`FileChanges.abort` once
more on every manager *after* success, so this one is inert once settled.

Between our vote and the end nobody knows how it ended: a signal may interrupt the COMMIT, its
answer may be lost, or a second database may refuse after the first one has committed. Then the
database is asked, and where it does not know either, old and new files stay and gc decides.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum

import transaction
from transaction.interfaces import IDataManager
from zope.interface import implementer

from kinto_attachment.attachments.values import StoredAttachment
from kinto_attachment.rows import Rows
from kinto_attachment.storage import Store, StoreError

logger = logging.getLogger(__name__)

MAX_REMOVALS = 10_000
"""Files removed inside one response; what is beyond is left to ``kinto-attachment gc``."""


class Fate(Enum):
    """What became of a file that came in."""

    OPEN = "its record was not written, so far"
    SETTLED = "its record was written"
    UNKNOWN = "nobody knows: gc decides"


@dataclass
class Incoming:
    """A file on its way to its record, declared before its first byte is stored.

    Whoever has declared it removes it, unless its fate is another one than OPEN in the end.

    :param stored: what became of it, once it lies in the store as a whole.
    """

    key: str
    stored: StoredAttachment | None = None
    fate: Fate = Fate.OPEN


@implementer(IDataManager)
class FileChanges:
    """What the current transaction does to the store.

    :param rows: makes the rows of Kinto's storage.
    :param rolls_back: whether aborting the transaction undoes what was written to Kinto's
        storage. The memory backend, and PostgreSQL with ``transaction_per_request = false``,
        keep it: there the links that stand in the end decide, however it ended.
    """

    transaction_manager = transaction.manager

    def __init__(self, store: Store, rows: Callable[[], Rows], rolls_back: bool) -> None:
        self._store = store
        self._rows = rows
        self._rolls_back = rolls_back
        self._voted = self._doubtful = self._settled = False
        self.transaction_id: str | None = None
        self._linked: dict[str, Incoming] = {}
        self._discarded: dict[str, str] = {}
        self._left_to_gc = 0

    @classmethod
    def current(cls, store: Store, rows: Callable[[], Rows], rolls_back: bool) -> "FileChanges":
        """The one of the running transaction, joined to it on first use."""
        running = transaction.get()
        try:
            files: FileChanges = running.data(store)
        except KeyError:
            files = cls(store, rows, rolls_back)
            running.set_data(store, files)
            running.join(files)
        return files

    def linked(self, file_id: str, incoming: Incoming) -> None:
        """The record and the link of a file that came in were written."""
        self._linked[file_id] = incoming

    def discard(self, file_id: str, key: str) -> None:
        """Nothing names this file any more: it goes once the transaction has succeeded.

        Beyond :data:`MAX_REMOVALS` it is left to ``gc``: no deletion holds its response hostage.
        """
        if len(self._discarded) < MAX_REMOVALS:
            self._discarded[file_id] = key
        else:
            self._left_to_gc += 1

    def abort(self, _: object) -> None:
        """The transaction was given up, or it is over (see the module's first lines)."""
        self._settle(self._outcome() if self._doubtful else False)

    def tpc_begin(self, _: object) -> None:
        """Nothing to prepare."""

    commit = tpc_begin

    def tpc_vote(self, _: object) -> None:
        """From now on the databases commit, one after another."""
        self._voted = True

    def tpc_finish(self, _: object) -> None:
        """Every database has committed."""
        self._settle(True)

    def tpc_abort(self, _: object) -> None:
        """Something has failed. The connections are given back only after this, so the outcome
        is asked for in :meth:`abort`, which follows."""
        if self._voted and self._rolls_back:
            self._doubtful = True
            for incoming in self._linked.values():
                incoming.fate = Fate.UNKNOWN
        else:
            self._settle(False)

    def sortKey(self) -> str:
        """Before ``~sqlalchemy``, which commits when it votes."""
        return f"kinto_attachment:{id(self)}"

    def _outcome(self) -> bool | None:
        if not self._linked and not self._discarded:
            return False  # Nothing depends on it.
        if self.transaction_id is None:
            return None
        return self._rows().outcome(self.transaction_id)

    def _settle(self, success: bool | None) -> None:
        """Once. ``success`` is None where nobody knows."""
        if self._settled:
            return
        self._settled = True
        if success is None:
            logger.warning("The outcome of a COMMIT is unknown: its files are left to gc.")
            return
        if not self._rolls_back:
            self._settle_by_links()
            return
        for incoming in self._linked.values():
            incoming.fate = Fate.SETTLED if success else Fate.OPEN
        if success:
            self._remove(self._discarded.values())

    def _settle_by_links(self) -> None:
        """Where nothing is undone, what was written counts, whatever was answered."""
        held = self._rows().held({*self._linked, *self._discarded})
        for file_id, incoming in self._linked.items():
            incoming.fate = Fate.SETTLED if file_id in held else Fate.OPEN
        self._remove([key for file_id, key in self._discarded.items() if file_id not in held])

    def _remove(self, doomed: Collection[str]) -> None:
        """Never raises: the transaction is over, and gc finds what could not be removed."""
        if self._left_to_gc:
            logger.warning("%d more files are left to gc.", self._left_to_gc)
        if not doomed:
            return
        try:
            self._store.delete_many(doomed)
        except StoreError as error:
            logger.error("Files are left to gc: %s", error)
