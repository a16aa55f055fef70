"""Whose file a value names: where a record may have taken its ``attachment`` from.

A value that this request did not store is admitted only where a record that the caller may read
names it *now*, or named it when the transaction began and let it go in it.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyramid.request import Request

from kinto_attachment import keys
from kinto_attachment.agreement.touched import Touched
from kinto_attachment.attachments import adoption
from kinto_attachment.attachments.adoption import PublishedLinks
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.plugin import Plugin
from kinto_attachment.records.permissions import may_read, readable
from kinto_attachment.rows import Rows
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry

ASKED_SINGLY = 3
"""Holders of a file whose rights are asked for one by one, before all are asked at once."""

MOST = 1000
"""Records with rights of their own that are looked at for one file."""


def readable_source(request: Request, rows: Rows, file_id: str, value: Any = None) -> Link | None:
    """A record that names the file now and that the caller may read, or None.

    Of a popular file, the rights on all its collections are one question, and those on
    :data:`MOST` single records another one.

    :param value: what the record has to say of it, if not anything.
    """
    few = rows.sources(file_id, None, ASKED_SINGLY, value)
    for link in few:
        if may_read(request, link.target):
            return link
    if len(few) < ASKED_SINGLY:
        return None
    uris = readable(request, rows.collections_with(file_id))
    for link in rows.sources(file_id, uris, ASKED_SINGLY, value):
        if may_read(request, link.target):
            return link
    some = rows.sources(file_id, None, MOST, value)
    uris = readable(request, [link.record_uri for link in some])
    return next((link for link in some if link.record_uri in uris), None)


class Sources:
    """Looks for them, in the transaction that writes the copy.

    :param request: whose caller has to be able to read the source; None for a command, which
        may read everything.
    """

    let_go: Collection[Link] = ()
    """Links of records that this transaction has changed: they do not name their file now."""

    uploaded: Link | None = None
    """That of the file which this request has stored: it is not written yet."""

    def __init__(
        self, registry: "Registry", rows: Rows, touched: Touched, request: Request | None
    ) -> None:
        plugin = Plugin.of_registry(registry)
        self._settings, self._locations = plugin.settings, plugin.locations
        self._rows = rows
        self._touched = touched
        self._request = request
        self._published = PublishedLinks(registry.storage)

    def links_for(self, target: Target, value: Any, file_id: str) -> list[Link]:
        """The link that the record is to have, where the value has a source; else nothing.

        A source that 8.x or 9.x wrote, and that was not migrated yet, gets a link of ours, too;
        its old one stays for other copies, of which those versions knew no links.

        :raises Refused: a caller's copy, where the rules of the record's collection forbid it.
        """
        source = self._found(target, value, file_id)
        if source is None:
            found = self._published_links(target, value)
        else:
            found = [replace(source, record_uri=target.uri, state=State.HELD, modified=0)]
        if found and not self._by_plugin(target):
            self._check_rules(target, found[-1])
        return found

    def stays_unlinked(self, target: Target, value: Any, file_id: str | None) -> bool:
        """Whether a plugin may leave this in a record: it names no file that anybody holds, and
        the record had it before, as the plugin says. It opens nothing."""
        if not self._by_plugin(target):
            return False
        said = self._touched.claimed.get(target, ())
        known = target in self._touched.by_plugin and not said
        return known and not (file_id and self._rows.held([file_id]))

    def published_keys(self, wanted: Collection[str]) -> set[str]:
        """Those of these keys that a link of 8.x or 9.x names."""
        if not wanted or not self._published.any():
            return set()
        return {link.key for link in self._published.to_files(wanted)}

    def _by_plugin(self, target: Target) -> bool:
        """Whether no request of the caller was about the record: plugins and commands answer
        for what they write themselves."""
        mine = target in self._touched.by_user or target in self._touched.former
        return self._request is None or not mine

    def _found(self, target: Target, value: Any, file_id: str) -> Link | None:
        own = self.uploaded
        if own and own.file_id == file_id and same(own.value, value) and self._by_plugin(target):
            return own
        for link in self.let_go:
            if link.file_id == file_id and same(link.value, value) and self._let_go(link):
                return link
        if self._request is None or self._by_plugin(target):
            source = next(iter(self._rows.sources(file_id, None, 1, value)), None)
        else:
            source = readable_source(self._request, self._rows, file_id, value)
        if source is not None and same(source.value, value):
            return source
        return self._let_go_below(value, file_id)

    def _may_read(self, source: Target) -> bool:
        return self._request is None or may_read(self._request, source)

    def _let_go(self, link: Link) -> bool:
        """Whether the caller himself has made the record let go: so he was allowed to write,
        and with that to read it."""
        return self._request is None or link.target in self._touched.by_user

    def _let_go_below(self, value: Any, file_id: str) -> Link | None:
        """The same, where the record went with its collection or bucket."""
        if not self._touched.below:
            return None
        below = tuple(f"{uri}/" for uri in self._touched.below)
        for link in self._rows.to_files([file_id]):
            if link.record_uri.startswith(below) and same(link.value, value):
                return link if link.state is State.HELD else None
        return None

    def _published_links(self, target: Target, value: Any) -> list[Link]:
        """The links of a copy, and of the record of 8.x or 9.x that it is one of."""
        key = self._locations.foreign_key_in(value.get("location"))
        published = list(self._published.to_files([key] if key else []))
        values = self._rows.values([link.record_uri for link in published])
        for link in published:
            made = adoption.link_of(link.target, value, link.key)
            if not made or not link.backed_by(value):
                continue
            former = self._touched.former.get(link.target)
            if former and self._let_go(made) and same(former.value, value):
                # The record went, or has another file by now.
                return [replace(made, record_uri=target.uri)]
            may_copy = self._by_plugin(target) or self._may_read(link.target)
            if same(values.get(link.record_uri), value) and may_copy:
                return [made, replace(made, record_uri=target.uri)]
        return []

    def _check_rules(self, target: Target, link: Link) -> None:
        policy = self._settings.policy_for(*target.place)
        if not policy.allows(keys.extension(link.filename)):
            allowed = ", ".join(sorted(policy.extensions or ()))
            raise Refused("extension", filename=link.filename, allowed=allowed)
        if policy.max_size_bytes and link.size > policy.max_size_bytes:
            raise Refused("too_large", limit=policy.max_size_bytes)
