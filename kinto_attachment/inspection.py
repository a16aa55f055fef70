"""Looks at every record, link and file, and tells what does not agree. Changes nothing.

Pages of records come with their links by primary key, so memory does not grow. What 8.x and
9.x left has no index: until ``kinto migrate`` has run, each page costs a scan of their links.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import transaction

from kinto_attachment import adoption, keys
from kinto_attachment.adoption import PublishedLink, PublishedLinks
from kinto_attachment.attachments import Target
from kinto_attachment.garbage import Collector
from kinto_attachment.judgement import DEAD_LINK, UNNAMED, Finding, Judge, Seen
from kinto_attachment.links import PAGE, Link, Links
from kinto_attachment.server import Server
from kinto_attachment.stored_records import attached, locations, page_by_page, value_of, values_of

JOBS = 8
"""Files that are looked at at once: a store far away takes its time for each."""


class Inspector:
    """One look at a server's store, links and records.

    :param grace: seconds that a link or a file must be old: the server works meanwhile.
    :param hashes: whether files are read, to compare their SHA-256.
    """

    def __init__(
        self,
        registry: Any,
        grace: float,
        hashes: bool,
        tick: Callable[[int], object] = lambda _: None,
    ) -> None:
        server: Server = registry.attachments
        self._settings, self._store = server.settings, server.storage
        self._storage = registry.storage
        self._links = Links(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._collector = Collector(registry, grace)
        self._before = self._collector.before
        self._judge = Judge(server.settings, server.storage, hashes)
        self.files = 0
        self._tick = tick
        with transaction.manager:
            self._unmigrated = self._published.any()

    def findings(self) -> Iterator[Finding]:
        """Everything that does not agree, as it is found, outside of any transaction.

        :raises kinto_attachment.storage.StorageError: as the store failed.
        """
        yield from self._of_records()
        yield from self._of_links()
        yield from self._of_files()

    def findings_of(self, kind: str) -> Iterator[Finding]:
        """Those of one kind, without looking at what can't have any."""
        part = {DEAD_LINK: self._of_links, UNNAMED: self._of_files}.get(kind, self._of_records)
        yield from (found for found in part() if found.kind == kind)

    def _of_records(self) -> Iterator[Finding]:
        with ThreadPoolExecutor(JOBS) as pool:
            for seen in page_by_page(attached(self._storage), self._seen):
                for found in pool.map(self._judge.findings, seen):
                    yield from (f for f in found if self._still(f))
                self._tick(len(seen))

    def _seen(self, page: tuple[str, list[dict[str, Any]]]) -> list[Seen]:
        """A page of records with their links, of whatever version."""
        collection_uri, records = page
        values = {f"{collection_uri}/records/{r['id']}": r["attachment"] for r in records}
        ids = {self._file_id(value) for value in values.values()} - {None}
        links = {link.record_uri: link for link in self._links.of_files(filter(None, ids))}
        rest = {uri: value for uri, value in values.items() if not _fits(links.get(uri), value)}
        for uri in rest:  # A location outside of base_url leads to no id.
            found = [k for k in self._links.of_record(uri) if k.value == values[uri]]
            links.update({uri: found[0]} if found else {})
        old = self._published_of(uri for uri in rest if not _fits(links.get(uri), values[uri]))
        return [self._see(uri, values[uri], links.get(uri), old.get(uri, [])) for uri in values]

    def _published_of(self, uris: Iterator[str]) -> dict[str, list[PublishedLink]]:
        found: dict[str, list[PublishedLink]] = {}
        for link in self._published.of_records(uris) if self._unmigrated else ():
            found.setdefault(link.record_uri, []).append(link)
        return found

    def _see(
        self, uri: str, value: dict[str, Any], link: Link | None, old: list[PublishedLink]
    ) -> Seen:
        target = Target.of_uri(uri)
        if _fits(link, value):
            return Seen(target, value, link, known=True)
        for published in old:
            if published.backed_by(value):
                made = adoption.link_of(target, value, published.key)
                return Seen(target, value, made, known=True)
        key = self._settings.any_key_in(value.get("location"))
        made = adoption.link_of(target, value, key) if key else None
        return Seen(target, value, made, known=False, shared=self._is_changed(value, key))

    def _is_changed(self, value: dict[str, Any], key: str | None) -> bool:
        """Whether others name the file that this value names, all with another value."""
        file_id = self._file_id(value)
        if adoption.is_forged(value, self._links.of_files([file_id] if file_id else [])):
            return True
        published = list(self._published.to_files([key])) if key and self._unmigrated else []
        values = values_of(self._storage, (link.target for link in published))
        named = [(values.get(link.record_uri), link) for link in published]
        others = [other for other, link in named if link.backed_by(other)]
        return bool(others) and value not in others

    def _still(self, finding: Finding) -> bool:
        """Whether the record still says so: it may have been replaced or deleted meanwhile."""
        with transaction.manager:
            return bool(value_of(self._storage, Target.of_uri(finding.place)) == finding.value)

    def _of_links(self) -> Iterator[Finding]:
        for page, dead in self._collector.dead_links():
            self._tick(len(page))
            for link in dead:
                if not link.kept:
                    yield Finding(DEAD_LINK, link.record_uri, link.key, link)
        if self._unmigrated:
            yield from self._of_published()

    def _of_published(self) -> Iterator[Finding]:
        for dead in page_by_page(self._published.pages(), self._unnamed):
            yield from (Finding(DEAD_LINK, k.record_uri, k.key, k) for k in dead)

    def _unnamed(self, page: list[PublishedLink]) -> list[PublishedLink]:
        values = values_of(self._storage, (link.target for link in page))
        return [link for link in page if not link.backed_by(values.get(link.record_uri))]

    def _of_files(self) -> Iterator[Finding]:
        files = self._store.files()
        while page := list(islice(files, PAGE)):
            old = {keys.file_id(f.key): f.key for f in page if f.modified < self._before}
            with transaction.manager:
                for file_id in self._links.held(old):
                    old.pop(file_id, None)
                for key in self._named(set(old.values())):
                    old.pop(keys.file_id(key), None)
            self.files += len(page)
            self._tick(len(page))
            yield from (Finding(UNNAMED, key, "no record, no link") for key in old.values())

    def _named(self, wanted: set[str]) -> set[str]:
        """Those of these keys that links of 8.x or 9.x, or records without link, name."""
        found = {k.key for k in self._published.to_files(wanted)} if self._unmigrated else set()
        spelt = {loc: key for key in wanted - found for loc in self._settings.locations_of(key)}
        return found | {spelt[loc] for loc in locations(self._storage, spelt)}

    def _file_id(self, value: dict[str, Any]) -> str | None:
        return self._settings.file_id_in(value.get("location"))


def _fits(link: Link | None, value: dict[str, Any]) -> bool:
    return link is not None and link.value == value
