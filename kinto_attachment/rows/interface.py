"""The rows of Kinto's storage that decide about files: links, and what records name.

Kinto's own interface to them can't be used for that. It gives no more rows than
``storage_max_fetch_size`` and does not say so, removes by key whatever a row says by now, knows
no lock, and takes ``_`` in a parent for any character. So on PostgreSQL these are statements of
our own, in Kinto's table and in the transaction of Kinto's session; on memory, Kinto's storage
under one lock. Both keep to one contract: ``tests/units/test_rows.py``.

Callers see to the transaction, unless they ask for :meth:`Rows.atomically`.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from kinto_attachment.rows.links import Link
from kinto_attachment.targets import Target

PAGE = 1000
"""Rows that are read at once."""


@dataclass(frozen=True)
class RecordRow:
    """A record as it is stored now.

    :param value: its ``attachment``; None where it has none, or is deleted.
    :param exists: False for a tombstone.
    :param written: whether the running transaction wrote it, so that it is locked until the end;
        True where the storage can't tell.
    """

    target: Target
    value: Any
    exists: bool = True
    written: bool = True


@dataclass(frozen=True)
class TouchedRows:
    """What a transaction finds of the records that it touched.

    :param records: by URI, of those that are there.
    :param links: of all the records that were asked for.
    """

    records: Mapping[str, RecordRow]
    links: list[Link]


@dataclass(frozen=True)
class LockedRecord:
    """What a record says, as long as the transaction lasts. ``last_modified``: milliseconds."""

    attachment: Any
    last_modified: int


class Rows(Protocol):
    """Links and records of one Kinto storage, without any cap."""

    def atomically(self) -> AbstractContextManager[object]:
        """What is done inside happens as a whole, and nobody sees half of it, also where the
        storage commits each step by itself."""

    def turn(self) -> AbstractContextManager[object]:
        """Where the storage can't undo anything: one writer at a time, for as long as it takes
        to write records and to settle their links. Elsewhere nothing."""

    def outcome(self, transaction_id: str) -> bool | None:
        """Whether a transaction that is over was committed; None where nobody knows yet."""

    def identity(self) -> dict[str, Any] | None:
        """What tells this database from every other one, a restored dump included; None for one
        that lives no longer than its process."""

    # Links

    def of_records(self, record_uris: Collection[str]) -> list[Link]:
        """Every file that these records hold; more than one for a record only after a fault."""

    def to_files(self, file_ids: Collection[str]) -> list[Link]:
        """Every link to these files, whatever it says."""

    def held(self, file_ids: Collection[str]) -> set[str]:
        """Those of these files that a record names or that are kept. One look at each, however
        many holders it has."""

    def collections_with(self, file_id: str) -> list[str]:
        """URIs of the collections that have a record which holds the file, each once."""

    def sources(
        self, file_id: str, collection_uris: Collection[str] | None, most: int, value: Any = None
    ) -> list[Link]:
        """Up to ``most`` links to the file whose record exists and names it *now*.

        :param collection_uris: of the records of these collections; None for all.
        :param value: the ``attachment`` that they have to have, if not any. (Numbers that are
            equal may be written in another way: see :func:`kinto_attachment.rows.links.same`.)
        """

    def below(self, uri: str) -> Iterator[list[Link]]:
        """Links of the records below a bucket or a collection, page by page; links that are
        read may be removed while iterating."""

    def everything(self) -> Iterator[list[Link]]:
        """All links, of every state, page by page, in the order of their records; also safe to
        remove while iterating."""

    def links_by_file(self, after: str = "") -> Iterator[list[list[Link]]]:
        """All files that records name or that are kept, page by page, in the order of their
        ids: of each one link for every collection and state that holds it.

        :param after: a file's id; the files up to that one are left out.
        """

    def usage(self) -> tuple[int, int]:
        """How many files records name, or are kept, and their bytes. Reads all links, once."""

    def any_links(self) -> bool:
        """Whether there is a link at all."""

    def lock(self, file_ids: Collection[str] | None) -> str | None:
        """Nobody else links or releases these files until the transaction ends.

        Whoever adds or removes a link takes this first, and looks afterwards. Once in a
        transaction, for all of its files, so that two can't wait for each other.

        :param file_ids: None for all files that there are.
        :returns: a name by which :meth:`outcome` knows the transaction later, if it has one.
        """

    def add(self, links: Collection[Link]) -> None:
        """Write links; one that says something else of the same file and record is replaced."""

    def remove(self, links: Collection[Link]) -> tuple[list[Link], set[str]]:
        """Remove links, each only if its row still says the same.

        :returns: those that were removed, and the ids of their files that others still hold.
        """

    # Records

    def touched(self, targets: Collection[Target]) -> TouchedRows:
        """Records that were touched, with their links."""

    def written_under(
        self, record_ids: Collection[str], collection_uris: Collection[str]
    ) -> list[Target]:
        """Wherever they are, the records with these ids that this transaction wrote.

        :param collection_uris: where else to look for them, if the storage can't tell.
        """

    def values(self, record_uris: Collection[str]) -> dict[str, Any]:
        """The ``attachment`` of each of these records that exists, by the record's URI."""

    def records_with_attachment(self) -> Iterator[list[RecordRow]]:
        """All records that have an ``attachment``, page by page. A record that changes
        meanwhile may come twice."""

    def locations(self, wanted: Collection[str]) -> set[str]:
        """Those of these locations that any record names. It has no index: reads all records."""

    def lock_record(self, target: Target) -> LockedRecord | None:
        """The record, which nobody else can write until the transaction ends; None where there
        is none: then only those who ask here too are kept from creating it."""

    def exists(self, uri: str) -> bool:
        """Whether there is a bucket or a collection under this URI."""

    def share_parents(self, collection_uris: Collection[str]) -> None:
        """Nobody deletes these collections, or their buckets, until the transaction ends: to be
        asked for before somebody looks whether they are there."""

    def lock_parents(self, uris: Collection[str] | None) -> None:
        """Nobody else writes files into these buckets, or those of these collections, until the
        transaction ends: to be asked for before they are deleted.

        :param uris: None for all buckets.
        """

    def existing(self, collection_uris: Collection[str]) -> set[str]:
        """Those of these collections that exist, with their buckets."""

    def drop_left_behind(self, uri: str) -> None:
        """Delete the records below a bucket or a collection that was deleted, as far as Kinto
        left them behind: it deletes no more than ``storage_max_fetch_size``, and the rest would
        come back when the collection is made anew."""


def targets_in(record_ids: Collection[str], collection_uris: Collection[str]) -> list[Target]:
    """Each of these ids in each of these collections."""
    return [Target.of_uri(f"{uri}/records/{i}") for uri in collection_uris for i in record_ids]
