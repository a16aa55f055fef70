"""Whose store it is, and whether it is there: asked before files are written or removed.

A store carries a mark, one small object, which names the database whose records name its files.
Two databases with one store would take each other's files for garbage; a store that is not
mounted, or a wrong path, looks like one from which everything has gone.
"""

import json
import logging
import threading
import time
from itertools import chain, islice
from typing import Any

import transaction
from kinto.core.storage import StorageBase

from kinto_attachment.attachments.adoption import PublishedLinks
from kinto_attachment.rows import Rows, rows_of
from kinto_attachment.storage import Marked, Readable, Store, StoreUnavailable, UnsafeKey

logger = logging.getLogger(__name__)

SAMPLE = 20
"""Files that are looked for in a store without a mark: one of them is enough."""

LOOKS, BETWEEN_LOOKS = 20, 0.05
"""How often, and after how many seconds, a mark is looked for that is being written."""

LASTS = 60.0
"""Seconds for which a store behind a network is believed to carry the mark that it had."""

CLAIM = "If that is right, tell the store: `kinto-attachment claim --ini` with the server's ini."


class Custody:
    """What one server knows of its store.

    :param storage: Kinto's.
    """

    def __init__(self, store: Store, storage: StorageBase) -> None:
        self._store = store
        self._storage = storage
        self._known: bytes | None = None
        self._looked = -LASTS
        self._one_by_one = threading.Lock()

    def check(self) -> None:
        """See that the store may be written; mark it, if it has no mark. Callers see to the
        transaction.

        A local store is looked at each time, since it can be unmounted; others once.

        :raises kinto_attachment.storage.StoreError: it may not, with a sentence for the log.
        """
        store = self._store
        if not isinstance(store, Marked):
            return
        if self._known is not None and self._is_the_same(store):
            return
        with self._one_by_one:
            reason = self._reason(store) or self._marked(store)
        if reason:
            raise StoreUnavailable(reason)

    def forget(self) -> None:
        """Know as little as a new process does."""
        self._known = None

    def _is_the_same(self, store: "Marked") -> bool:
        """Whether it still carries the mark that is known.

        :raises kinto_attachment.storage.StoreUnavailable: it has none any more.
        """
        if not store.may_vanish and time.monotonic() < self._looked + LASTS:
            return True
        found = store.mark()
        if found is None:
            raise StoreUnavailable(
                "The store has lost its mark while this server ran: its volume may have been"
                " unmounted. It is used again as soon as the mark is back."
            )
        self._looked = time.monotonic()
        if found == self._known:
            store.prepare()  # Tools that copy a store may leave out a folder that is empty.
        return found == self._known

    def refusal(self) -> str | None:
        """Why no command may remove files or links now, or change records after what the store
        seems to lack; None where it may. Looks, and makes nothing: a command may run as another
        user than the server, which could not write then.

        :raises kinto_attachment.storage.StoreError: as the store failed.
        """
        store = self._store
        return self._reason(store) if isinstance(store, Marked) else None

    def claim(self) -> str | None:
        """Mark the store as this database's, whatever it carries; what it carried."""
        store = self._store
        if not isinstance(store, Marked):
            raise StoreUnavailable("this backend can't be marked")
        found = store.mark()
        store.prepare()
        self._write(store, replace=True)
        return found.decode("utf-8", "replace") if found else None

    def _reason(self, store: "Marked") -> str | None:
        found = store.mark()
        if found is not None:
            return self._compare(store, found)
        return self._absence()

    def absence(self) -> str | None:
        """Why no command can compare records with files now; None where it can. A store that is
        another database's, as that of a test with production's dump, can be looked at.

        :raises kinto_attachment.storage.StoreError: as the store failed.
        """
        store = self._store
        if not isinstance(store, Marked) or store.mark() is not None:
            return None
        return self._absence()

    def _absence(self) -> str | None:
        if self._names_files() and not self._has_any_file():
            return (
                "Records name files, but the store has none of them: its volume may not be"
                f" mounted, or its path or name is wrong. {CLAIM}"
            )
        return None

    def _marked(self, store: "Marked") -> str | None:
        """Make what the store needs before its first file, and mark it if it has no mark; as
        :meth:`_reason` where another server was quicker."""
        store.prepare()
        if self._known is not None:
            return None
        if self._rows().identity() is None or self._write(store, replace=False):
            return None
        for _ in range(LOOKS):  # Another server is marking it at this moment.
            found = store.mark()
            if found is not None:
                return self._compare(store, found)
            time.sleep(BETWEEN_LOOKS)
        self._write(store, replace=True)  # It was killed while it did so.
        return None

    def _compare(self, store: "Marked", found: bytes) -> str | None:
        own = self._rows().identity()
        if own is not None and _are_one(_read(found), own):
            self._known = found
            return None
        said = found.decode(errors="replace")
        return f"The store belongs to another database: {said}. {CLAIM}"

    def _write(self, store: "Marked", replace: bool) -> bool:
        own = self._rows().identity()
        mark = json.dumps(own, sort_keys=True).encode()
        if not store.set_mark(mark, replace=replace):
            return False
        self._known = mark
        logger.info("The store is marked as that of %s.", own)
        return True

    def _rows(self) -> Rows:
        return rows_of(self._storage)

    def _names_files(self) -> bool:
        """Whether this is no first start: records name files already, if only by links of 8.x or
        9.x."""
        return self._rows().any_links() or PublishedLinks(self._storage).any()

    def _has_any_file(self) -> bool:
        """Whether one of the files is there that links name. Without a mark that is the only
        thing that tells a store from an empty directory."""
        store = self._store
        if not isinstance(store, Readable):
            return True
        ours = (links[0].key for links in next(self._rows().links_by_file(), []))
        theirs = (link.key for page in PublishedLinks(self._storage).pages() for link in page)
        for key in chain(islice(ours, SAMPLE), islice(theirs, SAMPLE)):
            try:
                store.stat(key)
            except (FileNotFoundError, UnsafeKey):
                continue
            return True
        return False


def _read(mark: bytes) -> dict[str, Any]:
    try:
        found = json.loads(mark)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _are_one(marked: dict[str, Any], own: dict[str, Any]) -> bool:
    """The name only tells a person something, and can change; not every role may ask for the
    cluster."""
    clusters = {marked.get("cluster"), own["cluster"]} - {"unknown"}
    return len(clusters) <= 1 and marked.get("database") == own["database"]


def refusal(custody: Custody) -> str | None:
    """Why no command may remove files now, or None: asked in a transaction of its own."""
    with transaction.manager:
        return custody.refusal()


def absence(custody: Custody) -> str | None:
    """Why no command can compare records with files now, or None: as :func:`refusal`."""
    with transaction.manager:
        return custody.absence()


def custody_of(store: Store, storage: StorageBase) -> Custody:
    """The custody of one server."""
    return Custody(store, storage)
