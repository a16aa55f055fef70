"""Links and records in Kinto's memory, or in any storage that undoes nothing: under one lock.

Longer than others: method by method what postgresql.py does, under one lock.
"""

import contextlib
import copy
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby, islice
from typing import Any

from kinto.core.storage import Filter, StorageBase
from kinto.core.storage.exceptions import ObjectNotFoundError
from kinto.core.utils import COMPARISON

from kinto_attachment import record_field
from kinto_attachment.rows.interface import PAGE, LockedRecord, RecordRow, TouchedRows, targets_in
from kinto_attachment.rows.links import RESOURCE, Link, State, same
from kinto_attachment.targets import Target

_LOCKS: "weakref.WeakKeyDictionary[StorageBase, threading.RLock]" = weakref.WeakKeyDictionary()
_MAKING = threading.Lock()


class MemoryRows:
    """Links and records by Kinto's own storage, under one lock for all."""

    def __init__(self, storage: StorageBase) -> None:
        self._storage = storage
        with _MAKING:
            self._lock = _LOCKS.setdefault(storage, threading.RLock())

    def atomically(self) -> contextlib.AbstractContextManager[object]:
        """Under the one lock, so that nobody sees half of it."""
        return self._lock

    def turn(self) -> contextlib.AbstractContextManager[object]:
        """Under the one lock, which may be taken again by who has it."""
        return self._lock

    def outcome(self, transaction_id: str) -> bool | None:
        """None: there are no transactions."""
        return None

    def identity(self) -> dict[str, Any] | None:
        """None: it lives no longer than its process."""
        return None

    # Links

    def of_records(self, record_uris: Collection[str]) -> list[Link]:
        """The links of these records."""
        return [link for uri in record_uris for link in self._links(f"{State.HELD}{uri}")]

    def to_files(self, file_ids: Collection[str]) -> list[Link]:
        """The links to these files."""
        if not file_ids:
            return []
        found = self._links("*", [Filter("id", list(file_ids), COMPARISON.IN)])
        return sorted(found, key=lambda link: (link.file_id, link.parent))

    def held(self, file_ids: Collection[str]) -> set[str]:
        """Those of these files that a record names or that are kept."""
        links = self.to_files(file_ids)
        return {link.file_id for link in links if link.state is not State.RELEASED}

    def collections_with(self, file_id: str) -> list[str]:
        """The URIs of the collections that hold the file."""
        links = [link for link in self.to_files([file_id]) if link.state is State.HELD]
        return sorted({link.target.collection_uri for link in links})

    def sources(
        self, file_id: str, collection_uris: Collection[str] | None, most: int, value: Any = None
    ) -> list[Link]:
        """Up to ``most`` links to the file whose records name it now."""
        return [
            link
            for link in self.to_files([file_id])
            if link.state is State.HELD
            and (collection_uris is None or link.target.collection_uri in collection_uris)
            and (value is None or link.value == value)
            and same(record_field.value_of(self._record(link.target)), link.value)
        ][:most]

    def below(self, uri: str) -> Iterator[list[Link]]:
        """The links below a bucket or a collection, page by page."""
        return _pages(self._links(f"{State.HELD}{uri}/*"))

    def everything(self) -> Iterator[list[Link]]:
        """All links, page by page, in the order of their records."""
        return _pages(sorted(self._links("/*"), key=lambda link: link.parent))

    def links_by_file(self, after: str = "") -> Iterator[list[list[Link]]]:
        """All files that are named or kept, page by page, in the order of their ids."""
        found = [link for link in self._links("/*") if link.state is not State.RELEASED]
        links = sorted(found, key=lambda link: (link.file_id, link.parent))
        for_each = (
            list({(link.state, link.target.collection_uri): link for link in some}.values())
            for file_id, some in groupby(links, lambda link: link.file_id)
            if file_id > after
        )
        return _pages(for_each)

    def usage(self) -> tuple[int, int]:
        """How many files are held or kept, and their bytes; each counts once."""
        links = (link for link in self._links("/*") if link.state is not State.RELEASED)
        sizes = {link.file_id: link.size for link in links}
        return len(sizes), sum(sizes.values())

    def any_links(self) -> bool:
        """Whether there is a link at all."""
        return bool(self._links("/*"))

    def lock(self, file_ids: Collection[str] | None) -> str | None:
        """Nothing to lock: there is one lock, :meth:`turn`."""
        return None

    def add(self, links: Collection[Link]) -> None:
        """Write links: Kinto's ``update`` also creates."""
        for link in links:
            self._storage.update(
                resource_name=RESOURCE,
                parent_id=link.parent,
                object_id=link.file_id,
                obj={**link.data(), "parent": link.parent},
            )

    def remove(self, links: Collection[Link]) -> tuple[list[Link], set[str]]:
        """Remove links that still say the same; returns them, and which files others hold."""
        with self._lock:
            removed = [link for link in links if link in self._links(link.parent)]
            for link in removed:
                self._storage.delete(
                    resource_name=RESOURCE,
                    parent_id=link.parent,
                    object_id=link.file_id,
                    with_deleted=False,
                )
            return removed, self.held({link.file_id for link in removed})

    # Records

    def touched(self, targets: Collection[Target]) -> TouchedRows:
        """The records that a transaction touched, with their links."""
        records = {
            target.uri: RecordRow(target, copy.deepcopy(record_field.value_of(record)))
            for target in targets
            if (record := self._record(target)) is not None
        }
        return TouchedRows(records, self.of_records([target.uri for target in targets]))

    def written_under(
        self, record_ids: Collection[str], collection_uris: Collection[str]
    ) -> list[Target]:
        """All places where these records may be: nobody knows who wrote them."""
        return targets_in(record_ids, collection_uris)

    def values(self, record_uris: Collection[str]) -> dict[str, Any]:
        """The ``attachment`` of each of these records, by URI."""
        return {
            uri: record_field.value_of(record)
            for uri in record_uris
            if (record := self._record(Target.of_uri(uri))) is not None
        }

    def records_with_attachment(self) -> Iterator[list[RecordRow]]:
        """All records that have an ``attachment``, page by page."""
        return _pages(self._attached())

    def locations(self, wanted: Collection[str]) -> set[str]:
        """Those of these locations that any record names."""
        values = [row.value for row in self._attached()]
        found = {value.get("location") for value in values if isinstance(value, dict)}
        return {location for location in wanted if location in found}

    def lock_record(self, target: Target) -> LockedRecord | None:
        """The record; None where there is none. There is one lock, :meth:`turn`."""
        record = self._record(target)
        if record is None:
            return None
        return LockedRecord(record_field.value_of(record), record["last_modified"])

    def exists(self, uri: str) -> bool:
        """Whether there is a bucket or a collection under this URI."""
        parent, plural, object_id = uri.rsplit("/", 2)
        return self._get(plural[:-1], parent, object_id) is not None

    def share_parents(self, collection_uris: Collection[str]) -> None:
        """Nothing to lock: there is one lock, :meth:`turn`."""

    def lock_parents(self, uris: Collection[str] | None) -> None:
        """Nothing to lock: there is one lock, :meth:`turn`."""

    def existing(self, collection_uris: Collection[str]) -> set[str]:
        """Those of these collections that exist, with their buckets."""
        return {
            uri
            for uri in collection_uris
            if self.exists(uri) and self.exists(uri.rsplit("/collections/", 1)[0])
        }

    def drop_left_behind(self, uri: str) -> None:
        """Nothing to delete: Kinto's memory caps no deletion."""

    def _attached(self) -> list[RecordRow]:
        found = []
        for bucket in self._list("bucket", ""):
            bucket_uri = f"/buckets/{bucket['id']}"
            for collection in self._list("collection", bucket_uri):
                uri = f"{bucket_uri}/collections/{collection['id']}"
                for record in self._list("record", uri):
                    if record_field.NAME in record:
                        target = Target.of_uri(f"{uri}/records/{record['id']}")
                        found.append(RecordRow(target, record[record_field.NAME]))
        return found

    def _record(self, target: Target) -> dict[str, Any] | None:
        return self._get("record", target.collection_uri, target.record_id)

    def _get(self, resource_name: str, parent_id: str, object_id: str) -> dict[str, Any] | None:
        where = {"resource_name": resource_name, "parent_id": parent_id, "object_id": object_id}
        with contextlib.suppress(ObjectNotFoundError):
            found: dict[str, Any] = self._storage.get(**where)
            return found
        return None

    def _list(self, resource_name: str, parent_id: str, **options: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._storage.list_all(
            resource_name=resource_name, parent_id=parent_id, **options
        )
        return found

    def _links(self, parent_id: str, filters: list[Filter] | None = None) -> list[Link]:
        """Kinto's memory does not tell the parents of what it lists, so a row has its own."""
        rows = self._list(RESOURCE, parent_id, filters=filters)
        return [_link(row) for row in rows if "parent" in row]


def _link(row: dict[str, Any]) -> Link:
    return Link.from_row(row["id"], row["parent"], row["last_modified"], row)


def _pages(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Pages of what was read as a whole: what is removed meanwhile moves nothing."""
    left = iter(list(rows))
    while page := list(islice(left, PAGE)):
        yield page
