"""Finds and removes files that no record names, and links that no record backs.

What a killed server, a lost connection or a failing store left behind is found here. Every
step is a page of a listing and a primary-key look-up, so the cost is flat, and every step may
be interrupted, repeated, or run twice at once beside a working server.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import transaction

from kinto_attachment import keys
from kinto_attachment.links import PAGE, Link, Links
from kinto_attachment.server import Server
from kinto_attachment.stored_records import page_by_page, value_of, values_of

FEW = 100
"""Files that may go whatever their share is, as long as some others are named by a record."""


@dataclass
class Report:
    """What was found and removed. ``orphans``: files of ours that no link names; ``expired``:
    links of old files that were kept for as long as ``keep_old_files`` says."""

    files: int = 0
    links: int = 0
    orphans: int = 0
    dead_links: int = 0
    expired: int = 0
    unfinished: int = 0
    removed_files: int = 0
    removed_links: int = 0

    @property
    def findings(self) -> int:
        """Everything that is not as it should be."""
        return self.orphans + self.dead_links

    def share(self) -> float:
        """Per cent of the files that would go."""
        return 100 * min(self.findings, self.files) / self.files if self.files else 0.0

    def above(self, ceiling: float) -> bool:
        """Whether so much would go that the database is more likely to be the wrong one."""
        nothing_named = self.links - self.dead_links <= 0 and self.findings > 0
        return self.share() > ceiling and (nothing_named or self.findings > FEW)


class Collector:
    """One sweep over a server's store and links.

    :param grace: seconds that a file, or a link, must be old; a server's work of the moment is
        never touched.
    :param tick: called with the number of files or links that were looked at.
    """

    def __init__(
        self, registry: Any, grace: float, tick: Callable[[int], object] = lambda _: None
    ) -> None:
        server: Server = registry.attachments
        self._store = server.storage
        self._storage = registry.storage
        self._links = Links(registry.storage)
        self._settings = server.settings
        self._now = time.time()
        self.before = self._now - grace
        self._tick = tick

    def look(self) -> Report:
        """Count, and change nothing."""
        report = Report()
        self.look_at_links(report)
        self.look_at_files(report)
        return report

    def look_at_links(self, report: Report) -> None:
        """Count links, and those that no record backs."""
        for page, dead in self.dead_links():
            report.links += len(page)
            expired = sum(link.kept for link in dead)
            report.expired += expired
            report.dead_links += len(dead) - expired

    def look_at_files(self, report: Report) -> None:
        """Count files, and those that no link names."""
        for files, orphans in self._orphans():
            report.files += files
            report.orphans += len(orphans)

    def act(self, report: Report) -> None:
        """Remove: dead links first, since their files are orphans from then on."""
        for _, dead in self.dead_links():
            links, files = self.remove(dead)
            report.removed_links += links
            report.removed_files += files
        for _, orphans in self._orphans():
            self._store.delete_many(orphans)
            report.removed_files += len(orphans)
        report.unfinished = self._store.remove_unfinished(self.before)

    def _orphans(self) -> Iterator[tuple[int, list[str]]]:
        """Pages of the store: how many files of ours, and the keys of those without a link."""
        known = ((keys.id_of_key(file.key), file) for file in self._store.files())
        ours = ((file_id, file) for file_id, file in known if file_id)
        while page := list(islice(ours, PAGE)):
            old = {file_id: f.key for file_id, f in page if f.modified < self.before}
            with transaction.manager:
                linked = self._links.held(old)
            self._tick(len(page))
            yield len(page), [key for file_id, key in old.items() if file_id not in linked]

    def dead_links(self) -> Iterator[tuple[list[Link], list[Link]]]:
        """Pages of links, and those among them that no record backs, or were kept too long."""
        for page, dead in page_by_page(self._links.everything(), self._dead):
            self._tick(len(page))
            yield page, dead

    def _dead(self, page: list[Link]) -> tuple[list[Link], list[Link]]:
        old = [link for link in page if link.modified < self.before * 1000]
        dead = self._unbacked([link for link in old if not link.kept])
        return page, dead + [link for link in old if link.kept and self._has_expired(link)]

    def remove(self, dead: list[Link]) -> tuple[int, int]:
        """Remove dead links; how many links and files went at once."""
        removed = [link for link in dead if self._remove_link(link)]
        return len(removed), self._remove_adopted(removed)

    def _has_expired(self, link: Link) -> bool:
        """A kept file's link was written when it was replaced or removed, which is when history
        has named it last. Switching ``keep_old_files`` off lets nothing expire."""
        place = link.target
        policy = self._settings.policy_for(place.bucket_id, place.collection_id)
        keep = policy.keep_old_files or math.inf
        return link.modified < (self._now - keep) * 1000

    def _remove_adopted(self, removed: list[Link]) -> int:
        """Files of other versions have no id in their key, so no listing shows them as ours:
        they go with the last link that named them."""
        adopted = {k.file_id: k.key for k in removed if not keys.id_of_key(k.key)}
        with transaction.manager:
            held = self._links.held(adopted)
        doomed = [key for file_id, key in adopted.items() if file_id not in held]
        self._store.delete_many(doomed)
        return len(doomed)

    def _unbacked(self, links: list[Link]) -> list[Link]:
        named = values_of(self._storage, (link.target for link in links))
        return [link for link in links if named.get(link.record_uri) != link.value]

    def _remove_link(self, link: Link) -> bool:
        """Remove a dead link; put it back where its record has come to name it meanwhile.

        Between the two commits the file has no link, but files are looked at only later.
        """
        with transaction.manager:
            removed = self._links.remove(link)
        if removed:
            with transaction.manager:
                if value_of(self._storage, link.target) == link.value:
                    self._links.add(link)
                    removed = False
        return removed
