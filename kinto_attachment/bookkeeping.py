"""Keeps record, link and file in agreement: what the listeners do for one request."""

from dataclasses import replace
from typing import Any

from pyramid.request import Request

from kinto_attachment import keys
from kinto_attachment.adoption import PublishedLinks
from kinto_attachment.attachments import Target
from kinto_attachment.errors import Refused
from kinto_attachment.files import Files
from kinto_attachment.links import PAGE, Link, Links
from kinto_attachment.records import find, may_read

FEW = 25
"""Deleted records that are looked at one by one; more go by pages."""


class Bookkeeping:
    """The links of the records that a request touched, and the files that go with them."""

    def __init__(self, request: Request) -> None:
        server = request.registry.attachments
        self._request = request
        self._settings = server.settings
        self._links = Links(request.registry.storage)
        self._rolls_back = server.rolls_back
        self._files = Files.current(server.storage, server.rolls_back)

    def record_created(self, target: Target, new: Any, payload: Any) -> None:
        """A record was created with an attachment: as :meth:`record_updated`, but it can hold
        nothing yet. What a fault has left under its URI is gc's.

        :raises Refused: for a value that is not one of ours; no link was touched then.
        """
        self._admit(target, None, new, payload)

    def record_updated(self, target: Target, old: Any, new: Any, payload: Any) -> None:
        """A record was updated: judge its new value, then settle its links.

        Judged by value and by nothing else: unchanged, stored by this very request, equal to a
        file that this server stored and that the caller may read, or removed.

        The links are read even where there is no attachment to be seen: another transaction
        may have added one that this one's older copy of the record has just overwritten.

        :param old: the record's former ``attachment``, or None.
        :param new: the present one, or None.
        :raises Refused: for any other value; no link was touched then.
        """
        held = self._links.of_record(target.uri)
        kept = next((link for link in held if link.value == new), None)
        if new is not None and kept is None:
            if held and old == new:
                raise Refused("replaced_meanwhile", record=target.record_id)
            kept = self._admit(target, old, new, payload)
        self._release([link for link in held if link != kept])

    def records_deleted(self, gone: list[tuple[Target, Any]]) -> None:
        """Records were deleted; ``gone`` has each one's last ``attachment``, or None."""
        if len(gone) <= FEW:
            for target, _ in gone:
                self._settle_deleted(target)
            return
        values = [value for _, value in gone if isinstance(value, dict)]
        found = {self._settings.file_id_in(value.get("location")) for value in values}
        file_ids = [file_id for file_id in found if file_id]
        uris = {target.uri for target, _ in gone}
        for start in range(0, len(file_ids), PAGE):
            holders = self._links.of_files(file_ids[start : start + PAGE])
            self._release([link for link in holders if link.record_uri in uris and not link.kept])

    def deleted_below(self, uri: str) -> None:
        """A bucket or a collection was deleted, and all its records with it.

        Kinto deletes at most ``storage_max_fetch_size`` rows, and leaves the rest behind to
        come back when the collection is made anew. So where files go, all records go here,
        whatever their number.
        """
        collections: set[str] = set()
        for page in self._links.below(uri):
            self._release(page, below=uri)
            collections |= {link.target.collection_uri for link in page}
        storage = self._request.registry.storage
        for collection_uri in collections:
            where = {"resource_name": "record", "parent_id": collection_uri}
            while storage.delete_all(with_deleted=False, **where):
                pass  # A page of as many as Kinto deletes at once.

    def put_back(self, target: Target, old: dict[str, Any] | None) -> None:
        """Undo a refused change where the storage can't roll back."""
        if self._rolls_back:
            return
        storage = self._request.registry.storage
        where = {"resource_name": "record", "parent_id": target.collection_uri}
        if old is None:
            storage.delete(object_id=target.record_id, with_deleted=False, **where)
        else:
            former = {k: v for k, v in old.items() if k != "last_modified"}
            storage.update(object_id=target.record_id, obj=former, **where)

    def _admit(self, target: Target, old: Any, new: Any, payload: Any) -> Link | None:
        """Write the link of a value that is new to the record; None where it has no file here."""
        location = new.get("location") if isinstance(new, dict) else None
        file_id = self._settings.file_id_in(location)
        stored = self._files.created.get(file_id or "")
        if stored and stored.target == target and stored.value == new:
            link = Link.of(stored)
            self._links.add(link)
            self._files.publish(stored.file_id)
            self._files.linked.add(target.uri)
            return link
        shared = self._share(target, new, file_id, payload) if file_id else None
        if shared:
            return shared
        if old == new and keys.id_in_location(location):
            # The file went in another transaction, while this one held the record's old copy.
            raise Refused("replaced_meanwhile", record=target.record_id)
        if old == new or self._settings.values["accept_unknown_metadata"]:
            return None
        if file_id and self._copies_published(location, new, payload):
            return None  # The migration finds it, as it finds the other one.
        raise Refused("forged_metadata", record=target.record_id)

    def _may_copy(self, source: Target, payload: Any) -> bool:
        by_plugin = str(payload.get("user_id") or "").startswith("plugin:")
        return by_plugin or may_read(self._request, source)

    def _copies_published(self, location: Any, new: Any, payload: Any) -> bool:
        """Whether the value is one of a record of 8.x or 9.x that has not been migrated yet."""
        key = self._settings.key_in(location)
        published = PublishedLinks(self._request.registry.storage)
        return any(
            (find(self._request, link.target) or {}).get("attachment") == new
            and self._may_copy(link.target, payload)
            for link in published.to_files([key] if key else [])
        )

    def _share(self, target: Target, new: Any, file_id: str, payload: Any) -> Link | None:
        """A copy of a record that names one of our files: one more link to the same file."""
        for link in self._links.of_files([file_id]):
            if link.value != new or link.kept or not self._may_copy(link.target, payload):
                continue
            if self._links.hold(link):
                copy = replace(link, record_uri=target.uri)
                self._links.add(copy)
                self._files.linked.add(target.uri)
                return copy
        return None

    def _settle_deleted(self, target: Target) -> None:
        held = self._links.of_record(target.uri)
        if target.uri in self._files.linked:
            # Deleted and created again in one batch: Kinto tells of both in the wrong order.
            value = (find(self._request, target) or {}).get("attachment")
            held = [link for link in held if link.value != value]
        self._release(held)

    def _release(self, links: list[Link], below: str | None = None) -> None:
        """Remove links; a file that nothing holds any more goes after the commit.

        Who else holds a file is looked at when the links are gone, for only then all copies
        that were under way have been committed or given up.

        :param below: all links are below this URI, so they may be removed at once.
        """
        removed = self._remove_at_once(links, below) if below else self._remove(links)
        if not removed:
            return
        holders = self._links.of_files({link.file_id for link in removed})
        going = {(link.file_id, link.record_uri) for link in removed}
        again = [k for k in holders if (k.file_id, k.record_uri) in going and not k.kept]
        self._remove(again)  # A copy has locked, and so rewritten, them meanwhile.
        held = {link.file_id for link in holders if link not in again}
        for link in removed:
            if link.file_id not in held:
                self._discard(link)

    def _remove(self, links: list[Link]) -> list[Link]:
        return [link for link in links if self._links.remove(link)]

    def _remove_at_once(self, links: list[Link], below: str) -> list[Link]:
        """As :meth:`_remove`, in one statement, but for what neighbours share."""
        shared: set[str] = set()
        if "_" in below:
            holders = self._links.of_files({link.file_id for link in links})
            shared = {k.file_id for k in holders if not k.parent.startswith(f"{below}/")}
        alone = [link for link in links if link.file_id not in shared]
        if alone:
            self._links.remove_below(below, [link.file_id for link in alone])
        return alone + self._remove([link for link in links if link.file_id in shared])

    def _discard(self, link: Link) -> None:
        place = link.target
        if self._settings.policy_for(place.bucket_id, place.collection_id).keep_old_files:
            self._links.add(replace(link, kept=True))
        else:
            self._files.discard(link.key)
