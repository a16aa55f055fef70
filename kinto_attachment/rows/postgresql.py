"""Links and records on PostgreSQL: statements of our own, in Kinto's table and transaction.

Long: every statement stands in one file, where its locks can be compared with the others.
"""

import contextlib
import json
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kinto.core.storage.exceptions import BackendError, IntegrityError
from kinto.core.utils import sqlalchemy

from kinto_attachment import record_field
from kinto_attachment.rows.interface import PAGE, LockedRecord, RecordRow, TouchedRows, targets_in
from kinto_attachment.rows.links import RESOURCE, Link, State
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.storage.postgresql.client import PostgreSQLClient

FILES, RECORDS, BUCKETS = 0x6B614001, 0x6B614002, 0x6B614003
"""Classes of our advisory locks: of files, of records that may not exist, and of what is in
buckets. The last are shared by those who write into them. (Locks of the collections' rows would
meet those of plugins that write into a collection's metadata whenever a record changes.)"""

SHARES = 256
"""Locks that all files, or all buckets, have together. A lock for each of 10,000 files would
exhaust PostgreSQL's table; two files that have the same one only wait for each other's commit."""

ISOLATION = (
    "Attachments need PostgreSQL's isolation level READ COMMITTED, its default: remove"
    " kinto.storage_isolation_level, or the database's default_transaction_isolation."
)

LOCKED_SINGLY = 100
"""Files that are locked by their own shares; a transaction with more of them takes all."""

_LINK = """o.id, o.parent_id, as_epoch(o.last_modified) AS modified, o.data"""
_OURS = "o.resource_name = 'attachments' AND o.parent_id >= '/' AND o.parent_id < '0'"
"""Not those of 9.x, which have the same resource name and another parent. 0 follows /."""
_HOLDING = """o.parent_id >= '/attached/' AND o.parent_id < '/attached0'
     OR o.parent_id >= '/kept/' AND o.parent_id < '/kept0'"""
_HELD_ROWS = f"o.resource_name = 'attachments' AND ({_HOLDING})"
_COLLECTION = """('/buckets/' || split_part(o.parent_id, '/', 4)
     || '/collections/' || split_part(o.parent_id, '/', 6))"""
_SINCE = """((CAST(CAST(r.xmin AS text) AS bigint) - mine.began) % 4294967296 + 4294967296)
     % 4294967296"""
_OWN = f"""CASE
     WHEN mine.began IS NULL OR {_SINCE} >= 2147483648 THEN FALSE
     WHEN {_SINCE} = 0 OR mine.began + {_SINCE} >= mine.ahead THEN TRUE
     ELSE pg_xact_status(CAST(CAST(mine.began + {_SINCE} AS text) AS xid8)) = 'in progress' END"""
"""Whether the running transaction wrote a row, in a savepoint of its own perhaps, which has an id
later than the transaction's. What others wrote is visible only when they have committed: so a row
that can be seen, and whose writer is still in progress, or has no end that the snapshot knows of,
is ours."""
_MINE = """(SELECT CAST(CAST(pg_current_xact_id_if_assigned() AS text) AS bigint) AS began,
     CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS ahead) AS mine"""
_GIVEN = "unnest(CAST(:parents AS text[]), CAST(:ids AS text[])) AS t(parent, id)"
_RECORD = "r.parent_id = t.parent AND r.id = t.id AND r.resource_name = 'record'"


class PostgreSQLRows:
    """Links and records by SQL of our own, in the transaction of Kinto's session.

    :param client: the one of Kinto's storage, ``storage.client``.
    """

    def __init__(self, client: "PostgreSQLClient") -> None:
        self._client = client
        self._commits_each_step = bool(client.commit_manually)
        self._session: Any = None

    @contextlib.contextmanager
    def atomically(self) -> Iterator[None]:
        """The request's transaction; one of our own where Kinto commits each step by itself."""
        if not self._commits_each_step or self._session is not None:
            yield  # The request's own transaction is one already.
            return
        session = self._client.session_factory.session_factory()
        self._session = session
        try:
            with _kintos_errors():
                yield
                session.commit()
        finally:
            self._session = None
            session.close()

    def turn(self) -> contextlib.nullcontext[None]:
        """Nothing to wait for: rows are locked instead."""
        return contextlib.nullcontext()

    def outcome(self, transaction_id: str) -> bool | None:
        """Whether a transaction was committed. Asks over a connection of its own: the one of the
        transaction may be lost."""
        engine = self._client.session_factory.session_factory.kw["bind"]
        statement = sqlalchemy.text("SELECT pg_xact_status(CAST(:xid AS xid8)) AS status")
        try:
            with engine.connect() as connection:
                status = connection.execute(statement, {"xid": transaction_id}).scalar()
        except sqlalchemy.exc.SQLAlchemyError:
            return None
        return {"committed": True, "aborted": False}.get(status)

    def identity(self) -> dict[str, Any] | None:
        """What tells this database from others: PostgreSQL's cluster, and its database there.

        Both are others in a dump that was restored; a physical clone has the same.
        """
        may_look = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE') AS may"
        cluster = "(SELECT CAST(system_identifier AS text) FROM pg_control_system())"
        if not self.read(may_look)[0].may:
            cluster = "'unknown'"
        statement = f"""
        SELECT {cluster} AS cluster, CAST(oid AS bigint) AS number, datname AS name
          FROM pg_database WHERE datname = current_database()
        """
        (row,) = self.read(statement)
        return {"cluster": row.cluster, "database": row.number, "name": row.name}

    # Links

    def of_records(self, record_uris: Collection[str]) -> list[Link]:
        """The links of these records."""
        statement = f"""
        SELECT {_LINK} FROM objects o
         WHERE o.resource_name = 'attachments' AND o.parent_id = ANY(CAST(:parents AS text[]))
        """
        parents = [f"{State.HELD}{uri}" for uri in record_uris]
        return _links(self.read(statement, parents=parents)) if parents else []

    def to_files(self, file_ids: Collection[str]) -> list[Link]:
        """The links to these files."""
        statement = f"""
        SELECT {_LINK} FROM objects o WHERE o.id = ANY(CAST(:ids AS text[])) AND {_OURS}
         ORDER BY o.id, o.parent_id
        """
        return _links(self.read(statement, ids=list(file_ids))) if file_ids else []

    def held(self, file_ids: Collection[str]) -> set[str]:
        """Those of these files that a record names or that are kept."""
        statement = f"""
        SELECT wanted.id FROM unnest(CAST(:ids AS text[])) AS wanted(id)
         WHERE EXISTS (SELECT 1 FROM objects o WHERE o.id = wanted.id
                          AND {_HELD_ROWS})
        """
        return {row.id for row in self.read(statement, ids=list(file_ids))} if file_ids else set()

    def collections_with(self, file_id: str) -> list[str]:
        """The URIs of the collections that hold the file."""
        statement = f"""
        SELECT DISTINCT {_COLLECTION} AS uri FROM objects o
         WHERE o.id = :id AND o.resource_name = 'attachments'
           AND o.parent_id >= '/attached/' AND o.parent_id < '/attached0'
         ORDER BY uri
        """
        return [row.uri for row in self.read(statement, id=file_id)]

    def sources(
        self, file_id: str, collection_uris: Collection[str] | None, most: int, value: Any = None
    ) -> list[Link]:
        """Up to ``most`` links to the file whose records name it now."""
        statement = f"""
        SELECT {_LINK} FROM objects o
          JOIN objects r ON r.parent_id = {_COLLECTION}
           AND r.id = split_part(o.parent_id, '/', 8) AND r.resource_name = 'record'
         WHERE o.id = :id AND o.resource_name = 'attachments'
           AND o.parent_id >= '/attached/' AND o.parent_id < '/attached0'
           AND (CAST(:anywhere AS boolean) OR {_COLLECTION} = ANY(CAST(:uris AS text[])))
           AND (CAST(:value AS jsonb) IS NULL OR o.data -> 'value' = CAST(:value AS jsonb))
           AND NOT r.deleted AND r.data -> 'attachment' = o.data -> 'value'
         ORDER BY o.parent_id LIMIT :most
        """
        wanted = {
            "id": file_id,
            "anywhere": collection_uris is None,
            "uris": list(collection_uris or ()),
            "value": None if value is None else json.dumps(value),
            "most": most,
        }
        return _links(self.read(statement, **wanted))

    def below(self, uri: str) -> Iterator[list[Link]]:
        """The links below a bucket or a collection, page by page."""
        return self._pages(f"{State.HELD}{uri}/")

    def everything(self) -> Iterator[list[Link]]:
        """All links, page by page, in the order of their records."""
        return self._pages("/")

    def links_by_file(self, after: str = "") -> Iterator[list[list[Link]]]:
        """All files that are named or kept, page by page, in the order of their ids."""
        statement = f"""
        WITH page AS (
            SELECT DISTINCT o.id FROM objects o WHERE o.id > :after AND {_HELD_ROWS}
             ORDER BY o.id LIMIT {PAGE}
        )
        SELECT DISTINCT ON (o.id, split_part(o.parent_id, '/', 2), {_COLLECTION}) {_LINK}
          FROM page JOIN objects o ON o.id = page.id
         WHERE {_HELD_ROWS}
         ORDER BY o.id, split_part(o.parent_id, '/', 2), {_COLLECTION}, o.parent_id
        """
        while page := _links(self.read(statement, after=after)):
            after = page[-1].file_id
            yield [list(links) for _, links in groupby(page, lambda link: link.file_id)]

    def usage(self) -> tuple[int, int]:
        """How many files are held or kept, and their bytes; each counts once."""
        statement = f"""
        SELECT count(*) AS files, coalesce(sum(f.size), 0) AS bytes
          FROM (SELECT max(CAST(o.data->>'size' AS bigint)) AS size FROM objects AS o
                 WHERE {_HELD_ROWS} GROUP BY o.id) AS f
        """
        (row,) = self.read(statement)
        return int(row.files), int(row.bytes)

    def any_links(self) -> bool:
        """Whether there is a link at all."""
        return bool(self.read(f"SELECT 1 FROM objects o WHERE {_OURS} LIMIT 1"))

    def lock(self, file_ids: Collection[str] | None) -> str | None:
        """Take the advisory locks of these files; returns the transaction's id, if it has one.

        :raises kinto.core.storage.exceptions.BackendError: under an isolation level that shows
            what was before the lock.
        """
        if file_ids is None or len(file_ids) > LOCKED_SINGLY:
            shares = set(range(SHARES))
        else:
            shares = {zlib.crc32(file_id.encode()) % SHARES for file_id in file_ids}
        statement = """
        SELECT pg_advisory_xact_lock(:kind, share),
               CAST(pg_current_xact_id_if_assigned() AS text) AS transaction_id,
               current_setting('transaction_isolation') AS isolation
          FROM unnest(CAST(:shares AS int[])) AS share
        """
        rows = self.read(statement, kind=FILES, shares=sorted(shares)) if shares else []
        if rows and rows[0].isolation == "repeatable read":
            # It shows what was before the lock: whoever looks then may see a file that is gone.
            raise BackendError(message=ISOLATION)
        return rows[0].transaction_id if rows else None

    def add(self, links: Collection[Link]) -> None:
        """Write links; one that is there is replaced."""
        statement = """
        INSERT INTO objects (id, parent_id, resource_name, data, deleted)
        SELECT t.id, t.parent, :resource, CAST(t.data AS jsonb), FALSE
          FROM unnest(CAST(:ids AS text[]), CAST(:parents AS text[]), CAST(:data AS text[]))
               AS t(id, parent, data)
        ON CONFLICT (id, parent_id, resource_name) DO UPDATE
           SET data = EXCLUDED.data, deleted = FALSE, last_modified = EXCLUDED.last_modified
        """
        once = {(link.file_id, link.parent): link for link in links}.values()
        if once:
            self.write(statement, resource=RESOURCE, **_columns(once))

    def remove(self, links: Collection[Link]) -> tuple[list[Link], set[str]]:
        """Remove links that still say the same; returns them, and which files others hold.

        One statement: its look at others does not see yet that the links have gone.
        """
        statement = f"""
        WITH gone AS (
            DELETE FROM objects o
             USING unnest(CAST(:ids AS text[]), CAST(:parents AS text[]), CAST(:data AS text[]))
                   AS t(id, parent, data)
             WHERE o.id = t.id AND o.parent_id = t.parent AND o.resource_name = 'attachments'
               AND o.data = CAST(t.data AS jsonb)
            RETURNING o.id, o.parent_id
        )
        SELECT gone.id, gone.parent_id,
               EXISTS (SELECT 1 FROM objects o WHERE o.id = gone.id AND {_HELD_ROWS}
                          AND (o.id, o.parent_id) NOT IN (SELECT id, parent_id FROM gone)) AS held
          FROM gone
        """
        if not links:
            return [], set()
        rows = self.write(statement, **_columns(links))
        gone = {(row.id, row.parent_id) for row in rows}
        removed = [link for link in links if (link.file_id, link.parent) in gone]
        return removed, {row.id for row in rows if row.held}

    # Records

    def touched(self, targets: Collection[Target]) -> TouchedRows:
        """The records that a transaction touched, with their links."""
        given = _given(targets)
        if self._session is not None:  # No transaction has written, and so locked, them.
            statement = f"""
            SELECT 1 FROM {_GIVEN} JOIN objects r ON {_RECORD}
             ORDER BY r.parent_id, r.id FOR UPDATE OF r
            """
            self.read(statement, **given)
        own = "TRUE" if self._commits_each_step else _OWN
        statement = f"""
        SELECT 'record' AS kind, r.id, r.parent_id, 0 AS modified,
               jsonb_build_object('value', r.data -> 'attachment') AS data,
               r.deleted, {own} AS written
          FROM {_GIVEN} JOIN objects r ON {_RECORD} CROSS JOIN {_MINE}
        UNION ALL
        SELECT 'link', {_LINK}, FALSE, FALSE FROM objects o
         WHERE o.resource_name = 'attachments' AND o.parent_id = ANY(CAST(:links AS text[]))
        """
        rows = self.read(statement, links=[f"{State.HELD}{t.uri}" for t in targets], **given)
        records = [_record(row) for row in rows if row.kind == "record"]
        links = _links([row for row in rows if row.kind == "link"])
        return TouchedRows({record.target.uri: record for record in records}, links)

    def written_under(
        self, record_ids: Collection[str], collection_uris: Collection[str]
    ) -> list[Target]:
        """The records with these ids that this transaction wrote, wherever they are."""
        statement = f"""
        SELECT r.id, r.parent_id FROM objects r CROSS JOIN {_MINE}
         WHERE r.id = ANY(CAST(:ids AS text[])) AND r.resource_name = 'record' AND {_OWN}
        """
        if self._commits_each_step:
            return targets_in(record_ids, collection_uris)
        if not record_ids:
            return []
        return [_target(row) for row in self.read(statement, ids=list(record_ids))]

    def values(self, record_uris: Collection[str]) -> dict[str, Any]:
        """The ``attachment`` of each of these records, by URI."""
        statement = f"""
        SELECT r.id, r.parent_id, jsonb_build_object('value', r.data -> 'attachment') AS data
          FROM {_GIVEN} JOIN objects r ON {_RECORD} WHERE NOT r.deleted
        """
        given = _given([Target.of_uri(uri) for uri in record_uris])
        rows = self.read(statement, **given) if record_uris else []
        return {_target(row).uri: row.data["value"] for row in rows}

    def records_with_attachment(self) -> Iterator[list[RecordRow]]:
        """All records that have an ``attachment``, in the order of the primary key: in that of
        their collections each page would sort a whole one."""
        statement = f"""
        SELECT r.id, r.parent_id, r.deleted, TRUE AS written,
               jsonb_build_object('value', r.data -> 'attachment') AS data
          FROM objects r
         WHERE (r.id, r.parent_id) > (:id, :parent) AND r.resource_name = 'record'
           AND NOT r.deleted AND r.data -> 'attachment' IS NOT NULL
         ORDER BY r.id, r.parent_id LIMIT {PAGE}
        """
        last: tuple[str, str] = ("", "")
        while rows := self.read(statement, id=last[0], parent=last[1]):
            last = rows[-1].id, rows[-1].parent_id
            yield [_record(row) for row in rows]

    def locations(self, wanted: Collection[str]) -> set[str]:
        """Those of these locations that any record names."""
        statement = """
        SELECT DISTINCT r.data -> 'attachment' ->> 'location' AS location FROM objects r
         WHERE r.resource_name = 'record' AND NOT r.deleted
           AND r.data -> 'attachment' ->> 'location' = ANY(CAST(:wanted AS text[]))
        """
        rows = self.read(statement, wanted=list(wanted)) if wanted else []
        return {row.location for row in rows}

    def lock_record(self, target: Target) -> LockedRecord | None:
        """The record, which others can't write now; None where there is none."""
        share = zlib.crc32(target.uri.encode()) - 2**31  # A signed integer of 32 bits.
        self.read("SELECT pg_advisory_xact_lock(:kind, :share)", kind=RECORDS, share=share)
        statement = """
        SELECT data, as_epoch(last_modified) AS last_modified FROM objects
         WHERE id = :id AND parent_id = :parent AND resource_name = 'record' AND NOT deleted
           FOR UPDATE
        """
        rows = self.read(statement, id=target.record_id, parent=target.collection_uri)
        if not rows:
            return None
        return LockedRecord(record_field.value_of(rows[0].data), rows[0].last_modified)

    def exists(self, uri: str) -> bool:
        """Whether there is a bucket or a collection under this URI."""
        parent, plural, object_id = uri.rsplit("/", 2)
        statement = """
        SELECT 1 FROM objects
         WHERE id = :id AND parent_id = :parent AND resource_name = :name AND NOT deleted
        """
        return bool(self.read(statement, id=object_id, parent=parent, name=plural[:-1]))

    def share_parents(self, collection_uris: Collection[str]) -> None:
        """Keep others from deleting these collections and their buckets."""
        statement = """
        SELECT pg_advisory_xact_lock_shared(:kind, share)
          FROM unnest(CAST(:shares AS int[])) AS share
        """
        if collection_uris:
            self.read(statement, kind=BUCKETS, shares=_bucket_shares(collection_uris))

    def lock_parents(self, uris: Collection[str] | None) -> None:
        """Keep others from writing files into these buckets."""
        statement = """
        SELECT pg_advisory_xact_lock(:kind, share) FROM unnest(CAST(:shares AS int[])) AS share
        """
        shares = list(range(SHARES)) if uris is None else _bucket_shares(uris)
        self.read(statement, kind=BUCKETS, shares=shares)

    def existing(self, collection_uris: Collection[str]) -> set[str]:
        """Those of these collections that exist, with their buckets."""
        statement = """
        SELECT t.bucket || '/collections/' || t.id AS uri
          FROM unnest(CAST(:buckets AS text[]), CAST(:ids AS text[])) AS t(bucket, id)
          JOIN objects c ON c.parent_id = t.bucket AND c.id = t.id
           AND c.resource_name = 'collection' AND NOT c.deleted
          JOIN objects b ON b.parent_id = '' AND b.id = substr(t.bucket, length('/buckets/') + 1)
           AND b.resource_name = 'bucket' AND NOT b.deleted
        """
        split = [uri.rsplit("/collections/", 1) for uri in collection_uris]
        given = {"buckets": [bucket for bucket, _ in split], "ids": [id_ for _, id_ in split]}
        return {row.uri for row in self.read(statement, **given)} if split else set()

    def drop_left_behind(self, uri: str) -> None:
        """Delete the records below what was deleted."""
        statement = """
        DELETE FROM objects WHERE resource_name = 'record' AND NOT deleted
           AND (parent_id = :uri OR parent_id >= :first AND parent_id < :behind)
        """
        below = f"{uri}/"
        self.write(statement, uri=uri, first=below, behind=_behind(below))

    def _pages(self, prefix: str) -> Iterator[list[Link]]:
        """In the order of parents, which an index has; an empty page is the end, since nothing
        else tells that there is no more."""
        statement = f"""
        SELECT {_LINK} FROM objects o
         WHERE o.resource_name = 'attachments' AND o.parent_id >= :first
           AND o.parent_id < :behind AND (o.parent_id, o.id) > (:parent, :id)
         ORDER BY o.parent_id, o.id LIMIT {PAGE}
        """
        last = prefix, ""
        where = {"behind": _behind(prefix)}
        while page := _links(
            self.read(statement, first=last[0], parent=last[0], id=last[1], **where)
        ):
            last = page[-1].parent, page[-1].file_id
            yield page

    def read(self, statement: str, **values: Any) -> Sequence[Any]:
        """Execute one statement: in Kinto's transaction, or in that of :meth:`atomically`."""
        return self._execute(statement, values, readonly=True)

    def write(self, statement: str, **values: Any) -> Sequence[Any]:
        """The same; Kinto's session has to know that there is something to commit."""
        return self._execute(statement, values, readonly=False)

    def _execute(self, statement: str, values: dict[str, Any], readonly: bool) -> Sequence[Any]:
        if self._session is not None:
            return _rows(self._session, statement, values)
        with self._client.connect(readonly=readonly) as session:
            return _rows(session, statement, values)


def _rows(session: Any, statement: str, values: dict[str, Any]) -> Sequence[Any]:
    result = session.execute(sqlalchemy.text(statement), values)
    found: Sequence[Any] = result.fetchall() if result.returns_rows else []
    return found


@contextlib.contextmanager
def _kintos_errors() -> Iterator[None]:
    """What Kinto makes of a database's errors: its views know them."""
    try:
        yield
    except sqlalchemy.exc.IntegrityError as error:
        raise IntegrityError(original=error) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise BackendError(original=error) from error


def _bucket_shares(uris: Collection[str]) -> list[int]:
    buckets = {uri.split("/")[2] for uri in uris}
    return sorted({zlib.crc32(bucket.encode()) % SHARES for bucket in buckets})


def _behind(prefix: str) -> str:
    """What is the first, in the order of bytes, behind all that begins with ``…/``."""
    return prefix[:-1] + "0"


def _given(targets: Collection[Target]) -> dict[str, list[str]]:
    return {
        "parents": [target.collection_uri for target in targets],
        "ids": [target.record_id for target in targets],
    }


def _columns(links: Collection[Link]) -> dict[str, list[str]]:
    return {
        "ids": [link.file_id for link in links],
        "parents": [link.parent for link in links],
        "data": [json.dumps(link.data()) for link in links],
    }


def _links(rows: Sequence[Any]) -> list[Link]:
    return [Link.from_row(row.id, row.parent_id, row.modified, row.data) for row in rows]


def _target(row: Any) -> Target:
    return Target.of_uri(f"{row.parent_id}/records/{row.id}")


def _record(row: Any) -> RecordRow:
    value = None if row.deleted else row.data["value"]
    return RecordRow(_target(row), value, not row.deleted, row.written)
