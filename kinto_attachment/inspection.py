"""Looks at every record, link and file, and tells what does not agree. Changes nothing.

Pages of records come with their links by primary key, so memory does not grow. What 8.x and
9.x left has no index: until ``kinto migrate`` has run, each page costs a scan of their links.
"""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import transaction

from kinto_attachment import adoption, keys
from kinto_attachment.adoption import PublishedLink, PublishedLinks
from kinto_attachment.attachments import Target
from kinto_attachment.garbage import Collector
from kinto_attachment.links import Link, Links
from kinto_attachment.server import Server
from kinto_attachment.stored_records import attached, locations, values_of

MISSING, SIZE, HASH = "missing", "size", "hash"
UNLINKED, OUTSIDE, FORGED = "unlinked", "outside", "forged"
DEAD_LINK, UNNAMED = "dead-link", "unnamed"
KINDS = {
    MISSING: "records that name a file which is not in the store",
    SIZE: "files whose size is not what the record says",
    HASH: "files whose SHA-256 is not what the record says",
    FORGED: "records whose attachment was written by hand, or is another record's, changed",
    OUTSIDE: "records whose location is outside base_url",
    UNLINKED: "records without a link, whose file is there",
    DEAD_LINK: "links that no record backs",
    UNNAMED: "files that nothing names",
}
"""Everything that can be found."""

JOBS = 8
"""Files that are looked at at once: a store far away takes its time for each."""


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
class Seen:
    """A record's attachment, and what is known of the file that it names."""

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
        self._hashes = hashes
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
            pages = attached(self._storage)
            while True:
                with transaction.manager:
                    page = next(pages, None)
                    if page is None:
                        return
                    seen = self._seen(*page)
                for found in pool.map(self._judge, seen):
                    yield from (f for f in found if self._still(f))
                self._tick(len(seen))

    def _seen(self, collection_uri: str, records: list[dict[str, Any]]) -> list[Seen]:
        """A page of records with their links, of whatever version."""
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
            if adoption.names_key(value.get("location"), published.key):
                made = adoption.link_of(target, value, published.key)
                return Seen(target, value, made, known=True)
        key = self._settings.any_key_in(value.get("location"))
        made = adoption.link_of(target, value, key) if key else None
        return Seen(target, value, made, known=False, shared=self._is_changed(value, key))

    def _is_changed(self, value: dict[str, Any], key: str | None) -> bool:
        """Whether others name the file that this value names, all with another value."""
        file_id = self._file_id(value)
        others = [
            k.value for k in self._links.of_files([file_id] if file_id else []) if not k.kept
        ]
        for link in self._published.to(key) if key and self._unmigrated else ():
            found = values_of(self._storage, link.target.collection_uri, [link.target.record_id])
            named = found.get(link.target.record_id) or {}
            others += [named] if adoption.names_key(named.get("location"), link.key) else []
        return bool(others) and value not in others

    def _judge(self, seen: Seen) -> list[Finding]:
        """What is wrong with one record. Asks the store, and nothing else."""
        location = seen.value.get("location")
        if seen.shared:
            return [seen.finding(FORGED, f"{location} is another record's, with other values")]
        outside = [seen.finding(OUTSIDE, f"{location}")] if self._is_outside(location) else []
        if seen.link is not None:
            return outside + self._compare(seen, seen.link)
        if keys.id_in_location(location):
            return [*outside, seen.finding(MISSING, f"{location}: no such file was stored")]
        return outside or [seen.finding(FORGED, f"{seen.value} describes no file")]

    def _compare(self, seen: Seen, link: Link) -> list[Finding]:
        try:
            size = self._store.stat(link.key).size
            if size != link.size:
                return [seen.finding(SIZE, f"{link.key} has {size} bytes, not {link.size}")]
            if self._hashes and (digest := self._digest(link.key)) != link.hash:
                return [seen.finding(HASH, f"{link.key} has {digest}, not {link.hash}")]
        except FileNotFoundError:
            return [seen.finding(MISSING, link.key)]
        return [] if seen.known else [seen.finding(UNLINKED, link.key)]

    def _digest(self, key: str) -> str:
        digest, reader = hashlib.sha256(), self._store.open(key)
        try:
            for chunk in reader:
                digest.update(chunk)
        finally:
            reader.close()
        return digest.hexdigest()

    def _still(self, finding: Finding) -> bool:
        """Whether the record still says so: it may have been replaced or deleted meanwhile."""
        target = Target.of_uri(finding.place)
        with transaction.manager:
            now = values_of(self._storage, target.collection_uri, [target.record_id])
        return bool(now.get(target.record_id) == finding.value)

    def _of_links(self) -> Iterator[Finding]:
        for page, dead in self._collector.dead_links():
            self._tick(len(page))
            for link in dead:
                if not link.kept:
                    yield Finding(DEAD_LINK, link.record_uri, link.key, link)
        if self._unmigrated:
            yield from self._of_published()

    def _of_published(self) -> Iterator[Finding]:
        pages = self._published.pages()
        while True:
            with transaction.manager:
                page = next(pages, None)
                if page is None:
                    return
                dead = [link for link in page if not self._is_named(link)]
            yield from (Finding(DEAD_LINK, k.record_uri, k.key, k) for k in dead)

    def _is_named(self, link: PublishedLink) -> bool:
        target = link.target
        found = values_of(self._storage, target.collection_uri, [target.record_id])
        value = found.get(target.record_id)
        return isinstance(value, dict) and adoption.names_key(value.get("location"), link.key)

    def _of_files(self) -> Iterator[Finding]:
        files = self._store.files()
        while page := [file for _, file in zip(range(1000), files, strict=False)]:
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

    def _is_outside(self, location: object) -> bool:
        base = str(self._settings.values["base_url"] or "")
        if not isinstance(location, str) or "/attachment?file=" in location:
            return False
        return "://" in location and not (base and location.startswith(base))


def _fits(link: Link | None, value: dict[str, Any]) -> bool:
    return link is not None and link.value == value
