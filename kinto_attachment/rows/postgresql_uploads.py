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
        """The upload."""
        statement = f"""
        SELECT o.id, o.data FROM objects o
         WHERE o.id = :id AND o.parent_id = :parent AND o.resource_name = :resource
         {"FOR UPDATE" if lock else ""}
        """
        where = {"id": upload_id, "parent": f"{PREFIX}{target.uri}", "resource": RESOURCE}
        rows = self._rows.read(statement, **where)
        return Upload.of_row(rows[0].id, rows[0].data) if rows else None

    def write(self, upload: Upload) -> None:
        """One statement for new ones and for others."""
        statement = """
        INSERT INTO objects (id, parent_id, resource_name, data, deleted)
        VALUES (:id, :parent, :resource, CAST(:data AS jsonb), FALSE)
        ON CONFLICT (id, parent_id, resource_name) DO UPDATE
           SET data = EXCLUDED.data, deleted = FALSE, last_modified = EXCLUDED.last_modified
        """
        self._rows.write(statement, **_of(upload), data=json.dumps(upload.row()))

    def remove(self, upload: Upload) -> None:
        """Without a tombstone."""
        statement = """
        DELETE FROM objects
         WHERE id = :id AND parent_id = :parent AND resource_name = :resource
        """
        self._rows.write(statement, **_of(upload))

    def lock_usage(self) -> None:
        """An advisory lock."""
        self._rows.read("SELECT pg_advisory_xact_lock(:kind, 0)", kind=USAGE)

    def usage(self, user_id: str | None, collection_uri: str) -> Usage:
        """What is unfinished: few rows, which an index finds by their resource name."""
        statement = f"""
        SELECT count(*) FILTER (WHERE data ->> 'user_id' IS NOT DISTINCT FROM :user
                  AND (CAST(:user AS text) IS NOT NULL OR starts_with(parent_id, :below))) AS own,
               coalesce(sum(greatest(CAST(data ->> 'received' AS bigint),
                   CASE WHEN CAST(data ->> 'created' AS bigint) + {ANNOUNCED} > :now
                        THEN CAST(data ->> 'length' AS bigint) ELSE 0 END)), 0) AS total
          FROM objects
         WHERE resource_name = :resource AND data ->> 'status' = 'open'
           AND CAST(data ->> 'expires' AS bigint) > :now
        """
        below = f"{PREFIX}{collection_uri}/"
        (row,) = self._rows.read(
            statement, user=user_id, below=below, now=int(time.time()), resource=RESOURCE
        )
        return Usage(row.own, int(row.total))

    def unfinished(self) -> Unfinished:
        """In one look: there are few rows."""
        statement = """
        SELECT count(*) AS uploads, coalesce(sum(CAST(data ->> 'received' AS bigint)), 0) AS size,
               min(CAST(data ->> 'created' AS bigint)) AS oldest
          FROM objects
         WHERE resource_name = :resource AND data ->> 'status' = 'open'
           AND CAST(data ->> 'expires' AS bigint) > :now
        """
        (row,) = self._rows.read(statement, now=int(time.time()), resource=RESOURCE)
        return Unfinished(row.uploads, int(row.size), row.oldest)

    def everything(self) -> Iterator[list[Upload]]:
        """All of them, in the order of the primary key."""
        statement = f"""
        SELECT o.id, o.parent_id, o.data FROM objects o
         WHERE o.resource_name = :resource AND (o.id, o.parent_id) > (:id, :parent)
         ORDER BY o.id, o.parent_id LIMIT {PAGE}
        """
        last = ("", "")
        while rows := self._rows.read(statement, resource=RESOURCE, id=last[0], parent=last[1]):
            last = rows[-1].id, rows[-1].parent_id
            yield [Upload.of_row(row.id, row.data) for row in rows]


def _of(upload: Upload) -> dict[str, Any]:
    return {"id": upload.id, "parent": upload.parent, "resource": RESOURCE}
