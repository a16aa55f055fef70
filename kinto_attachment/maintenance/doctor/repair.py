"""Mends what the inspection found, one kind at a time."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from pyramid.httpexceptions import HTTPException

from kinto_attachment import record_field
from kinto_attachment.attachments import adoption
from kinto_attachment.attachments.adoption import PublishedLink, PublishedLinks
from kinto_attachment.keys import file_id
from kinto_attachment.maintenance.ceiling import ALWAYS_ALLOWED, Ceiling, exceeds
from kinto_attachment.maintenance.doctor.findings import (
    DEAD_LINK,
    MISSING,
    OUTSIDE,
    UNLINKED,
    UNNAMED,
    Finding,
)
from kinto_attachment.maintenance.doctor.inspection import NOT_OURS, Inspector
from kinto_attachment.maintenance.garbage import Collector
from kinto_attachment.plugin import Plugin
from kinto_attachment.records.writer import RecordWriter, reason
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.links import Link, same
from kinto_attachment.rows.paging import step
from kinto_attachment.storage import CompleteStore, StoreUnavailable, UnsafeKey
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry

logger = logging.getLogger(__name__)

RECORDS_ALWAYS_ALLOWED = 5
"""Records that may lose their field whatever their share is: a store that is half there looks the
same."""

OF = {MISSING: "records", DEAD_LINK: "links", UNNAMED: "files"}
"""What a share is a share of, by the kind of finding."""


class Repairer:
    """Acts on what an :class:`Inspector` finds when it looks once more.

    :param ceiling: per cent that may be changed, of the records, links or files of a kind.
    :param foreign: whether files go, too, whose name is none of ours: what nothing names may
        be anybody's, or what 8.x has kept.
    """

    def __init__(
        self,
        registry: "Registry",
        store: CompleteStore,
        inspector: Inspector,
        ceiling: float,
        foreign: bool = False,
    ) -> None:
        self._inspector = inspector
        self._ceiling = ceiling
        self._foreign = foreign
        self._plugin = Plugin.of_registry(registry)
        self._store = store
        self._rows = rows_of(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._collector = Collector(registry, grace=0)
        self._writer = RecordWriter(registry)
        self._found: Counter[str] = Counter()
        self._unknown = 0

    def note(self, finding: Finding) -> None:
        """What decides later whether anything may be changed."""
        self._found[finding.kind] += self._is_wanted(finding)
        self._unknown += finding.kind == OUTSIDE and finding.link is None

    def refusal(self, kind: str) -> str | None:
        """Why this kind is better not repaired now, in one sentence; None where it may be."""
        if kind == UNNAMED and self._unknown:
            return (
                f"Refused: {self._unknown} records name files outside of base_url, and these may"
                " be theirs. Bring them in with `kinto-attachment relocate` first."
            )
        count, total = self._found[kind], self._inspector.totals[kind]
        always = RECORDS_ALWAYS_ALLOWED if kind == MISSING else ALWAYS_ALLOWED
        if kind != UNLINKED and exceeds(count, total, self._ceiling, always):
            share = 100 * count / max(total, 1)
            return (
                f"Refused: {share:.0f} % of {total} {OF[kind]} would go, more than"
                f" {self._ceiling:g} %. See that the ini names the right database and store, and"
                " that the store is there as a whole; --ceiling 100 does it all the same."
            )
        return None

    def repair(self, kind: str) -> int:
        """Mend one kind; how many were.

        :raises kinto_attachment.storage.StoreError: as the store failed. What was mended
            until then stays so.
        :raises kinto_attachment.maintenance.ceiling.AboveCeiling: as more has come to be found.
        """
        acts: dict[str, Callable[[Finding], bool]] = {
            UNLINKED: self._adopt,
            DEAD_LINK: self._unlink,
            UNNAMED: self._delete,
            MISSING: self._take_out,
        }
        total = self._inspector.totals[kind]
        allowed = Ceiling(total, 100 if kind == UNLINKED else self._ceiling, self._found[kind])
        mended = 0
        for finding in self._inspector.findings_of(kind):
            if self._is_wanted(finding):
                allowed.spend(1)
                mended += acts[kind](finding)
        return mended

    def _is_wanted(self, finding: Finding) -> bool:
        return finding.detail != NOT_OURS or self._foreign

    def _adopt(self, finding: Finding) -> bool:
        """Only a file of which all bytes are what the record says."""
        target = Target.of_uri(finding.place)
        value = finding.value or {}
        key = self._plugin.locations.key_in(value.get("location"))
        link = adoption.verified_link(self._store, target, value, key)
        return link is not None and adoption.adopt(self._rows, self._store, link)

    def _unlink(self, finding: Finding) -> bool:
        link = finding.link
        if isinstance(link, Link):
            return bool(self._collector.remove([link]))
        if not isinstance(link, PublishedLink):
            return False
        return step(lambda: self._unlink_published(link))

    def _unlink_published(self, link: PublishedLink) -> bool:
        """The file, if nothing else names it, is found among those that nothing names."""
        record = self._writer.locked(link.target)
        if record is not None and link.backed_by(record.attachment):
            return False
        self._published.remove(link)
        return True

    def _delete(self, finding: Finding) -> bool:
        return step(lambda: self._delete_unnamed(finding.place))

    def _delete_unnamed(self, key: str) -> bool:
        """Look once more, at this file alone, while nobody can link it."""
        self._rows.lock([file_id(key)])
        if not self._inspector.is_unnamed(key):
            return False  # Something has come to name it meanwhile.
        return self._store.delete(key)

    def _take_out(self, finding: Finding) -> bool:
        try:
            return step(lambda: self._take_out_of_record(finding))
        except HTTPException as error:
            logger.error("%s was not changed: %s", finding.place, reason(error))
            return False

    def _take_out_of_record(self, finding: Finding) -> bool:
        """Take the field out of a record; not where it has changed, where the file has come
        back, or where Kinto refuses that."""
        target = Target.of_uri(finding.place)
        record = self._writer.locked(target)
        if record is None or not same(record.attachment, finding.value):
            return False
        if isinstance(finding.link, Link) and self._is_there(finding.link.key):
            return False
        gone = self._plugin.custody.refusal()
        if gone:
            raise StoreUnavailable(gone)  # It is the store that went, not this file.
        self._writer.patch(
            target, record.last_modified, record_field.change_to(None), record_field.MERGE_PATCH
        )
        return True

    def _is_there(self, key: str) -> bool:
        try:
            self._store.stat(key)
        except (FileNotFoundError, UnsafeKey):
            return False
        return True
