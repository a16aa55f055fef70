"""Unfinished uploads on PostgreSQL, in Kinto's table and transaction."""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from kinto_attachment.rows.interface import PAGE
from kinto_attachment.rows.postgresql import PostgreSQLRows
from kinto_attachment.rows.uploads import (
    ANNOUNCED,
    ENDED,
    PREFIX,
    RESOURCE,
    USAGE,
    Unfinished,
    Upload,
    Usage,
)
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.storage.postgresql.client import PostgreSQLClient


class PostgreSQLUploadRows:
    """By SQL of our own.

    :param client: the one of Kinto's storage, ``storage.client``.
    """

    def __init__(self, client: "PostgreSQLClient") -> None:
        self._rows = PostgreSQLRows(client)

    def atomically(self) -> AbstractContextManager[object]:
        """In one transaction, also where Kinto commits each step by itself."""
        return self._rows.atomically()

    def get(self, target: Target, upload_id: str, lock: bool = False) -> Upload | None:
        """The upload. One that ended while its lock was waited for is found by a second look: its
        row is another one then."""
        return self._get(target, upload_id, lock) or (
            self._get(target, upload_id, lock) if lock else None
        )

    def _get(self, target: Target, upload_id: str, lock: bool) -> Upload | None:
        statement = f"""
        SELECT o.id, o.data FROM objects o
         WHERE o.id = :id AND o.parent_id = :parent
           AND o.resource_name IN (:resource, :ended)
         {"FOR UPDATE" if lock else ""}
        """
        where = {"id": upload_id, "parent": f"{PREFIX}{target.uri}", **_NAMES}
        rows = self._rows.read(statement, **where)
        return Upload.of_row(rows[0].id, rows[0].data) if rows else None

    def write(self, upload: Upload) -> None:
        """One statement for new ones and for others, and one more for one that has ended."""
        if upload.resource == ENDED:
            self._remove(upload, RESOURCE)
        statement = """
        INSERT INTO objects (id, parent_id, resource_name, data, deleted)
        VALUES (:id, :parent, :resource, CAST(:data AS jsonb), FALSE)
        ON CONFLICT (id, parent_id, resource_name) DO UPDATE
           SET data = EXCLUDED.data, deleted = FALSE, last_modified = EXCLUDED.last_modified
        """
        self._rows.write(statement, **_of(upload), data=json.dumps(upload.row()))

    def remove(self, upload: Upload) -> None:
        """Without a tombstone."""
        for resource in (RESOURCE, ENDED):
            self._remove(upload, resource)

    def _remove(self, upload: Upload, resource: str) -> None:
        statement = """
        DELETE FROM objects
         WHERE id = :id AND parent_id = :parent AND resource_name = :resource
        """
        self._rows.write(statement, **{**_of(upload), "resource": resource})

    def lock_usage(self) -> None:
        """An advisory lock."""
        self._rows.read("SELECT pg_advisory_xact_lock(:kind, 0)", kind=USAGE)

    def usage(self, user_id: str | None, collection_uri: str) -> Usage:
        """What is unfinished: few rows, which an index finds by their resource name."""
        statement = f"""
        SELECT count(*) FILTER (WHERE data ->> 'user_id' IS NOT DISTINCT FROM :user
                  AND {_number("expires")} > :now
                  AND (CAST(:user AS text) IS NOT NULL OR starts_with(parent_id, :below))) AS own,
               coalesce(sum(greatest({_number("received")},
                   CASE WHEN {_number("created")} + {ANNOUNCED} > :now
                        THEN {_number("length")} ELSE 0 END)), 0) AS total
          FROM objects
         WHERE resource_name = :resource
        """
        below = f"{PREFIX}{collection_uri}/"
        (row,) = self._rows.read(
            statement, user=user_id, below=below, now=int(time.time()), resource=RESOURCE
        )
        return Usage(row.own, int(row.total))

    def unfinished(self) -> Unfinished:
        """In one look: there are few rows."""
        statement = f"""
        SELECT count(*) AS uploads, coalesce(sum({_number("received")}), 0) AS size,
               min({_number("created")}) AS oldest
          FROM objects
         WHERE resource_name = :resource AND {_number("expires")} > :now
        """
        (row,) = self._rows.read(statement, now=int(time.time()), resource=RESOURCE)
        return Unfinished(row.uploads, int(row.size), row.oldest)

    def everything(self) -> Iterator[list[Upload]]:
        """All of them, in the order of the primary key."""
        statement = f"""
        SELECT o.id, o.parent_id, o.data FROM objects o
         WHERE o.resource_name IN (:resource, :ended) AND (o.id, o.parent_id) > (:id, :parent)
         ORDER BY o.id, o.parent_id LIMIT {PAGE}
        """
        last = ("", "")
        while rows := self._rows.read(statement, id=last[0], parent=last[1], **_NAMES):
            last = rows[-1].id, rows[-1].parent_id
            yield [found for row in rows if (found := Upload.of_row(row.id, row.data))]


_NAMES = {"resource": RESOURCE, "ended": ENDED}


def _number(name: str) -> str:
    """A field that is a whole number, as SQL; NULL in a row that is damaged."""
    text = f"data ->> '{name}'"
    return f"(CASE WHEN {text} ~ '^[0-9]{{1,18}}$' THEN CAST({text} AS bigint) END)"


def _of(upload: Upload) -> dict[str, Any]:
    return {"id": upload.id, "parent": upload.parent, "resource": upload.resource}
