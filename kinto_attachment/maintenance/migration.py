"""``kinto migrate``: the files of the published 8.x and 9.x, and of imports, get links of ours.

Row by row through Kinto's storage, in pages that are committed one by one: the process may be
killed and run again at any moment, beside a working server. What no record names is left as it
is, for ``kinto-attachment doctor`` to show.

A little above 200 lines: the steps of one migration, in their order.
"""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import transaction
from kinto.core.storage.postgresql import PostgreSQLPluginMigration
from kinto.core.utils import sqlalchemy
from pyramid.config import Configurator
from pyramid.settings import asbool

from kinto_attachment.attachments import adoption, custody
from kinto_attachment.attachments.adoption import PublishedLink, PublishedLinks
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.interface import RecordRow
from kinto_attachment.rows.links import Link, same
from kinto_attachment.rows.paging import page_by_page
from kinto_attachment.storage import StoreError
from kinto_attachment.storage.time_limit import patient

if TYPE_CHECKING:
    from kinto.core.storage.postgresql.client import PostgreSQLClient
    from kinto.core.types import Registry

logger = logging.getLogger(__name__)

TOLD_EVERY = 5.0
"""Seconds between two lines in the log that tell how far it is."""

VERSION = 3
"""1 and 2 are the links of 8.x and 9.x."""


BARE_KEYS = (
    "This server has no base_url, so clients do not find files whose location is a bare key, as"
    " 8.x and 9.x have written them. Have base_url and extra.base_url as they were, or make them"
    " URLs of this server: kinto-attachment relocate --from '' --own --apply"
)


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

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry

    def initialize_schema(self, client: "PostgreSQLClient", dry_run: bool = False) -> None:
        """Adopt, unless it was done before. Links that servers of 8.x or 9.x have written since
        are taken over each time."""
        self.client = client
        if asbool(self._registry.settings.get("readonly")):
            logger.error("Attachments cannot be migrated while in readonly mode.")
            return
        if not self._registry.storage.get_installed_version():
            return  # A dry run on an empty database.
        with patient(Plugin.of_registry(self._registry).store):
            self._adopt(dry_run)

    def _adopt(self, dry_run: bool) -> None:
        version = self.get_installed_version()
        adopter = Adopter(self._registry, dry_run)
        adopter.link_published()
        refusal = _refusal(self._registry)
        if refusal:
            logger.error("Records without a link are left for the next run: %s", refusal)
        elif version < VERSION or adopter.done.moved:
            # Copies of what was moved just now, too: servers of 8.x or 9.x may still run.
            adopter.adopt_unlinked()
        if not refusal:
            adopter.drop_published()
        done = adopter.done
        if done.moved and Plugin.of_registry(self._registry).settings.base_url is None:
            logger.warning(BARE_KEYS)
        logger.info(
            "Attachments%s: %d links of 8.x and 9.x moved, %d that no record names left to doctor,"
            " %d records without a link adopted.",
            " (simulated)" if dry_run else "",
            done.moved,
            done.left,
            done.found,
        )
        if version < VERSION and not (dry_run or refusal):
            self._note_version()

    def _note_version(self) -> None:
        statement = "INSERT INTO metadata (name, value) VALUES (:name, :value)"
        values = {"name": f"{self.name}_schema_version", "value": str(VERSION)}
        with self.client.connect(force_commit=True) as connection:
            connection.execute(sqlalchemy.text(statement), values)


def _refusal(registry: "Registry") -> str | None:
    """Why files can't be looked at now; an application without its store starts, too."""
    try:
        return custody.refusal(Plugin.of_registry(registry).custody)
    except StoreError as error:
        return str(error)


def is_due(registry: "Registry") -> bool:
    """Whether there are links of 8.x or 9.x, and ``kinto migrate`` was never run to its end: then
    our links do not tell of all files."""
    with transaction.manager:
        if not PublishedLinks(registry.storage).any():
            return False
    migration = Migration(registry)
    migration.client = registry.storage.client
    return bool(migration.get_installed_version() < VERSION)


def includeme(config: Configurator) -> None:
    """Register the migration."""
    config.add_migration(Migration(config.registry))


class Adopter:
    """Gives links to records that have none. Memory does not grow with their number."""

    def __init__(self, registry: "Registry", dry_run: bool) -> None:
        self._plugin = Plugin.of_registry(registry)
        self._storage = registry.storage
        self._rows = rows_of(registry.storage)
        self._published = PublishedLinks(registry.storage)
        self._dry_run = dry_run
        self._told_at = time.monotonic()
        self._looked_at = 0
        self.done = Adopted()

    def link_published(self) -> None:
        """Records get links of ours after those of 8.x and 9.x, where they name their file.

        The old ones stay until all is done: as long as one names a file it does not go, so a
        copy that is still to be adopted does not lose it with the original.
        """
        for _ in page_by_page(self._published.pages(), self._link_page):
            pass  # Each page is committed.

    def _link_page(self, page: list[PublishedLink]) -> None:
        if not self._dry_run:
            self._rows.lock(None)  # Nobody lets a file of this page go meanwhile.
        values = self._rows.values([link.record_uri for link in page])
        made = [self._made(link, values.get(link.record_uri)) for link in page]
        found = [link for link in made if link is not None]
        self._tell(len(page))
        self.done.moved += len(found)
        self.done.left += len(page) - len(found)
        if not self._dry_run:
            self._rows.add(found)

    def _made(self, link: PublishedLink, value: Any) -> Link | None:
        return adoption.link_of(link.target, value, link.key) if link.backed_by(value) else None

    def drop_published(self) -> None:
        """The links of 8.x and 9.x go whose record has one of ours to the same file."""
        for _ in page_by_page(self._published.pages(), self._drop_page):
            pass

    def _drop_page(self, page: list[PublishedLink]) -> None:
        ours = self._rows.of_records([link.record_uri for link in page])
        named = {(link.record_uri, link.key) for link in ours}
        for link in page:
            if (link.record_uri, link.key) in named and not self._dry_run:
                self._published.remove(link)

    def adopt_unlinked(self) -> None:
        """Records that were imported, or copied by other plugins, where the file that they name
        has the SHA-256 that they say."""
        for page in page_by_page(self._rows.records_with_attachment(), self._unlinked):
            for row in page:
                self.done.found += self._adopt(row)
                self._tell(1)

    def _tell(self, looked_at: int) -> None:
        """Nobody should wonder for minutes whether it still works."""
        self._looked_at += looked_at
        if time.monotonic() - self._told_at >= TOLD_EVERY:
            self._told_at = time.monotonic()
            logger.info(
                "Attachments: %d links and records without a link looked at, it goes on.",
                self._looked_at,
            )

    def _adopt(self, row: RecordRow) -> bool:
        """Read the file, outside of any transaction, and link it if nothing has changed.

        Only a file whose key carries no id of ours: with one, a missing link means that the
        file was replaced, or never belonged to the record.
        """
        key = self._plugin.locations.foreign_key_in(row.value.get("location"))
        link = adoption.verified_link(self._plugin.store, row.target, row.value, key)
        if link is None or self._dry_run:
            return link is not None
        return adoption.adopt(self._rows, self._plugin.store, link)

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
        if self._dry_run:  # Those that have an old link are counted already.
            uris = [row.target.uri for row in without]
            moving = {link.record_uri for link in self._published.of_records(uris)}
            without = [row for row in without if row.target.uri not in moving]
        return [row for row in without if not self._is_forged(row.value)]

    def _is_forged(self, value: dict[str, Any]) -> bool:
        file_id = self._plugin.locations.file_id_in(value.get("location"))
        return adoption.is_forged(value, self._rows.to_files([file_id] if file_id else []))
