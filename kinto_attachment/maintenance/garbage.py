"""Finds and removes files that no record names, and links that no record backs.

What a killed server, a lost connection or a failing store left behind is found here. Every
step is a page of a listing and a primary-key look-up, so the cost is flat, and every step may
be interrupted, repeated, or run twice at once beside a working server.

Longer than others: to look and to remove go by the same rules, side by side.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import transaction

from kinto_attachment import keys
from kinto_attachment.attachments.adoption import PublishedLinks
from kinto_attachment.maintenance import expired_uploads
from kinto_attachment.maintenance.ceiling import Ceiling, exceeds
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows import Upload, rows_of
from kinto_attachment.rows.interface import PAGE
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.rows.paging import page_by_page, step
from kinto_attachment.storage import Listable, Marked, StoredFile, StoreError

if TYPE_CHECKING:
    from kinto.core.types import Registry

LONGEST_UPLOAD = 86_400
"""Seconds that an upload to a store behind a network may take before gc gives it up."""

AT_ONCE = 100
"""Files that are locked, looked at once more and removed in one step."""


UNNAMED, DEAD_LINK, EXPIRED = "unnamed", "dead-link", "expired"
EXPIRED_UPLOAD = "overdue"


@dataclass(frozen=True)
class Garbage:
    """A file that nothing names, or a link that is not to stay, with the file's key.

    :param kind: ``unnamed``, ``dead-link``, ``expired``: an old file, kept for long enough; or
        ``overdue``: one in several requests that was not finished in time.
    :param record: URI of the one that the link is about; None for a file.
    """

    kind: str
    key: str
    record: str | None = None

    @classmethod
    def of_link(cls, link: Link) -> "Garbage":
        """A link that is to go."""
        kind = DEAD_LINK if link.state is State.HELD else EXPIRED
        return cls(kind, link.key, link.record_uri)

    def named(self) -> str:
        """In words."""
        return self.key if self.record is None else f"{self.key} of {self.record}"


Told = Callable[[Garbage], object]


def _not_told(_: Garbage) -> None: ...


@dataclass
class GarbageReport:
    """What was found and removed. ``orphans``: files of ours that no link names; ``expired``:
    links of old files that were kept for as long as ``keep_old_files`` says; ``bytes``: what
    files of ours weigh together; ``uploads`` and ``upload_bytes``: those in several requests that
    are not finished, and what has come of them; ``expired_uploads``: those that were not finished
    in time; ``unfinished``: the number of uploads, of whatever kind, whose rest was removed."""

    files: int = 0
    bytes: int = 0
    links: int = 0
    orphans: int = 0
    dead_links: int = 0
    expired: int = 0
    uploads: int = 0
    upload_bytes: int = 0
    expired_uploads: int = 0
    unfinished: int = 0
    removed_files: int = 0
    removed_links: int = 0

    @property
    def findings(self) -> int:
        """Everything that is not as it should be."""
        return self.orphans + self.dead_links

    def share(self) -> float:
        """Per cent of the files that would go. Links count where no listing tells files of
        another version from anybody's."""
        return 100 * min(self.findings, self.total) / self.total if self.total else 0.0

    @property
    def total(self) -> int:
        """Of how many files something would go."""
        return max(self.files, self.links)

    def above(self, ceiling: float) -> bool:
        """Whether so much would go that the database is more likely to be the wrong one."""
        if self.links - self.dead_links <= 0 < self.findings:
            return self.share() > ceiling
        return exceeds(min(self.findings, self.total), self.total, ceiling)


class Collector:
    """One sweep over a server's store and links.

    :param grace: seconds that a file, or a link, must be old; a server's work of the moment is
        never touched.
    :param tick: called with the number of files or links that were looked at.
    """

    def __init__(
        self, registry: "Registry", grace: float, tick: Callable[[int], object] = lambda _: None
    ) -> None:
        plugin = Plugin.of_registry(registry)
        self._registry = registry
        self._store = plugin.store
        self._rows = rows_of(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._settings, self._locations = plugin.settings, plugin.locations
        self._now = time.time()
        self.before = self._now - grace
        self._tick = tick

    def look(self, tell: Told = _not_told) -> GarbageReport:
        """Count, and change nothing.

        :param tell: called with each that would go.
        """
        report = GarbageReport()
        self.look_at_links(report, tell)
        self.look_at_files(report, tell)
        self.look_at_uploads(report, tell)
        return report

    def look_at_uploads(self, report: GarbageReport, tell: Told = _not_told) -> None:
        """Count uploads in several requests, and those that have expired."""
        standing = expired_uploads.unfinished(self._registry)
        report.uploads, report.upload_bytes = standing.uploads, standing.received
        for upload in expired_uploads.expired(self._registry):
            report.expired_uploads += 1
            tell(Garbage(EXPIRED_UPLOAD, upload.key, upload.record_uri))

    def look_at_links(self, report: GarbageReport, tell: Told = _not_told) -> None:
        """Count links, and those that no record backs."""
        for page, dead in self.dead_links():
            report.links += len(page)
            expired = sum(link.state is not State.HELD for link in dead)
            report.expired += expired
            report.dead_links += len(dead) - expired
            for link in dead:
                tell(Garbage.of_link(link))

    def look_at_files(self, report: GarbageReport, tell: Told = _not_told) -> None:
        """Count files, and those that no link names."""
        for files, orphans in self._orphans():
            report.files += len(files)
            report.bytes += sum(file.size for file in files)
            report.orphans += len(orphans)
            for key in orphans:
                tell(Garbage(UNNAMED, key))

    def act(self, report: GarbageReport, ceiling: float = 100, tell: Told = _not_told) -> None:
        """Remove: dead links first, since their files are orphans from then on.

        :param ceiling: per cent of the files that were counted; what has come to be found since
            may not go beyond it either.
        :param tell: called with each that was removed.
        :raises kinto_attachment.maintenance.ceiling.AboveCeiling: where it would.
        """
        allowed = Ceiling(report.total, ceiling, report.findings)
        for _, dead in self.dead_links():
            held = [link for link in dead if link.state is State.HELD]
            allowed.spend(len(held))
            for link in self.remove(dead):
                report.removed_links += 1
                tell(Garbage.of_link(link))
        for key in self._removed_files(allowed):
            report.removed_files += 1
            tell(Garbage(UNNAMED, key))
        report.unfinished = self._store.remove_unfinished(self._unfinished_before())

        def tell_upload(upload: Upload) -> None:
            tell(Garbage(EXPIRED_UPLOAD, upload.key, upload.record_uri))

        report.unfinished += expired_uploads.remove(self._registry, self.before, tell_upload)

    def _unfinished_before(self) -> float:
        """Stores behind a network tell when an upload began, not when it was last written to."""
        network = isinstance(self._store, Marked) and not self._store.may_vanish
        return self.before - LONGEST_UPLOAD if network and self.before < self._now else self.before

    def _removed_files(self, allowed: Ceiling) -> Iterator[str]:
        """Keys, as their files are removed."""
        for _, orphans in self._orphans():
            allowed.spend(len(orphans))
            for start in range(0, len(orphans), AT_ONCE):
                yield from self._remove_orphans(orphans[start : start + AT_ONCE])
        yield from self._remove_released()

    def _orphans(self) -> Iterator[tuple[list[StoredFile], list[str]]]:
        """Pages of the store: files of ours, and the keys of those without a link."""
        if not isinstance(self._store, Listable):
            raise StoreError("this backend can't list files")
        known = ((keys.id_of_key(file.key), file) for file in self._store.files())
        ours = ((file_id, file) for file_id, file in known if file_id)
        living = expired_uploads.living(self._registry)
        while page := list(islice(ours, PAGE)):
            old = {file_id: f.key for file_id, f in page if f.modified < self.before}
            with transaction.manager:
                held = self._rows.held(old) | living.keys()
            self._tick(len(page))
            yield (
                [file for _, file in page],
                [key for file_id, key in old.items() if file_id not in held],
            )

    def _remove_orphans(self, orphans: list[str]) -> list[str]:
        """Look at these few once more, and remove them while nobody can link them: an upload
        that has come so far asks the store for its file under the same lock."""
        by_id = {keys.file_id(key): key for key in orphans}

        def remove() -> list[str]:
            with self._rows.atomically():
                self._rows.lock(by_id)
                held = self._rows.held(by_id)
                doomed = [key for file_id, key in by_id.items() if file_id not in held]
                self._store.delete_many(doomed)
                return doomed

        with self._rows.turn():
            return step(remove)

    def dead_links(self) -> Iterator[tuple[list[Link], list[Link]]]:
        """Pages of links, and those among them that no record backs, or were kept too long."""
        for page, dead in page_by_page(self._rows.everything(), self._dead):
            self._tick(len(page))
            yield page, dead

    def _dead(self, page: list[Link]) -> tuple[list[Link], list[Link]]:
        old = [link for link in page if link.modified < self.before * 1000]
        dead = self._unbacked([link for link in old if link.state is State.HELD])
        return page, dead + [link for link in old if link.kept and self._has_expired(link)]

    def remove(self, dead: list[Link]) -> list[Link]:
        """Remove dead links, each in one transaction with a last look at its record; those that
        were removed."""
        return [link for link in dead if self._remove_link(link)]

    def _has_expired(self, link: Link) -> bool:
        """A kept file's link was written when it was replaced or removed, which is when history
        has named it last. Switching ``keep_old_files`` off lets nothing expire."""
        return link.modified < (self._now - (self._keep(link) or math.inf)) * 1000

    def _keep(self, link: Link) -> float:
        """Seconds that the file of a link stays once its record has let it go."""
        return self._settings.policy_for(*link.target.place).keep_old_files

    def _unbacked(self, links: list[Link]) -> list[Link]:
        named = self._rows.values([link.record_uri for link in links])
        return [link for link in links if not same(named.get(link.record_uri), link.value)]

    def _remove_link(self, link: Link) -> bool:
        def remove() -> bool:
            with self._rows.atomically():
                if link.state is State.HELD:
                    record = self._rows.lock_record(link.target)
                    if record is not None and same(record.attachment, link.value):
                        return False  # The record has come to name it meanwhile.
                self._rows.lock([link.file_id])
                removed, held = self._rows.remove([link])
                if removed and link.state is State.HELD and self._keep(link):
                    self._rows.add([replace(link, state=State.KEPT)])
                elif removed and not held and not keys.is_ours(link.key):
                    self._rows.add([replace(link, state=State.RELEASED)])
                return bool(removed)

        with self._rows.turn():
            return step(remove)

    def _remove_released(self) -> Iterator[str]:
        """Files of other versions have no id in their key, so no listing shows them as ours:
        the link that named them last says that they are to go."""
        for page in page_by_page(self._rows.everything(), _released):
            for start in range(0, len(page), AT_ONCE):
                yield from self._remove_some_released(page[start : start + AT_ONCE])

    def _remove_some_released(self, some: list[Link]) -> set[str]:
        def remove() -> set[str]:
            with self._rows.atomically():
                self._rows.lock([link.file_id for link in some])
                held = self._rows.held([link.file_id for link in some])
                doomed = {link.key for link in some if link.file_id not in held}
                doomed -= self._named_otherwise(doomed)
                self._store.delete_many(doomed)
                self._rows.remove(some)
                return doomed

        with self._rows.turn():
            return step(remove)

    def _named_otherwise(self, wanted: set[str]) -> set[str]:
        """Those of these keys that links of 8.x or 9.x, or records without a link, name: their
        names may have been used again."""
        spelt = {loc: key for key in wanted for loc in self._locations.spellings(key)}
        named = {spelt[loc] for loc in self._rows.locations(spelt)}
        return named | {link.key for link in self._published.to_files(wanted)}


def _released(page: list[Link]) -> list[Link]:
    return [link for link in page if link.state is State.RELEASED]
