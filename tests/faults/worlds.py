"""What there is before two things happen at once: a few records, made once and put back often.

Two collections of one name in two buckets. In the first one ``r1`` and ``r2`` share file A,
``r3`` alone has B, ``r4`` shares C with the second collection's ``c1``, ``r5`` has no file. The
second one's ``c2`` alone has D. In a bucket that keeps old files ``k1`` and ``k2`` share G. A
file that nothing names, and one whose record was taken away past the plugin, lie there for the
commands. All is two days old, which is older than any grace.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import transaction

from kinto_attachment import keys
from tests.support.parts import Client, Server, sha256

BASE_URL = "https://files.example.org/"
NEW_URL = "https://new.example.org/"
ALBUM = "/buckets/pictures/collections/album"
SECOND = "/buckets/second/collections/album"
KEEPING = "/buckets/keeping/collections/album"
KEEPS = {"kinto.attachment.resources.keeping.keep_old_files": "true"}
KEPT = b"G" * 9
RECORDS = {f"r{n}": f"{ALBUM}/records/r{n}" for n in range(1, 8)}
RECORDS |= {f"n{n}": f"{ALBUM}/records/n{n}" for n in range(1, 4)}
RECORDS |= {f"c{n}": f"{SECOND}/records/c{n}" for n in range(1, 4)}
RECORDS |= {f"k{n}": f"{KEEPING}/records/k{n}" for n in range(1, 3)}
TWO_DAYS = 2 * 24 * 3600
PUBLISHED = "__attachments__"
"""Parent of the links of 8.x (with resource name ``""``) and 9.x (``attachments``)."""


@dataclass
class World:
    """One such state, as it was saved.

    :param settle: what has to be run, at rest, before the laws are looked at.
    :param broken: whether a record is unreadable from the beginning.
    :param values: each record's ``attachment``, by its short name; ``etags`` likewise.
    """

    name: str
    build: Callable[[Server], None]
    settle: tuple[str, ...] = ()
    broken: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)

    def hashes(self) -> dict[str, str | None]:
        """What each record's file hashes to."""
        return {name: (value or {}).get("hash") for name, value in self.values.items()}


def _of_ours(server: Server) -> None:
    client = _parents(server)
    for name, content in (("r1", b"A"), ("r3", b"B"), ("r4", b"C"), ("c2", b"D")):
        client.upload(f"{RECORDS[name]}/attachment", content=content * 9, filename=f"{name}.jpg")
    client.make_collection(KEEPING)
    client.upload(f"{RECORDS['k1']}/attachment", content=KEPT, filename="k1.jpg")
    for copy, original in (("r2", "r1"), ("c1", "r4"), ("k2", "k1")):
        value = client.get(RECORDS[original]).json["data"]["attachment"]
        client.json("put", RECORDS[copy], {"data": {"attachment": value}})
    _left_over(server, client)


def _of_8(server: Server) -> None:
    _parents(server)
    for name, content in (("r1", b"A"), ("r3", b"B"), ("r4", b"C"), ("c2", b"D")):
        key, value = _old_file(server, content * 9)
        _old_record(server, name, value)
        _old_link(server, name, key, "attachments" if name == "r3" else "")
        if name in ("r1", "r4"):  # A copy has no link there.
            _old_record(server, "r2" if name == "r1" else "c1", value)
    transaction.commit()


def _migrated(server: Server) -> None:
    from kinto_attachment.maintenance.migration import Migration

    _of_8(server)
    forget_migration(server)
    Migration(server.registry).initialize_schema(server.registry.storage.client)
    _left_over(server, server.as_user())


def _damaged(server: Server) -> None:
    _of_ours(server)
    client = server.as_user()
    before = server.stored_keys()
    client.upload(f"{RECORDS['r7']}/attachment", content=b"missing")
    (key,) = server.stored_keys() - before
    server.registry.attachments.store.delete(key)
    _old_record(server, "r6", _old_file(server, b"unlinked")[1])
    transaction.commit()


def _parents(server: Server) -> Client:
    client = server.as_user()
    for uri in (ALBUM, SECOND):
        client.make_collection(uri)
    for name in ("r5", "c3"):
        client.json("put", RECORDS[name], {"data": {"title": "plain"}})
    return client


def _left_over(server: Server, client: Client) -> None:
    server.store_file(f"{keys.new_id()}.jpg", b"orphan")
    lost = f"{ALBUM}/records/lost"
    client.upload(f"{lost}/attachment", content=b"lost", filename="lost.jpg")
    server.registry.storage.delete(
        resource_name="record", parent_id=ALBUM, object_id="lost", with_deleted=False
    )
    transaction.commit()


def _old_file(server: Server, content: bytes) -> tuple[str, dict[str, Any]]:
    """A file as 8.x stores it; its key and its record's ``attachment``."""
    key = f"old/{uuid.uuid4()}.txt"
    server.store_file(key, content)
    return key, {
        "filename": "old.txt",
        "hash": sha256(content),
        "location": BASE_URL + key,
        "mimetype": "text/plain",
        "size": len(content),
    }


def _old_record(server: Server, name: str, value: dict[str, Any]) -> None:
    _write_record(server, RECORDS[name], value)


def _old_link(server: Server, name: str, key: str, resource: str) -> None:
    _write_link(server, RECORDS[name], key, resource)


def plant_published(server: Server, uri: str, content: bytes) -> None:
    """A record, a link and a file as 9.x write them."""
    key, value = _old_file(server, content)
    _write_record(server, uri, value)
    _write_link(server, uri, key, "attachments")
    transaction.commit()


def _write_record(server: Server, uri: str, value: dict[str, Any]) -> None:
    collection, _, name = uri.partition("/records/")
    server.registry.storage.update(
        resource_name="record",
        parent_id=collection,
        object_id=name,
        obj={"id": name, "title": "old", "attachment": value},
    )


def _write_link(server: Server, uri: str, key: str, resource: str) -> None:
    server.registry.storage.update(
        resource_name=resource,
        parent_id=PUBLISHED,
        object_id=str(uuid.uuid4()),
        obj={
            "location": key,
            "bucket_uri": "/".join(uri.split("/")[:3]),
            "collection_uri": uri.partition("/records/")[0],
            "record_uri": uri,
        },
    )


def forget_migration(server: Server) -> None:
    """As before the first ``kinto migrate``."""
    import sqlalchemy

    with server.registry.storage.client.connect(force_commit=True) as connection:
        connection.execute(
            sqlalchemy.text("DELETE FROM metadata WHERE name = 'kinto_attachment_schema_version'")
        )


def all_worlds() -> dict[str, World]:
    """By name. ``ours``: as this version makes it; ``old``: of 8.x and 9.x, not migrated yet;
    ``migrated``: the same afterwards; ``damaged``: for doctor."""
    return {
        "ours": World("ours", _of_ours),
        "old": World("old", _of_8, ("migrate",)),
        "migrated": World("migrated", _migrated),
        "damaged": World("damaged", _damaged, ("doctor missing", "doctor unlinked"), broken=True),
    }


class Saved:
    """Keeps worlds beside the database's tables, and puts them back in a few milliseconds.

    It knows no table by name but ``objects`` and ``timestamps``: whatever there is, is kept.
    """

    def __init__(self, url: str, server: Server) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        self._server = server
        self._statements: dict[str, str] = {}

    def make(self, world: World) -> None:
        """Build it, and save it."""
        self._server.reset()
        forget_migration(self._server)
        world.build(self._server)
        transaction.abort()
        self._save_rows(world.name)
        self._save_files(world)
        self.restore(world)
        client = self._server.as_user()
        for name, uri in RECORDS.items():
            answer = client.get(uri, "*")
            if answer.status_code == 200:
                world.values[name] = answer.json["data"].get("attachment")
                world.etags[name] = answer.headers["ETag"]
        transaction.abort()

    def restore(self, world: World) -> None:
        """Everything is as it was saved. Whoever keeps a transaction open makes it fail."""
        self._execute(self._statements[world.name])
        folder = self._folder()
        shutil.rmtree(folder, ignore_errors=True)
        then = time.time() - TWO_DAYS
        for name in world.folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, content in world.files.items():
            path = folder / name
            path.write_bytes(content)
            os.utime(path, (then, then))

    def close(self) -> None:
        self._connection.close()

    def _save_rows(self, name: str) -> None:
        schema = f"saved_{name}"
        self._execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            tables = [f'"{table}"' for (table,) in cursor.fetchall()]
        for table in tables:
            self._execute(f"CREATE TABLE {schema}.{table} AS TABLE public.{table}")
        for table in ("objects", "timestamps"):
            self._execute(
                f"UPDATE {schema}.{table} SET last_modified = last_modified - INTERVAL '2 days'"
            )
        back = [
            f"DELETE FROM public.{t}; INSERT INTO public.{t} SELECT * FROM {schema}.{t}"
            for t in tables
        ]
        # Triggers would give rows a date of their own.
        head = "BEGIN; SET LOCAL session_replication_role = replica; SET LOCAL lock_timeout = '9s'"
        self._statements[name] = "; ".join([head, *back, "COMMIT"])

    def _save_files(self, world: World) -> None:
        folder = self._folder()
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_dir():
                world.folders.append(name)
            else:
                world.files[name] = path.read_bytes()

    def _folder(self) -> Path:
        assert self._server.files is not None
        return self._server.files

    def _execute(self, statements: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statements)
