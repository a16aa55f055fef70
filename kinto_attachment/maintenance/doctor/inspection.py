"""Looks at every record, link and file, and tells what does not agree. Changes nothing.

Pages of records come with their links by primary key, so memory does not grow. What 8.x and
9.x left has no index: until ``kinto migrate`` has run, each page costs a scan of their links.

Longer than others: one pass over records, links and files, whose parts share what was seen.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

import transaction

from kinto_attachment import keys
from kinto_attachment.attachments import adoption
from kinto_attachment.attachments.adoption import PublishedLink, PublishedLinks
from kinto_attachment.maintenance.doctor import uploads
from kinto_attachment.maintenance.doctor.findings import (
    DEAD_LINK,
    FORGED,
    HASH,
    KINDS,
    MISSING,
    OUTSIDE,
    SIZE,
    UNLINKED,
    UNNAMED,
    Case,
    Finding,
    Judge,
)
from kinto_attachment.maintenance.garbage import Collector
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.interface import PAGE, RecordRow
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.rows.paging import page_by_page
from kinto_attachment.storage import CompleteStore
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry

NOT_OURS = "no record, no link, and its name is none of ours: it may be anybody's, or an old one"
"""What is told of a file that another program, or 8.x, may have put there."""

JOBS = 8
"""Files that are looked at at once: a store far away takes its time for each."""


def _digest(key: str) -> bytes:
    """A key in few bytes, since there may be as many as records."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16]


class Inspector:
    """One look at a server's store, links and records.

    :param grace: seconds that a link or a file must be old: the server works meanwhile.
    :param hashes: whether files are read, to compare their SHA-256.
    """

    def __init__(
        self,
        registry: "Registry",
        store: CompleteStore,
        grace: float,
        hashes: bool,
        tick: Callable[[int], object] = lambda _: None,
    ) -> None:
        plugin = Plugin.of_registry(registry)
        self._registry = registry
        self._locations, self._store = plugin.locations, store
        self._rows = rows_of(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._collector = Collector(registry, grace)
        self._before = self._collector.before
        self._judge = Judge(plugin.locations, store, hashes)
        self._spelt_otherwise: set[bytes] | None = None
        self.totals = dict.fromkeys(KINDS, 0)
        self._tick = tick
        with transaction.manager:
            self._unmigrated = self._published.any()

    def findings(self) -> Iterator[Finding]:
        """Everything that does not agree, as it is found, outside of any transaction.

        :raises kinto_attachment.storage.StoreError: as the store failed.
        """
        yield from self._of_records()
        yield from self._of_links()
        yield from self._of_files()
        yield from uploads.findings(self._registry, self._before)

    def findings_of(self, kind: str) -> Iterator[Finding]:
        """Those of one kind, without looking at what can't have any."""
        part = {DEAD_LINK: self._of_links, UNNAMED: self._of_files}.get(kind, self._of_records)
        yield from (found for found in part() if found.kind == kind)

    def _of_records(self) -> Iterator[Finding]:
        with ThreadPoolExecutor(JOBS) as pool:
            for cases in page_by_page(self._rows.records_with_attachment(), self._cases):
                self._count((MISSING, SIZE, HASH, FORGED, OUTSIDE, UNLINKED), len(cases))
                for found in pool.map(self._judge.findings, cases):
                    yield from (f for f in found if self._still(f))
                self._tick(len(cases))

    def _count(self, kinds: Iterable[str], number: int) -> None:
        for kind in kinds:
            self.totals[kind] += number

    def _cases(self, page: list[RecordRow]) -> list[Case]:
        """A page of records with their links, of whatever version."""
        values, links = self._linked(page)
        old = self._published_of(uri for uri in values if uri not in links)
        return [self._case(uri, values[uri], links.get(uri), old.get(uri, [])) for uri in values]

    def _linked(self, page: list[RecordRow]) -> tuple[dict[str, dict[str, Any]], dict[str, Link]]:
        """What records say, and the links that say the same; both by the record's URI."""
        values = {row.target.uri: row.value for row in page if isinstance(row.value, dict)}
        links = {
            link.record_uri: link
            for link in self._rows.of_records(values)
            if same(link.value, values[link.record_uri])
        }
        return values, links

    def _published_of(self, uris: Iterator[str]) -> dict[str, list[PublishedLink]]:
        found: dict[str, list[PublishedLink]] = {}
        for link in self._published.of_records(uris) if self._unmigrated else ():
            found.setdefault(link.record_uri, []).append(link)
        return found

    def _case(
        self, uri: str, value: dict[str, Any], link: Link | None, old: list[PublishedLink]
    ) -> Case:
        target = Target.of_uri(uri)
        if link is not None:
            return Case(target, value, link, known=True)
        for published in old:
            if published.backed_by(value):
                made = adoption.link_of(target, value, published.key)
                return Case(target, value, made, known=True)
        key = self._locations.key_in(value.get("location"))
        made = adoption.link_of(target, value, key) if key else None
        return Case(target, value, made, known=False, shared=self._is_changed(value, key))

    def _is_changed(self, value: dict[str, Any], key: str | None) -> bool:
        """Whether others name the file that this value names, all with another value."""
        file_id = self._file_id(value)
        if adoption.is_forged(value, self._rows.to_files([file_id] if file_id else [])):
            return True
        published = list(self._published.to_files([key])) if key and self._unmigrated else []
        values = self._rows.values([link.record_uri for link in published])
        named = [(values.get(link.record_uri), link) for link in published]
        others = [other for other, link in named if link.backed_by(other)]
        return bool(others) and not any(same(value, other) for other in others)

    def _still(self, finding: Finding) -> bool:
        """Whether the record still says so: it may have been replaced or deleted meanwhile."""
        with transaction.manager:
            return same(self._rows.values([finding.place]).get(finding.place), finding.value)

    def _of_links(self) -> Iterator[Finding]:
        for page, dead in self._collector.dead_links():
            self._tick(len(page))
            self._count([DEAD_LINK], len(page))
            for link in dead:
                if link.state is State.HELD:
                    yield Finding(DEAD_LINK, link.record_uri, link.key, link)
        if self._unmigrated:
            yield from self._of_published()

    def _of_published(self) -> Iterator[Finding]:
        for dead in page_by_page(self._published.pages(), self._unnamed):
            yield from (Finding(DEAD_LINK, k.record_uri, k.key, k) for k in dead)

    def _unnamed(self, page: list[PublishedLink]) -> list[PublishedLink]:
        self._count([DEAD_LINK], len(page))
        values = self._rows.values([link.record_uri for link in page])
        dead = [link for link in page if not link.backed_by(values.get(link.record_uri))]
        # Copies, of which 8.x and 9.x knew no links, still open their file by this one.
        named = self._named_by_records({link.key for link in dead})
        return [link for link in dead if link.key not in named]

    def _of_files(self) -> Iterator[Finding]:
        files = self._store.files()
        while page := list(islice(files, PAGE)):
            old = {keys.file_id(f.key): f.key for f in page if f.modified < self._before}
            with transaction.manager:
                known = {link.file_id for link in self._rows.to_files(old)}
                named = self._named({key for file_id, key in old.items() if file_id not in known})
            self._count([UNNAMED], len(page))
            self._tick(len(page))
            for file_id, key in old.items():
                if file_id not in known and key not in named:
                    whose = "no record, no link" if keys.is_ours(key) else NOT_OURS
                    yield Finding(UNNAMED, key, whose)

    def is_unnamed(self, key: str) -> bool:
        """Whether nothing names a file now. Callers see to the transaction."""
        return not self._rows.to_files([keys.file_id(key)]) and not self._named({key})

    def _named(self, wanted: set[str]) -> set[str]:
        """Those of these keys that links of 8.x or 9.x, or records without link, name."""
        found = {k.key for k in self._published.to_files(wanted)} if self._unmigrated else set()
        return found | self._named_by_records(wanted - found)

    def _named_by_records(self, wanted: set[str]) -> set[str]:
        """Those of these keys that records name: now, as we would write it, or, when this run
        looked at all records without a link, in whatever spelling."""
        if not wanted:
            return set()
        spelt = {loc: key for key in wanted for loc in self._locations.spellings(key)}
        named = {spelt[loc] for loc in self._rows.locations(spelt)}
        if self._spelt_otherwise is None:
            self._spelt_otherwise = set(self._keys_without_link())
        return named | {key for key in wanted if _digest(key) in self._spelt_otherwise}

    def _keys_without_link(self) -> Iterator[bytes]:
        for page in self._rows.records_with_attachment():
            values, links = self._linked(page)
            for uri, value in values.items():
                key = self._locations.key_in(value.get("location"))
                if key and uri not in links:
                    yield _digest(key)

    def _file_id(self, value: dict[str, Any]) -> str | None:
        return self._locations.file_id_in(value.get("location"))
