"""The files of one transaction: created ones go when it fails, discarded ones when it succeeds.

A ``transaction`` data manager is the only mechanism that sees success, abort and a failing
COMMIT alike. Kinto's after-commit hook makes ``transaction`` call :meth:`Files.abort` once more
on every manager *after* success, so this one is inert once settled.
"""

import logging
import sys

import transaction
from transaction.interfaces import IDataManager
from zope.interface import implementer

from kinto_attachment.attachments import StoredAttachment
from kinto_attachment.storage import Storage, StorageError

logger = logging.getLogger(__name__)

MAX_REMOVALS = 10_000
"""Files removed inside one response; what is beyond is left to ``kinto-attachment gc``."""


@implementer(IDataManager)
class Files:
    """What the current transaction did to the store.

    :param rolls_back: whether aborting the transaction undoes what was written to Kinto's
        storage. The memory backend, and PostgreSQL with ``transaction_per_request = false``,
        keep it: there a record that was written keeps its file, and loses its old one.
    """

    transaction_manager = transaction.manager

    def __init__(self, storage: Storage, rolls_back: bool) -> None:
        self._storage = storage
        self._rolls_back = rolls_back
        self._settled = False
        self.created: dict[str, StoredAttachment] = {}
        self.linked: set[str] = set()
        self._published: set[str] = set()
        self._discarded: dict[str, None] = {}
        self._left_to_gc = 0

    @classmethod
    def current(cls, storage: Storage, rolls_back: bool) -> "Files":
        """The one of the running transaction, joined to it on first use."""
        running = transaction.get()
        try:
            files: Files = running.data(storage)
        except KeyError:
            files = cls(storage, rolls_back)
            running.set_data(storage, files)
            running.join(files)
        return files

    def create(self, stored: StoredAttachment) -> None:
        """A file was stored, and must go unless its record is written."""
        self.created[stored.file_id] = stored

    def publish(self, file_id: str) -> None:
        """The record and the link of a created file were written."""
        self._published.add(file_id)

    def discard(self, key: str) -> None:
        """No record names this file any more: it goes once the transaction has succeeded.

        Beyond :data:`MAX_REMOVALS` it is left to ``gc``: no deletion holds its response hostage.
        """
        if len(self._discarded) < MAX_REMOVALS:
            self._discarded[key] = None
        else:
            self._left_to_gc += 1

    def abort(self, _: object) -> None:
        """The transaction was given up, or it is over (see the module's first lines)."""
        self._settle(success=False)

    def tpc_begin(self, _: object) -> None:
        """Nothing to prepare."""

    commit = tpc_vote = tpc_begin

    def tpc_finish(self, _: object) -> None:
        """Every database has committed."""
        self._settle(success=True)

    def tpc_abort(self, _: object) -> None:
        """The COMMIT failed, or the connection was lost while it ran."""
        if getattr(sys.exc_info()[1], "connection_invalidated", False):
            # Nobody knows whether the COMMIT went through. A file without a record is found
            # by gc; a record without its file is not to be mended.
            logger.warning("The outcome of a COMMIT is unknown: its files are left to gc.")
            self._settled = True
        self._settle(success=False)

    def sortKey(self) -> str:
        """The order among managers; any will do, since files go after every vote."""
        return f"kinto_attachment:{id(self)}"

    def _settle(self, success: bool) -> None:
        if self._settled:
            return
        self._settled = True
        doomed: list[str] = []
        if success or not self._rolls_back:
            doomed += self._discarded
        if not success:
            kept = set() if self._rolls_back else self._published
            doomed += [s.key for i, s in self.created.items() if i not in kept]
        self._remove(doomed)

    def _remove(self, doomed: list[str]) -> None:
        """Never raises: the transaction is over, and gc finds what could not be removed."""
        if self._left_to_gc:
            logger.warning("%d more files are left to gc.", self._left_to_gc)
        if not doomed:
            return
        try:
            self._storage.delete_many(doomed)
        except StorageError as error:
            logger.error("Files are left to gc: %s", error)
