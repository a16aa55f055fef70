"""Links: the rows that tie a stored file to a record that names it.

One row for each pair of file and record, in Kinto's own storage: resource name ``attachments``,
parent the record's URI, id the file's id. So a record's links, a file's holders and the links
below a bucket are index look-ups, and no two records share a parent that could become a hot
spot. Kinto's counters plugin counts that resource name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kinto.core.storage import Filter, Sort
from kinto.core.storage.exceptions import ObjectNotFoundError
from kinto.core.utils import COMPARISON

from kinto_attachment.attachments import StoredAttachment, Target

RESOURCE = "attachments"
KEPT = "/kept"
"""Parent prefix of the links of files that ``keep_old_files`` keeps: not below the bucket's
URI, so that they outlive the deletion of the bucket."""

COLUMNS = ("record_uri", "key", "hash", "mimetype", "filename", "size", "value", "kept")
"""The fields of a link that its row has under the same name."""

PAGE = 1000

MAX_HOLDERS = 100
"""How many transactions that copy a file at once are waited for."""


@dataclass(frozen=True)
class Link:
    """A stored file and a record that names it.

    :param value: the record's ``attachment`` field, exactly as stored.
    :param hash: SHA-256, 64 hex digits, whatever format the field has.
    """

    file_id: str
    record_uri: str
    key: str
    hash: str
    mimetype: str
    filename: str
    size: int
    value: dict[str, Any]
    kept: bool = False
    modified: int = field(default=0, compare=False)
    """When the row was last written, in milliseconds since 1970."""

    @classmethod
    def of(cls, stored: StoredAttachment) -> "Link":
        """The link of a file that was just stored."""
        seen = stored.attachment
        return cls(
            stored.file_id,
            stored.target.uri,
            stored.key,
            seen.hash,
            seen.mimetype,
            seen.filename,
            seen.size,
            stored.value,
        )

    def row(self) -> dict[str, Any]:
        """What Kinto's storage keeps."""
        return {"id": self.file_id, **{name: getattr(self, name) for name in COLUMNS}}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Link":
        """The reverse of :meth:`row`."""
        columns = {name: row[name] for name in COLUMNS}
        return cls(file_id=row["id"], modified=row["last_modified"], **columns)

    @property
    def target(self) -> Target:
        """The record that names the file."""
        return Target.of_uri(self.record_uri)

    @property
    def parent(self) -> str:
        """The row's parent in Kinto's storage."""
        return KEPT + self.record_uri if self.kept else self.record_uri


class Links:
    """The links in one Kinto storage. Callers see to the transaction."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage

    def of_record(self, record_uri: str) -> list[Link]:
        """Every file that this record holds; more than one only after a fault."""
        return self._list(record_uri)

    def of_files(self, file_ids: Iterable[str]) -> list[Link]:
        """Everything that holds any of these files, by primary key."""
        return _links(self._rows_of(file_ids))

    def held(self, file_ids: Iterable[str]) -> set[str]:
        """Those of these files that anything holds, by primary key."""
        return {row["id"] for row in self._rows_of(file_ids)}

    def below(self, uri: str) -> Iterator[list[Link]]:
        """Links of the records below a bucket or a collection, page by page.

        Pages are safe to remove while iterating. A page may be empty where the pattern
        catches neighbours: Kinto's PostgreSQL backend does not escape ``_`` in it.
        """
        for page in self._pages(f"{uri}/*"):
            yield [link for link in page if link.record_uri.startswith(f"{uri}/")]

    def everything(self, after: str = "") -> Iterator[list[Link]]:
        """All links, the kept ones too, page by page; also safe to remove while iterating.

        :param after: a file's id; the links to files up to that one are left out.
        """
        return self._pages("*", after)

    def add(self, link: Link) -> None:
        """Write one link. Kinto's ``update`` also creates, and does not look before."""
        self._storage.update(
            resource_name=RESOURCE,
            parent_id=link.parent,
            object_id=link.file_id,
            obj=link.row(),
        )

    def remove(self, link: Link) -> bool:
        """Remove one link; False where somebody else was quicker, or has changed its value.

        PostgreSQL does not show a row that :meth:`hold` wrote anew to the statement that had
        waited for its lock, so a missing row is looked for, and removed, once more.
        """
        where = {"resource_name": RESOURCE, "parent_id": link.parent, "object_id": link.file_id}
        for _ in range(MAX_HOLDERS):
            try:
                self._storage.delete(with_deleted=False, **where)
            except ObjectNotFoundError:
                if link not in self._list(link.parent, filters=[_is(link.file_id)]):
                    return False
            else:
                return True
        return False

    def remove_below(self, uri: str, file_ids: list[str]) -> None:
        """Remove all links below ``uri`` to these files, and, where the URI has an ``_``, those
        of neighbours too: see :meth:`below`."""
        self._storage.delete_all(
            resource_name=RESOURCE,
            parent_id=f"{uri}/*",
            filters=[Filter("id", file_ids, COMPARISON.IN)],
            with_deleted=False,
        )

    def hold(self, link: Link) -> bool:
        """Lock a link against concurrent removal until the transaction ends.

        Kinto's storage has no row lock, and its ``update`` would bring a removed row back.
        Removing and writing the row anew takes PostgreSQL's lock on it: False means that the
        link was removed meanwhile, and the file may be gone.
        """
        if not self.remove(link):
            return False
        self.add(link)
        return True

    def _pages(self, parent_id: str, after: str = "") -> Iterator[list[Link]]:
        """Pages in the order of file ids. All links to one file are on one page, since the
        next one starts behind an id."""
        last, size = after, PAGE
        while True:
            rules = [[Filter("id", last, COMPARISON.GT)]] if last else None
            page = self._rows(
                parent_id, sorting=[Sort("id", 1)], pagination_rules=rules, limit=size
            )
            if len(page) < size:
                yield _links(page)
                return
            whole = [row for row in page if row["id"] != page[-1]["id"]]
            size = PAGE if whole else 2 * size  # One file with more links than a page.
            if whole:
                last = whole[-1]["id"]
                yield _links(whole)

    def _rows_of(self, file_ids: Iterable[str]) -> list[dict[str, Any]]:
        wanted = list(file_ids)
        return self._rows("*", filters=[Filter("id", wanted, COMPARISON.IN)]) if wanted else []

    def _list(self, parent_id: str, **how: Any) -> list[Link]:
        return _links(self._rows(parent_id, **how))

    def _rows(self, parent_id: str, **how: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._storage.list_all(
            resource_name=RESOURCE, parent_id=parent_id, **how
        )
        return rows


def _is(file_id: str) -> Filter:
    return Filter("id", file_id, COMPARISON.EQ)


def _links(rows: list[dict[str, Any]]) -> list[Link]:
    """Those of 9.x, which have the same resource name and no key, are left out."""
    return [Link.from_row(row) for row in rows if "key" in row]
