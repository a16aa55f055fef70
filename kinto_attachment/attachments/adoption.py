"""Files that another version stored: the published 8.x and 9.x, or an import.

Their keys carry no id of ours, so the id is made from the key (keys.py). Records of theirs are
read as they are; ``kinto migrate`` gives them links, and from then on they are like any other.

Longer than others: all that is known of the data of 8.x and 9.x is here, and nowhere else.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from kinto.core.storage import Filter, Sort, StorageBase
from kinto.core.storage.exceptions import ObjectNotFoundError
from kinto.core.utils import COMPARISON

from kinto_attachment import keys
from kinto_attachment.attachments.types import is_media_type
from kinto_attachment.media_types import GENERIC
from kinto_attachment.rows import Rows
from kinto_attachment.rows.interface import PAGE
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.rows.paging import step
from kinto_attachment.storage import Readable, Store, StoreError, UnsafeKey
from kinto_attachment.storage.hashing import size_and_sha256
from kinto_attachment.targets import Target

PARENT = "__attachments__"
RESOURCES = ("", "attachments")
"""Resource names of links in 8.x and in 9.x."""


def link_of(target: Target, value: dict[str, Any], key: str) -> Link | None:
    """The link between a record and the file that its ``attachment`` describes; None where it
    describes none: every field has to be there, in today's format or in that of 2015."""
    digest, size = value.get("hash"), value.get("size", value.get("filesize"))
    sha256 = _sha256(digest) if isinstance(digest, str) else None
    if sha256 is None or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        return None
    filename, mimetype = value.get("filename"), value.get("mimetype")
    if not isinstance(filename, str) or keys.unsafe_reason(key):
        return None
    if not isinstance(mimetype, str) or not is_media_type(mimetype):
        mimetype = GENERIC  # Written by hand: it would have become a header.
    file_id = keys.file_id(key)
    return Link(file_id, target.uri, key, sha256, mimetype, filename, size, value)


def verified_link(
    store: Store, target: Target, value: dict[str, Any], key: str | None
) -> Link | None:
    """What a record without a link would be linked to: the file under ``key``, where the
    record's SHA-256 is that of its bytes, which are read once, here. Else None.

    :raises kinto_attachment.storage.StoreError: the store does not work.
    """
    link = link_of(target, value, key) if key else None
    if link is None or not isinstance(store, Readable):
        return None
    try:
        found = size_and_sha256(store, link.key)
    except (FileNotFoundError, UnsafeKey):
        return None
    except StoreError:
        store.probe()  # It raises where it is not this file alone.
        return None
    return link if found == (link.size, link.hash) else None


def adopt(rows: Rows, store: Store, link: Link) -> bool:
    """Give a record the link that :func:`verified_link` found, in a transaction of its own, if
    the record still says so and the file is still there."""

    def add() -> bool:
        record = rows.lock_record(link.target)
        if record is None or not same(record.attachment, link.value):
            return False
        rows.lock([link.file_id])
        rows.add([link])
        return True

    def take_back() -> None:
        rows.lock([link.file_id])
        rows.remove([link])

    if not step(add):
        return False
    if _has_its_size(store, link):
        return True
    step(take_back)  # It went while it was read: the link would lie.
    return False


def published_link(
    rows: Rows, storage: StorageBase, store: Store, target: Target, value: dict[str, Any]
) -> Link | None:
    """The link between a record that was not migrated yet and its file, made from one of 8.x or
    9.x: from its own, or, since they knew no links of copies, from that of another record, if
    that one does not say something else of the file. None where none of theirs names the file,
    or where the file has another size.

    :raises kinto_attachment.storage.StoreError: as the store failed.
    """
    published = PublishedLinks(storage)
    if not published.any():
        return None
    own = [link for link in published.of_records([target.uri]) if link.backed_by(value)]
    made = [link_of(target, value, link.key) for link in own or _of_others(published, rows, value)]
    return next((link for link in made if link and _has_its_size(store, link)), None)


def _of_others(
    published: "PublishedLinks", rows: Rows, value: dict[str, Any]
) -> list["PublishedLink"]:
    location = unquote(str(value.get("location")))
    keys_of = ["/".join(location.split("/")[n:]) for n in range(location.count("/") + 1)]
    found = [link for link in published.to_files(keys_of) if link.backed_by(value)]
    values = rows.values([link.record_uri for link in found])
    said = [other for link in found if link.backed_by(other := values.get(link.record_uri))]
    return found if all(same(other, value) for other in said) else []


def _has_its_size(store: Store, link: Link) -> bool:
    if not isinstance(store, Readable):
        return True
    try:
        return store.stat(link.key).size == link.size
    except (FileNotFoundError, UnsafeKey):
        return False


def is_forged(value: Any, holders: Iterable[Link]) -> bool:
    """Whether others hold the file that a value names, and all say something else of it: then
    it was written by hand, which 8.x and 9.x let pass on new records."""
    said = [link.value for link in holders if link.state is State.HELD]
    return bool(said) and not any(same(value, other) for other in said)


@dataclass(frozen=True)
class PublishedLink:
    """A link as 8.x and 9.x wrote it. ``key``: where the file lies in the store."""

    row_id: str
    resource: str
    key: str
    record_uri: str

    @property
    def target(self) -> Target:
        """The record that the file was uploaded to."""
        return Target.of_uri(self.record_uri)

    def backed_by(self, value: object) -> bool:
        """Whether a record's ``attachment`` names the file, whatever URL stands, or stood,
        before its key."""
        location = value.get("location") if isinstance(value, dict) else None
        if not isinstance(location, str):
            return False
        path = unquote(location)
        return path == self.key or path.endswith(f"/{self.key}")


class PublishedLinks:
    """The links of 8.x and 9.x in one Kinto storage, all below one parent."""

    def __init__(self, storage: StorageBase) -> None:
        self._storage = storage

    def to_files(self, wanted: Iterable[str]) -> Iterator[PublishedLink]:
        """Those to any of these keys. They have no index: this reads all of them."""
        return self._where("location", wanted)

    def of_records(self, record_uris: Iterable[str]) -> Iterator[PublishedLink]:
        """Those of any of these records; reads all of them."""
        return self._where("record_uri", record_uris)

    def any(self) -> bool:
        """Whether there is one."""
        return any(self._page(resource, "", limit=1) for resource in RESOURCES)

    def pages(self) -> Iterator[list[PublishedLink]]:
        """All of them, page by page; safe to remove while iterating."""
        return self._pages()

    def remove(self, link: PublishedLink) -> None:
        """Remove one; silently where somebody else was quicker."""
        where = {"resource_name": link.resource, "parent_id": PARENT, "object_id": link.row_id}
        with contextlib.suppress(ObjectNotFoundError):
            self._storage.delete(with_deleted=False, **where)

    def _where(self, field: str, values: Iterable[str]) -> Iterator[PublishedLink]:
        wanted = list(values)
        if wanted:
            for page in self._pages([Filter(field, wanted, COMPARISON.IN)]):
                yield from page

    def _pages(self, filters: list[Filter] | None = None) -> Iterator[list[PublishedLink]]:
        """An empty page is the end: Kinto gives no more than ``storage_max_fetch_size`` rows,
        and does not say so."""
        for resource in RESOURCES:
            last = ""
            while rows := self._page(resource, last, filters=filters):
                last = rows[-1]["id"]
                yield [link for row in rows if (link := _published(resource, row))]

    def _page(self, resource: str, last: str, limit: int = PAGE, **options: Any) -> Any:
        return self._storage.list_all(
            resource_name=resource,
            parent_id=PARENT,
            sorting=[Sort("id", 1)],
            pagination_rules=[[Filter("id", last, COMPARISON.GT)]] if last else None,
            limit=limit,
            **options,
        )


def _published(resource: str, row: dict[str, Any]) -> PublishedLink | None:
    key, uri = row.get("location"), row.get("record_uri")
    if not (isinstance(key, str) and isinstance(uri, str) and re.fullmatch(_RECORD, uri)):
        return None
    return PublishedLink(row["id"], resource, key, uri)


_RECORD = r"/buckets/[^/]+/collections/[^/]+/records/[^/]+"


def _sha256(digest: str) -> str | None:
    """A digest in hex, whether it is in hex already or in base64, as in 2015."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        return digest.lower()
    try:
        raw = base64.b64decode(digest, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == 32 else None
