"""Which records, collections and buckets a request touched. Nothing here is believed.

Events, URLs and old copies only say *where* to look at the end of the request: what counts is
what the rows say then (reconciling.py). Kinto's events can be partial, late, of members of a
batch that were rolled back, or told by a plugin under another place's ids.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kinto.core.events import ACTIONS, ResourceChanged
from pyramid.request import Request

from kinto_attachment import record_field
from kinto_attachment.rows.links import same
from kinto_attachment.targets import Target

_KEY = "attachment.touched"


@dataclass(frozen=True)
class Former:
    """A record as it was when the request first met it.

    :param record: a copy, since Kinto's merge-patch changes the stored one in place.
    :param linked: whether a link tied its ``attachment`` to a file then.
    :param permissions: those of the record, where they may have to be put back; else None.
    """

    record: dict[str, Any]
    linked: bool
    permissions: dict[str, Any] | None = None

    @property
    def value(self) -> Any:
        """Its ``attachment``, or None."""
        return record_field.value_of(self.record)


@dataclass
class Touched:
    """What one request, or one batch, touched.

    :param by_user: records that the caller's own requests were about.
    :param by_plugin: records that a plugin announced.
    :param below: URIs of deleted collections and buckets.
    :param collections: URIs of all collections that were named, for whatever reason.
    :param former: of records in the URLs of writing requests; None where there was none.
    :param created: records of which an event says that they are new.
    :param claimed: the values that events gave to a record, as a hint which files are at stake.
    """

    by_user: set[Target] = field(default_factory=set)
    by_plugin: set[Target] = field(default_factory=set)
    below: set[str] = field(default_factory=set)
    collections: set[str] = field(default_factory=set)
    former: dict[Target, Former | None] = field(default_factory=dict)
    created: set[Target] = field(default_factory=set)
    claimed: dict[Target, list[Any]] = field(default_factory=dict)

    @classmethod
    def begin(cls, request: Request) -> "Touched":
        """Start to collect for a request and its sub-requests."""
        request.bound_data[_KEY] = touched = cls()
        return touched

    @classmethod
    def of(cls, request: Request) -> "Touched | None":
        """What is collected; None for a request that came past our tween."""
        found: Touched | None = request.bound_data.get(_KEY)
        return found

    @property
    def records(self) -> set[Target]:
        """All of them, by whoever."""
        return self.by_user | self.by_plugin | set(self.former)

    def __bool__(self) -> bool:
        return bool(self.by_user or self.by_plugin or self.below or self.former)

    def meet(self, target: Target, former: Former | None) -> None:
        """A writing request names this record in its URL, for the first time."""
        self.former[target] = former

    def hear(self, event: ResourceChanged) -> None:
        """Take from an event where to look."""
        payload = event.payload or {}
        name, deleted = payload.get("resource_name"), payload.get("action") == _DELETE
        if name == "record":
            self._hear_records(payload, event.impacted_objects)
        elif name == "collection":
            ids = _ids(event.impacted_objects)
            named = {f"/buckets/{payload['bucket_id']}/collections/{i}" for i in ids}
            self.collections |= named
            self.below |= named if deleted else set()
        elif name == "bucket" and deleted:
            self.below |= {f"/buckets/{i}" for i in _ids(event.impacted_objects)}

    def _hear_records(self, payload: dict[str, Any], changes: list[dict[str, Any]]) -> None:
        by_plugin = str(payload.get("user_id") or "").startswith("plugin:")
        heard = self.by_plugin if by_plugin else self.by_user
        for change in changes:
            old, new = change.get("old") or {}, change.get("new") or {}
            for record_id in filter(None, {old.get("id"), new.get("id")}):
                target = Target(payload["bucket_id"], payload["collection_id"], record_id)
                heard.add(target)
                if payload.get("action") == _CREATE:
                    self.created.add(target)
                self.collections.add(target.collection_uri)
                if not same(record_field.value_of(old), record_field.value_of(new)):
                    said = self.claimed.setdefault(target, [])
                    said += [copy.deepcopy(record_field.value_of(side)) for side in (old, new)]


_CREATE, _DELETE = ACTIONS.CREATE.value, ACTIONS.DELETE.value


def _ids(changes: list[dict[str, Any]]) -> Iterator[str]:
    for change in changes:
        for side in ("old", "new"):
            if found := (change.get(side) or {}).get("id"):
                yield found
