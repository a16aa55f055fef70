"""Rewrites the beginning of the ``location`` in records, as a user's update would.

Kinto itself writes each record, with schema, events, history and a new timestamp, in the same
transaction as the link. Nobody's permissions are asked for, and none are changed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import transaction
from kinto.core.storage.exceptions import BackendError
from pyramid.httpexceptions import (
    HTTPConflict,
    HTTPException,
    HTTPPreconditionFailed,
)

from kinto_attachment import keys, record_field
from kinto_attachment.attachments.locations import Locations
from kinto_attachment.plugin import Plugin
from kinto_attachment.records.writer import RecordWriter, reason
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.conflicts import passes
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.rows.paging import page_by_page

if TYPE_CHECKING:
    from kinto.core.types import Registry

ATTEMPTS = 20
"""How often a record is tried whose collection others write at the same moment."""


@dataclass(frozen=True)
class Move:
    """Which locations change, and how: those that begin with ``old`` will begin with ``new``.

    :param old: where empty, bare relative keys are meant, which clients append to the
        capability's ``base_url``.
    :param new: None where they are to become the plugin's own URLs.
    """

    old: str
    new: str | None

    def mistake(self) -> str | None:
        """Why this can't be meant, in a sentence, or None."""
        if self.new is None:
            return None
        if self.old == self.new:
            return "--from and --to are the same: nothing would change."
        if len({url.endswith("/") for url in (self.old or "/", self.new or "/")}) > 1:
            return "--from and --to must both end in / or neither; an empty one counts as ending."
        return None

    def of(self, location: object, own: str = "") -> str | None:
        """The new location; None where it does not change.

        :param own: the URL at which the plugin serves the file.
        """
        if not isinstance(location, str) or not location.startswith(self.old):
            return None
        if not self.old and re.match(r"[\w+.-]+://|/|buckets/", location):
            return None
        if self.new is None:
            return None if location == own else own
        if self.new.startswith(self.old) and location.startswith(self.new):
            return None  # It was changed before.
        return self.new + location.removeprefix(self.old)


@dataclass(frozen=True)
class Change:
    """A link, and the ``attachment`` that its record is to have."""

    link: Link
    value: dict[str, Any]

    def is_said(self, value: Any) -> bool:
        """Whether a record says so, before or after the change."""
        return same(value, self.link.value) or same(value, self.value)

    def refusal(self) -> str | None:
        """Why this would do harm, in a sentence, or None."""
        carried = keys.id_in_location(self.link.value["location"])
        if carried and keys.id_in_location(self.value["location"]) != carried:
            return "its location would lose the file's id: write a shorter --from."
        return None


@dataclass
class RelocationReport:
    """What changes, or was changed: ``records``, and ``kept`` old files, which have none."""

    records: int = 0
    kept: int = 0
    refused: int = 0

    def count(self, change: Change) -> None:
        """One more."""
        self.kept += change.link.kept
        self.records += not change.link.kept


class Relocation:
    """One run through all links of a database.

    :param registry: the command's own application: it lets everyone write records from now on.
    :param refused: called with the URI of a record that was not changed, and the reason.
    :param tick: called with the number of links that were looked at.
    :param within: refuses what would come to lie outside of these; None lets everything be.
    """

    def __init__(
        self,
        registry: "Registry",
        move: Move,
        refused: Callable[[str, str], object],
        tick: Callable[[int], object] = lambda _: None,
        within: Locations | None = None,
    ) -> None:
        self._writer = RecordWriter(registry)
        self._rows = rows_of(registry.storage)
        self._locations = Plugin.of_registry(registry).locations
        self._move = move
        self._refused = refused
        self._tick = tick
        self._within = within

    def changes(self, report: RelocationReport) -> Iterator[Change]:
        """What is to change; ``report`` counts what can't be.

        A change may be applied while iterating: links keep their places, which pages go by.
        """
        for looked_at, found in page_by_page(self._rows.everything(), self._found):
            self._tick(looked_at)
            for change in found:
                refusal = change.refusal() or self._outside(change)
                if refusal:
                    self._refuse(change, refusal, report)
                else:
                    yield change

    def apply(self, change: Change, report: RelocationReport) -> None:
        """Write record and link in one transaction; ``report`` counts.

        Nothing is done where the record has changed or gone meanwhile.
        """
        for _ in range(ATTEMPTS):
            try:
                with transaction.manager:
                    done = self._write(change)
            except (HTTPConflict, HTTPPreconditionFailed):
                continue  # Others write to the collection at this moment.
            except BackendError as error:
                if not passes(error):
                    raise
                continue
            except HTTPException as error:
                self._refuse(change, reason(error), report)
                return
            if done:
                report.count(change)
            return
        self._refuse(change, "others write it all the time: run it again.", report)

    def _outside(self, change: Change) -> str | None:
        location = change.value["location"]
        if self._within is None or not self._within.is_outside(location):
            return None
        return f"its location would be outside the ini's base_url: {location}"

    def _refuse(self, change: Change, reason: str, report: RelocationReport) -> None:
        report.refused += 1
        self._refused(change.link.record_uri, reason)

    def _found(self, page: list[Link]) -> tuple[int, list[Change]]:
        return len(page), self._backed([c for link in page if (c := self._change(link))])

    def _change(self, link: Link) -> Change | None:
        own = self._locations.of(link.key, link.record_uri, link.file_id, False, "")
        location = self._move.of(link.value.get("location"), own)
        if location is None or link.state is State.RELEASED:
            return None
        return Change(link, {**link.value, "location": location})

    def _backed(self, changes: list[Change]) -> list[Change]:
        """Without those whose record says something else: it is changing, or the link is gc's."""
        found = [change for change in changes if change.link.kept]
        named = [change for change in changes if not change.link.kept]
        values = self._rows.values([change.link.record_uri for change in named])
        return found + [c for c in named if c.is_said(values.get(c.link.record_uri))]

    def _write(self, change: Change) -> bool:
        """Whether there was something to write. The link comes first: Kinto's update is judged
        by it."""
        link, record = change.link, None
        if not link.kept:
            record = self._writer.locked(link.target)
            if record is None or not change.is_said(record.attachment):
                return False
        self._rows.lock([link.file_id])
        removed, _ = self._rows.remove([link])
        if not removed:
            return False
        self._rows.add([replace(link, value=change.value)])
        if record and same(record.attachment, link.value):
            body = record_field.change_to(change.value)
            self._writer.patch(link.target, record.last_modified, body)
        return True
