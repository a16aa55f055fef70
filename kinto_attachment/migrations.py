"""``kinto migrate``: the files of the published 8.x and 9.x, and of imports, get links of ours.

Row by row through Kinto's storage, in pages that are committed one by one: the process may be
killed and run again at any moment, beside a working server. What no record names is left as it
is, for ``kinto-attachment doctor`` to show.
"""

import logging
from dataclasses import dataclass
from typing import Any

from kinto.core.storage.postgresql import PostgreSQLPluginMigration
from kinto.core.utils import sqlalchemy
from pyramid.config import Configurator
from pyramid.settings import asbool

from kinto_attachment import adoption
from kinto_attachment.adoption import PublishedLink, PublishedLinks
from kinto_attachment.links import Link, same
from kinto_attachment.paging import page_by_page
from kinto_attachment.rows import RecordRow, rows_of
from kinto_attachment.server import Server

logger = logging.getLogger(__name__)

VERSION = 3
"""1 and 2 are the links of 8.x and 9.x."""


@dataclass
class Adopted:
    """What became of records whose file has no link of ours.

    :param moved: links of 8.x and 9.x that are ours now.
    :param left: those that no record names.
    :param found: records without any link whose file exists: they have one now.
    """

    moved: int = 0
    left: int = 0
    found: int = 0


class Migration(PostgreSQLPluginMigration):
    """What Kinto runs, after its own migrations, where records are in PostgreSQL."""

    name = "kinto_attachment"
    schema_version = VERSION

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def initialize_schema(self, client: Any, dry_run: bool = False) -> None:
        """Adopt, unless it was done before. Links that servers of 8.x or 9.x have written since
        are taken over each time."""
        self.client = client
        if asbool(self._registry.settings.get("readonly")):
            logger.error("Attachments cannot be migrated while in readonly mode.")
            return
        if not self._registry.storage.get_installed_version():
            return  # A dry run on an empty database.
        version = self.get_installed_version()
        adopter = Adopter(self._registry, dry_run)
        adopter.move_published()
        if version < VERSION:
            adopter.adopt_unlinked()
        done = adopter.done
        logger.info(
            "Attachments%s: %d links of 8.x and 9.x moved, %d that no record names left to doctor,"
            " %d records without a link adopted.",
            " (simulated)" if dry_run else "",
            done.moved,
            done.left,
            done.found,
        )
        if version < VERSION and not dry_run:
            self._note_version()

    def _note_version(self) -> None:
        statement = "INSERT INTO metadata (name, value) VALUES (:name, :value)"
        values = {"name": f"{self.name}_schema_version", "value": str(VERSION)}
        with self.client.connect(force_commit=True) as connection:
            connection.execute(sqlalchemy.text(statement), values)


def includeme(config: Configurator) -> None:
    """Register the migration."""
    config.add_migration(Migration(config.registry))


class Adopter:
    """Gives links to records that have none. Memory does not grow with their number."""

    def __init__(self, registry: Any, dry_run: bool) -> None:
        self._server: Server = registry.attachments
        self._storage = registry.storage
        self._rows = rows_of(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._dry_run = dry_run
        self.done = Adopted()

    def move_published(self) -> None:
        """The links of 8.x and 9.x become ours, where their record names their file."""
        for _ in page_by_page(self._published.pages(), self._move_page):
            pass  # Each page is committed.

    def _move_page(self, page: list[PublishedLink]) -> None:
        self._rows.lock(None)  # Whole pages of files: nobody lets one of them go meanwhile.
        values = self._rows.values([link.record_uri for link in page])
        for link in page:
            self._move(link, values.get(link.record_uri))

    def _move(self, link: PublishedLink, value: Any) -> None:
        ours = adoption.link_of(link.target, value, link.key) if link.backed_by(value) else None
        if ours is None:
            self.done.left += 1
            return
        self.done.moved += 1
        if not self._dry_run:
            self._rows.add([ours])
            self._published.remove(link)

    def adopt_unlinked(self) -> None:
        """Records that were imported, or copied by other plugins, where the file that they name
        has the SHA-256 that they say."""
        for page in page_by_page(self._rows.records_with_attachment(), self._unlinked):
            for row in page:
                self.done.found += self._adopt(row)

    def _adopt(self, row: RecordRow) -> bool:
        """Read the file, outside of any transaction, and link it if nothing has changed."""
        link = adoption.verified_link(
            self._server.settings, self._server.storage, row.target, row.value
        )
        if link is None or self._dry_run:
            return link is not None
        return adoption.adopt(self._rows, self._server.storage, link)

    def _unlinked(self, page: list[RecordRow]) -> list[RecordRow]:
        """Those of these records that no link backs, and that are not forged."""
        rows = [row for row in page if isinstance(row.value, dict)]
        held: dict[str, list[Link]] = {}
        for link in self._rows.of_records([row.target.uri for row in rows]):
            held.setdefault(link.record_uri, []).append(link)
        without = [
            row
            for row in rows
            if not any(same(link.value, row.value) for link in held.get(row.target.uri, []))
        ]
        if self._dry_run:  # Those whose link has yet to be moved are counted already.
            uris = [row.target.uri for row in without]
            moving = {link.record_uri for link in self._published.of_records(uris)}
            without = [row for row in without if row.target.uri not in moving]
        return [row for row in without if not self._is_forged(row.value)]

    def _is_forged(self, value: dict[str, Any]) -> bool:
        file_id = self._server.settings.file_id_in(value.get("location"))
        return adoption.is_forged(value, self._rows.to_files([file_id] if file_id else []))
