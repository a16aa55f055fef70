"""Brings the links of all records that a request touched in line with what the records are.

Once, at the end of the request or of the whole batch, in the transaction that will commit. No
event, no old copy and no payload decides: a record's row says what it names, the links say
which file that is, and a file goes when no link is left.

Longer than others: the order of its steps is what the promises rest on, so it is read as a whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from pyramid.request import Request

from kinto_attachment import keys
from kinto_attachment.agreement.sources import Sources
from kinto_attachment.agreement.touched import Touched
from kinto_attachment.attachments.file_changes import FileChanges, Incoming
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.interface import PAGE, RecordRow
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.storage import Readable, StoreError
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry


class Reconciler:
    """One settlement.

    :param request: whose caller's rights count; None for a command, which has all of them.
    :param incoming: the file that this request has stored for a record, if any.
    """

    def __init__(
        self,
        registry: "Registry",
        touched: Touched,
        request: Request | None = None,
        incoming: Incoming | None = None,
    ) -> None:
        plugin = Plugin.of_registry(registry)
        self._settings, self._locations = plugin.settings, plugin.locations
        self._store = plugin.store
        self._rows = rows_of(registry.storage)
        self._rolls_back = plugin.rolls_back
        self._touched = touched
        self._incoming, self._stored = incoming, incoming.stored if incoming else None
        self._files = FileChanges.current(
            plugin.store, lambda: rows_of(registry.storage), plugin.rolls_back
        )
        self._sources = Sources(registry, self._rows, touched, request)
        self._records: dict[str, RecordRow] = {}
        own = {self._stored.target.collection_uri} if self._stored else set()
        self._shared_before, self._shared = frozenset(own), set(own)
        self._all_locked = False
        self.refused: dict[Target, Refused] = {}

    def settle(self) -> None:
        """Do it.

        :raises Refused: for a value that a record may not have. Where the storage rolls back,
            the caller has to see to it that it does; elsewhere :attr:`refused` tells which
            records have to be put back, and the links of all others are in line.
        """
        with self._rows.atomically():
            # Collections before files: who waits for these must not hold others up meanwhile.
            self._share_parents(self._touched.claimed)
            if self._touched.below:
                self._rows.lock_parents(self._touched.below)
                self._lock(None)
            # What a deletion takes away may have been copied elsewhere by the same batch.
            self._settle_records(self._targets())
            for uri in sorted(self._touched.below):
                self._settle_below(uri)
        if self.refused:
            raise next(iter(self.refused.values()))

    def _targets(self) -> list[Target]:
        """Where to look, in one order for everybody."""
        touched = self._touched.records
        announced = {target.record_id for target in self._touched.by_plugin}
        # Plugins have announced what they wrote under the ids of another place.
        touched |= set(self._rows.written_under(announced, self._touched.collections))
        return sorted(touched, key=lambda target: target.uri)

    def _settle_below(self, uri: str) -> None:
        """A bucket or a collection was deleted; it may be there again by now."""
        if not self._rows.exists(uri):
            self._rows.drop_left_behind(uri)
        for page in self._rows.below(uri):
            records = self._rows.touched([link.target for link in page]).records
            self._release(
                link
                for link in page
                if _is_ours_to_judge(records.get(link.record_uri))
                and not same(_value(records.get(link.record_uri)), link.value)
            )

    def _settle_records(self, targets: list[Target]) -> None:
        """Values are admitted before anything is released: what one record of a batch lets go
        of, another one may have taken over."""
        pages = [targets[n : n + PAGE] for n in range(0, len(targets), PAGE)]
        if len(pages) > 1:
            self._lock(None)
        held: list[Link] = []
        for page in pages:
            held += self._look(page)
        wanted: list[tuple[Target, Any]] = []
        doomed: list[Link] = []
        links: dict[str, list[Link]] = {}
        for link in held:
            links.setdefault(link.record_uri, []).append(link)
        for target in targets:
            row = self._records.get(target.uri)
            if not _is_ours_to_judge(row):
                continue
            value, own = _value(row), links.get(target.uri, [])
            kept = next((link for link in own if same(link.value, value)), None)
            if value is not None and kept is None:
                wanted.append((target, value))
            elif value is None and self._has_overwritten(target, own):
                raise Refused("replaced_meanwhile", record=target.record_id)
            doomed += [link for link in own if link is not kept]
        self._sources.let_go = doomed
        refused = self._admit_all(wanted)
        self._release(
            link for link in doomed if link.target not in refused or not self._comes_back(link)
        )

    def _comes_back(self, link: Link) -> bool:
        """Whether a record that is refused names this file again, once it is put back: not where
        an earlier request of the batch had deleted it already."""
        former = self._touched.former.get(link.target)
        return former is not None and same(former.value, link.value)

    def _has_overwritten(self, target: Target, links: list[Link]) -> bool:
        """Whether a file came to the record after this request had read it, without one, and
        before it has written that back."""
        former = self._touched.former.get(target)
        if not self._rolls_back or former is None or former.value is not None:
            return False
        return any(link.modified > former.record["last_modified"] for link in links)

    def _look(self, page: list[Target]) -> list[Link]:
        """Links of the records, read under the locks of all files that are at stake. Which ones
        these are is guessed first, and looked at once more where the guess was wrong."""
        guessed = self._guess(page)
        if guessed:
            self._lock(guessed)
        seen = self._rows.touched(page)
        missed = self._at_stake(page, seen.records, seen.links) - guessed
        if missed and not self._all_locked:
            self._lock(missed)
            seen = self._rows.touched(page)
        self._records.update(seen.records)
        return seen.links

    def _lock(self, file_ids: set[str] | None) -> None:
        if self._all_locked:
            return
        self._all_locked = file_ids is None
        found = self._rows.lock(file_ids)
        self._files.transaction_id = found or self._files.transaction_id

    def _guess(self, page: list[Target]) -> set[str]:
        said = chain.from_iterable(self._touched.claimed.get(target, ()) for target in page)
        found = {self._file_id(value) for value in said}
        if self._stored:
            found.add(self._stored.file_id)
        return {file_id for file_id in found if file_id}

    def _at_stake(
        self, page: list[Target], records: Mapping[str, RecordRow], links: list[Link]
    ) -> set[str]:
        """Files that come or go: those of every value that is not known to be unchanged."""
        found = set()
        for target in page:
            row = records.get(target.uri)
            if not _is_ours_to_judge(row):
                continue
            value, former = _value(row), self._touched.former.get(target)
            own = [link for link in links if link.record_uri == target.uri]
            found |= {link.file_id for link in own if not same(link.value, value)}
            if value is not None and not (former and same(former.value, value)):
                found.add(self._file_id(value) or "")
        return found - {""}

    def _admit_all(self, wanted: list[tuple[Target, Any]]) -> set[Target]:
        """Link values that their records have not had; returns the records that may not."""
        added = []
        # What this request has stored comes first: plugins may have copied it already.
        wanted.sort(key=lambda pair: not self._is_received(pair[0]))
        parents = self._locked_parents(target for target, _ in wanted)
        for target, value in wanted:
            try:
                if target.collection_uri not in parents:
                    raise Refused("collection_gone", record=target.record_id)
                added += self._admit(target, value)
            except Refused as error:
                if self._rolls_back:
                    raise
                self.refused[target] = error
        self._rows.add(added)
        return set(self.refused)

    def _locked_parents(self, targets: Iterable[Target]) -> set[str]:
        """The collections that are there, and stay so; for an upload that was seen to before
        Kinto looked."""
        uris = self._share_parents(targets)
        return self._rows.existing(uris - self._shared_before) | (uris & self._shared_before)

    def _share_parents(self, targets: Iterable[Target]) -> set[str]:
        uris = {target.collection_uri for target in targets}
        self._rows.share_parents(uris - self._shared)
        self._shared |= uris
        return uris

    def _admit(self, target: Target, value: Any) -> list[Link]:
        """The link of a value that is new to the record; nothing where it names no file of ours
        and may stay all the same.

        :raises Refused: it may not.
        """
        own = self._stored_now(target, value)
        if own:
            return [own]
        former = self._touched.former.get(target)
        if former is not None and same(former.value, value):
            if not former.linked:
                return []  # An import: it stays as it is, and opens nothing.
            # Another transaction took the file away, while this one held the record's old copy.
            raise Refused("replaced_meanwhile", record=target.record_id)
        file_id = self._file_id(value)
        found = self._sources.links_for(target, value, file_id) if file_id else []
        if found:
            return found
        if self._settings.accept_unknown_metadata:
            return []
        if self._sources.stays_unlinked(target, value, file_id):
            return []
        reason = "replaced_meanwhile" if self._came_meanwhile(target) else "forged_metadata"
        raise Refused(reason, record=target.record_id)

    def _came_meanwhile(self, target: Target) -> bool:
        """Whether Kinto has updated a record that was not there when the request began: what it
        has written is what another request had given the record in between."""
        met = target in self._touched.former
        return met and not self._touched.former[target] and target not in self._touched.created

    def _stored_now(self, target: Target, value: Any) -> Link | None:
        """The link of a file that this request has stored for this record.

        The store is asked once more, under the lock that gc takes too: a file whose form took
        long may have been removed as one that nothing names.
        """
        incoming, stored = self._incoming, self._stored
        if incoming is None or stored is None or stored.target != target:
            return None
        if not same(stored.value, value):
            return None
        if not self._store_has(stored.key, stored.attachment.size):
            raise Refused("file_lost", record=target.record_id)
        self._files.linked(stored.file_id, incoming)
        self._sources.uploaded = stored.link()
        return self._sources.uploaded

    def _is_received(self, target: Target) -> bool:
        return self._stored is not None and self._stored.target == target

    def _store_has(self, key: str, size: int) -> bool:
        if not isinstance(self._store, Readable):
            return True
        try:
            return self._store.stat(key).size == size
        except FileNotFoundError:
            return False
        except StoreError as error:
            raise Refused("store_unavailable") from error

    def _release(self, links: Iterable[Link]) -> None:
        """Remove links; a file that nothing holds any more goes after the commit.

        ``keep_old_files`` is a matter of each link that goes, whoever else holds the file.
        """
        removed, held = self._rows.remove(list(links))
        left, kept = [], set()
        for link in removed:
            if self._settings.policy_for(*link.target.place).keep_old_files:
                left.append(replace(link, state=State.KEPT))
                kept.add(link.file_id)
        going = {k.file_id: k for k in removed if k.file_id not in held and k.file_id not in kept}
        adopted = [link for link in going.values() if not keys.is_ours(link.key)]
        still = self._sources.published_keys([link.key for link in adopted])
        for link in going.values():
            if link.key in still:
                continue  # A link of 8.x or 9.x names it too.
            if link in adopted:
                # Should it be left over, no listing would show that it was ours.
                left.append(replace(link, state=State.RELEASED))
            self._files.discard(link.file_id, link.key)
        self._rows.add(left)

    def _file_id(self, value: Any) -> str | None:
        location = value.get("location") if isinstance(value, dict) else None
        return self._locations.file_id_in(location)


def _is_ours_to_judge(row: RecordRow | None) -> bool:
    """A record that is gone, or that this very transaction wrote: what others write is theirs,
    and their row may still change."""
    return row is None or row.written


def _value(row: RecordRow | None) -> Any:
    return row.value if row else None
