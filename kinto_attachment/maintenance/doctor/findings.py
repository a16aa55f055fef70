"""What can be wrong with a record's attachment, and whether it is. Asks the store alone."""

from dataclasses import dataclass
from typing import Any

from kinto_attachment import keys
from kinto_attachment.attachments.adoption import PublishedLink
from kinto_attachment.attachments.locations import Locations
from kinto_attachment.rows.links import Link
from kinto_attachment.storage import Readable, UnsafeKey
from kinto_attachment.storage.hashing import size_and_sha256
from kinto_attachment.targets import Target

MISSING, SIZE, HASH = "missing", "size", "hash"
UNLINKED, OUTSIDE, FORGED = "unlinked", "outside", "forged"
DEAD_LINK, UNNAMED = "dead-link", "unnamed"
EXPIRED_UPLOAD, ABANDONED, PERMISSION = "overdue", "abandoned", "permission"
KINDS = {
    MISSING: "records that name a file which is not in the store",
    SIZE: "files whose size is not what the record says",
    HASH: "files whose SHA-256 is not what the record says",
    FORGED: "records whose attachment was written by hand, or is another record's, changed",
    OUTSIDE: "records whose location is outside base_url",
    UNLINKED: "records without a link, whose file is there",
    DEAD_LINK: "links that no record backs",
    UNNAMED: "files that nothing names",
    EXPIRED_UPLOAD: "uploads in several requests that have expired, and are still there",
    ABANDONED: "uploads of which the store has something, and the database nothing",
    PERMISSION: "permissions that uploads in several requests need, and the store refuses",
}
"""Everything that can be found."""


@dataclass(frozen=True)
class Finding:
    """One disagreement.

    :param place: the record's URI, or the file's key where none is known.
    :param value: the record's ``attachment``, where the finding is one of a record.
    """

    kind: str
    place: str
    detail: str
    link: Link | PublishedLink | None = None
    value: dict[str, Any] | None = None


@dataclass(frozen=True)
class Case:
    """What a record says of its attachment, and what is known of the file that it names."""

    target: Target
    value: dict[str, Any]
    link: Link | None
    known: bool
    """Whether a link of ours, or of 8.x or 9.x, says so; else it was made from the record."""
    shared: bool = False
    """Whether another record names the file, and none with this value."""

    def finding(self, kind: str, detail: str) -> Finding:
        """What is wrong with it."""
        return Finding(kind, self.target.uri, detail, self.link, self.value)


class Judge:
    """Compares what records say with what the store has.

    :param hashes: whether files are read, to compare their SHA-256.
    """

    def __init__(self, locations: Locations, store: Readable, hashes: bool) -> None:
        self._locations = locations
        self._store = store
        self._hashes = hashes

    def findings(self, case: Case) -> list[Finding]:
        """What is wrong with one record.

        :raises kinto_attachment.storage.StoreError: as the store failed.
        """
        location = case.value.get("location")
        if case.shared:
            return [case.finding(FORGED, f"{location} is another record's, with other values")]
        is_outside = self._locations.is_outside(location)
        outside = [case.finding(OUTSIDE, f"{location}")] if is_outside else []
        if case.link is not None:
            return outside + self._compare(case, case.link)
        if keys.id_in_location(location):
            return [*outside, case.finding(MISSING, f"{location}: no such file was stored")]
        return outside or [case.finding(FORGED, f"{case.value} describes no file")]

    def _compare(self, case: Case, link: Link) -> list[Finding]:
        try:
            size = self._store.stat(link.key).size
            if size != link.size:
                return [case.finding(SIZE, f"{link.key} has {size} bytes, not {link.size}")]
            digest = size_and_sha256(self._store, link.key)[1] if self._hashes else link.hash
            if digest != link.hash:
                return [case.finding(HASH, f"{link.key} has {digest}, not {link.hash}")]
        except (FileNotFoundError, UnsafeKey):
            return [case.finding(MISSING, link.key)]
        return [] if case.known else [case.finding(UNLINKED, link.key)]
