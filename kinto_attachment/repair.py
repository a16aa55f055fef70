"""Mends what the inspection found, one kind at a time."""

import logging
from collections.abc import Callable
from typing import Any

import transaction
from pyramid.httpexceptions import HTTPException

from kinto_attachment.adoption import PublishedLink, PublishedLinks
from kinto_attachment.attachments import Target
from kinto_attachment.garbage import FEW, Collector
from kinto_attachment.inspection import Inspector
from kinto_attachment.judgement import DEAD_LINK, MISSING, OUTSIDE, UNLINKED, UNNAMED, Finding
from kinto_attachment.keys import file_id
from kinto_attachment.links import Link, Links
from kinto_attachment.record_writer import RecordWriter, reason

logger = logging.getLogger(__name__)


class Repairer:
    """Acts on what an :class:`Inspector` finds when it looks once more.

    :param ceiling: per cent of all files that may go.
    """

    def __init__(self, registry: Any, inspector: Inspector, ceiling: float) -> None:
        self._registry = registry
        self._inspector = inspector
        self._ceiling = ceiling
        self._store = registry.attachments.storage
        self._links = Links(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._collector = Collector(registry, grace=0)
        self._writer = RecordWriter(registry)
        self._unnamed = self._unknown = 0

    def note(self, finding: Finding) -> None:
        """What decides later whether files may go."""
        self._unnamed += finding.kind == UNNAMED
        self._unknown += finding.kind == OUTSIDE and finding.link is None

    def refusal(self, kind: str) -> str | None:
        """Why this kind is better not repaired now, in one sentence; None where it may be."""
        if kind != UNNAMED:
            return None
        if self._unknown:
            return (
                f"Refused: {self._unknown} records name files outside of base_url, and these may"
                " be theirs. Bring them in with `kinto-attachment relocate` first."
            )
        share = 100 * self._unnamed / max(self._inspector.files, 1)
        if share > self._ceiling and self._unnamed > FEW:
            return (
                f"Refused: {share:.0f} % of the files would go, more than {self._ceiling:g} %. See"
                " that the ini names the right database and store, and that nothing else keeps"
                " files there; --ceiling 100 removes them all the same."
            )
        return None

    def repair(self, kind: str) -> int:
        """Mend one kind; how many were.

        :raises kinto_attachment.storage.StorageError: as the store failed. What was mended
            until then stays so.
        """
        acts: dict[str, Callable[[Finding], bool]] = {
            UNLINKED: self._adopt,
            DEAD_LINK: self._unlink,
            UNNAMED: self._delete,
            MISSING: self._take_out,
        }
        return sum(acts[kind](finding) for finding in self._inspector.findings_of(kind))

    def _adopt(self, finding: Finding) -> bool:
        if not isinstance(finding.link, Link):
            return False
        with transaction.manager:
            self._links.add(finding.link)
        return True

    def _unlink(self, finding: Finding) -> bool:
        link = finding.link
        if isinstance(link, Link):
            removed, _ = self._collector.remove([link])
            return bool(removed)
        if not isinstance(link, PublishedLink):
            return False
        # The file, if nothing else names it, is found among those that nothing names.
        with transaction.manager:
            self._published.remove(link)
        return True

    def _delete(self, finding: Finding) -> bool:
        with transaction.manager:
            if self._links.held([file_id(finding.place)]):
                return False  # A copy has come to name it meanwhile.
        return bool(self._store.delete(finding.place))

    def _take_out(self, finding: Finding) -> bool:
        """Take the field out of a record; not where it has changed, or Kinto refuses that."""
        target = Target.of_uri(finding.place)
        try:
            with transaction.manager:
                record = self._writer.locked(target)
                if record is None or record.attachment != finding.value:
                    return False
                # RFC 7396: null removes the key.
                body, kind = {"data": {"attachment": None}}, "application/merge-patch+json"
                self._writer.patch(target, record.last_modified, body, kind)
        except HTTPException as error:
            logger.error("%s was not changed: %s", target.uri, reason(error))
            return False
        return True
