"""A database and a folder made by the published plugin 8.0.0, by itself, are adopted.

It runs as a user would run it, in a virtual environment of its own.
"""

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy

from tests.support import parts, processes

PROGRAMS = Path(os.environ.get("PUBLISHED", ".venv-published")).resolve() / "bin"
NUMBER, DAMAGED = 1000, 20
BASE_URL = "https://files.example.org/"
AUTH = ("user", "secret")
COLLECTION = "/buckets/old/collections/album"


class Old:
    """What the published plugin has left, and the ways to damage it."""

    def __init__(self, folder: Path, settings: dict[str, str], url: str) -> None:
        self.folder, self.settings = folder, settings
        self.files = folder / "files"
        self._engine = sqlalchemy.create_engine(
            url.replace("postgresql://", "postgresql+psycopg2://")
        )
        self._next = 0

    def forget(self) -> None:
        """Leave no migration behind, and no links: neither is removed with the records."""
        self.sql("DELETE FROM metadata WHERE name = 'kinto_attachment_schema_version'")
        self.sql("DELETE FROM objects WHERE parent_id = '__attachments__'")

    def close(self) -> None:
        self._engine.dispose()

    def sql(self, statement: str, **values: Any) -> Any:
        with self._engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement), values)
            return result.fetchall() if result.returns_rows else None

    def some(self) -> list[tuple[str, Path]]:
        """Records, and their files, that nothing has happened to."""
        numbers = range(self._next, self._next + DAMAGED)
        self._next += DAMAGED
        return [(f"r{n}", self.file_of(f"r{n}")) for n in numbers]

    def file_of(self, record_id: str) -> Path:
        query = "SELECT data->'attachment'->>'location' FROM objects WHERE id = :id"
        (row,) = self.sql(f"{query} AND resource_name = 'record'", id=record_id)
        return self.files / row[0].removeprefix(BASE_URL)

    def command(self, *words: str) -> Any:
        ini = self.folder / "kinto.ini"
        return processes.run(
            [str(processes.BIN / words[0]), *words[1:], "--ini", str(ini)], self.folder
        )

    def doctor(self, *more: str) -> tuple[dict[str, int], dict[str, set[str]]]:
        """Counts and places by kind."""
        done = self.command(
            "kinto-attachment", "doctor", "--json", "--hashes", "--grace", "-60", *more
        )
        assert done.returncode in (0, 1), done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        places: dict[str, set[str]] = {}
        for line in lines[:-1]:
            places.setdefault(line["kind"], set()).add(line["place"])
        return lines[-1]["summary"], places


@pytest.fixture
def old(tmp_path: Path, postgresql: str, on_postgresql: Any) -> Iterator[Old]:
    on_postgresql()  # Empty from here on.
    settings = {
        **processes.basic_settings(tmp_path, parts.postgresql_settings(postgresql)),
        "kinto.attachment.base_url": BASE_URL,
        "kinto.attachment.folder": "{bucket_id}/{collection_id}",
    }
    made = Old(tmp_path, settings, postgresql)
    made.files.mkdir()
    made.forget()
    yield made
    made.forget()
    made.close()


def make_records(kinto: processes.Kinto) -> None:
    """As a client of the published plugin does."""
    with requests.Session() as session:
        session.auth = AUTH
        for uri in ("/buckets/old", COLLECTION):
            session.put(f"{kinto.url}{uri}").raise_for_status()
        for number in range(NUMBER):
            form = {"attachment": (f"{number}.txt", b"content %d" % number, "text/plain")}
            fields = {"data": json.dumps({"title": f"Number {number}"})}
            url = f"{kinto.url}{COLLECTION}/records/r{number}/attachment"
            session.post(url, files=form, data=fields).raise_for_status()


def uris(records: Iterable[tuple[str, Path]]) -> set[str]:
    return {f"{COLLECTION}/records/{record_id}" for record_id, _ in records}


def damage(old: Old, kinto: processes.Kinto) -> dict[str, set[str]]:
    """Twenty in each known way; by the published plugin itself where it does so.

    :returns: places by kind.
    """
    gone, longer, other, outside, unlinked, leaked = (old.some() for _ in range(6))
    for _, path in gone:
        path.unlink()
    for _, path in longer:
        path.write_bytes(path.read_bytes() + b"!")
    for _, path in other:
        path.write_bytes(path.read_bytes()[::-1])
    for record_id, _ in outside:
        old.sql(
            "UPDATE objects SET data = replace(data::text, :base, 'https://old.example.org/')::jsonb"
            " WHERE id = :id AND resource_name = 'record'",
            base=BASE_URL,
            id=record_id,
        )
    for uri in uris(unlinked):
        old.sql("DELETE FROM objects WHERE data->>'record_uri' = :uri", uri=uri)
    for record_id, _ in leaked:  # Its links and files stay when many are deleted at once.
        answer = requests.delete(f"{kinto.url}{COLLECTION}/records?id={record_id}", auth=AUTH)
        answer.raise_for_status()
    unnamed = {f"old/album/{uuid.uuid4()}.txt" for _ in range(DAMAGED)}
    for key in unnamed:
        (old.files / key).write_bytes(b"nobody's")
    return {
        "missing": uris(gone),
        "size": uris(longer),
        "hash": uris(other),
        "outside": uris(outside),
        "unlinked": uris(unlinked),
        "dead-link": uris(leaked),
        "unnamed": unnamed,
        "forged": forge(old, kinto),
    }


def forge(old: Old, kinto: processes.Kinto) -> set[str]:
    """New records that name files of others: the published plugin lets them pass."""
    forged = set()
    for record_id, _ in old.some():
        url = f"{kinto.url}{COLLECTION}/records"
        seen = requests.get(f"{url}/{record_id}", auth=AUTH).json()["data"]["attachment"]
        body = {"data": {"attachment": {**seen, "filename": "invoice.pdf", "hash": "0" * 64}}}
        requests.put(f"{url}/forged-{record_id}", json=body, auth=AUTH).raise_for_status()
        forged.add(f"{COLLECTION}/records/forged-{record_id}")
    return forged


def test_what_8_0_0_left_is_examined_migrated_read_and_repaired(old: Old) -> None:
    with processes.running_kinto(old.folder, old.settings, PROGRAMS) as published:
        make_records(published)
        expected = damage(old, published)
    rows = "SELECT count(*) FROM objects WHERE parent_id = '__attachments__'"
    linked = old.sql(rows)

    summary, places = old.doctor()
    assert places == expected
    unfinished = dict.fromkeys(("overdue", "abandoned", "permission"), 0)
    assert summary == {**dict.fromkeys(summary, DAMAGED), **unfinished}
    dry = old.command("kinto", "migrate", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert old.sql(rows) == linked

    with processes.running_kinto(old.folder, old.settings) as kinto:  # It migrates first.
        assert old.sql(rows) == [(DAMAGED,)]
        del expected["unlinked"]
        summary, places = old.doctor()
        assert places == expected
        works_on(old, kinto)
    for kind, more in (("dead-link", []), ("unnamed", ["--foreign"])):
        words = ["doctor", "--repair", kind, "--grace", "-60", *more]
        repaired = old.command("kinto-attachment", *words)
        assert repaired.returncode == 1, repaired.stderr  # The rest is not for it to mend.
        del expected[kind]
    summary, places = old.doctor()
    assert places == expected
    assert old.sql(rows) == [(0,)]


def works_on(old: Old, kinto: processes.Kinto) -> None:
    """Read, replace, delete: on records that nothing has happened to."""
    read, replaced, removed, deleted = (f"r{NUMBER - n}" for n in range(1, 5))
    files = {record_id: old.file_of(record_id) for record_id in (replaced, removed, deleted)}
    url = f"{kinto.url}{COLLECTION}/records"
    with requests.Session() as session:
        session.auth = AUTH
        answer = session.get(f"{url}/{read}/attachment")
        assert answer.content == f"content {read[1:]}".encode()
        new = {"attachment": ("new.txt", b"new", "text/plain")}
        session.post(f"{url}/{replaced}/attachment", files=new).raise_for_status()
        session.delete(f"{url}/{removed}/attachment").raise_for_status()
        session.delete(f"{url}/{deleted}").raise_for_status()
        assert session.get(f"{url}/{replaced}").json()["data"]["title"].startswith("Number")
        assert session.get(f"{url}/{replaced}/attachment").content == b"new"
    assert [path for path in files.values() if path.exists()] == []
