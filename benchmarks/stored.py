"""The same requests with ever more stored attachments; gc; the deletion of many."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks import servers
from benchmarks.database import Database, database
from benchmarks.servers import PUBLISHED
from benchmarks.table import Row
from benchmarks.user import COLLECTION, User
from kinto_attachment import keys
from kinto_attachment.commands.operators.environment import kinto
from kinto_attachment.maintenance.garbage import Collector, GarbageReport
from tests.support import processes

FIELDS = (
    "jsonb_build_object('attachment', jsonb_build_object('filename', 'a.jpg', 'mimetype',"
    " 'image/jpeg', 'size', 1, 'hash', repeat('0', 64), 'location',"
    " 'https://files.example.org/' || lpad(n::text, 12, '0')))"
)
SEED_RECORDS = f"""
INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
SELECT 'r' || n, '/buckets/seed/collections/c' || n % 1000, 'record',
       TIMESTAMP '2020-01-01' + n * INTERVAL '1 second', {FIELDS}, FALSE
FROM generate_series(:first, :last) AS n
"""
SEED_LINKS = """
INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted)
SELECT gen_random_uuid()::text,
       '/attached/buckets/seed/collections/c' || n % 1000 || '/records/r' || n, 'attachments',
       TIMESTAMP '2020-01-01' + n * INTERVAL '1 second',
       jsonb_build_object('key', n::text || '.jpg', 'size', 1, 'hash',
         repeat('0', 64), 'filename', 'a.jpg', 'mimetype', 'image/jpeg', 'record_uri',
         '/buckets/seed/collections/c' || n % 1000 || '/records/r' || n, 'value', '{}'::jsonb),
       FALSE
FROM generate_series(:first, :last) AS n
"""


URI = "'/buckets/bench/collections/album/records/r' || n"
VALUE = (
    "jsonb_build_object('filename', 'a.txt', 'mimetype', 'text/plain', 'size', 0, 'hash',"
    " repeat('0', 64), 'location', 'https://files.example.org/' || id || '.txt')"
)
MIB = 1024 * 1024


def flat(folder: Path, quick: bool) -> list[Row]:
    """The same requests with ever more stored attachments."""
    sizes = [0, 1_000] if quick else [0, 1_000, 10_000, 100_000, 1_000_000]
    rounds = 8 if quick else 60
    found: list[dict[str, float]] = []
    with (
        database(folder / "pg") as postgresql,
        servers.kinto(folder / "ours", "waitress", backend=postgresql.settings) as server,
    ):
        user = User(server)
        user.make()
        _requests(user, rounds, "warm")
        stored = 0
        for size in sizes:
            if size > stored:
                for seed in (SEED_RECORDS, SEED_LINKS):
                    postgresql.run(seed, first=stored + 1, last=size)
                postgresql.run("VACUUM ANALYZE objects")
                stored = size
            found.append(_requests(user, rounds, str(size)))
    rows = []
    for name, first in found[0].items():
        shown = ", ".join(f"{1000 * times[name]:.1f}" for times in found)
        ratio = found[-1][name] / first
        rows.append(
            Row(
                f"{name} at {', '.join(_short(n) for n in sizes)} attachments: ms; last by first",
                "6 at 100k",
                f"{shown}; {ratio:.2f}",
                "at most 1.2",
                ratio <= 1.2,
            )
        )
    return rows


def _short(number: int) -> str:
    return f"{number // 10**6}M" if number >= 10**6 else f"{number // 1000}k" if number else "0"


def _requests(user: User, rounds: int, name: str) -> dict[str, float]:
    times: dict[str, list[float]] = {}

    def timed(what: str, act: Callable[..., Any], *arguments: Any) -> None:
        began = time.perf_counter()
        act(*arguments)
        times.setdefault(what, []).append(time.perf_counter() - began)

    for number in range(rounds):
        record = f"{COLLECTION}/records/{name}-{number}"
        timed("upload", user.upload, record, 201)
        timed("replacement", user.upload, record, 200)
        timed("DELETE of the attachment", user, "DELETE", f"{record}/attachment", 204)
        timed("DELETE of a record without", user, "DELETE", record, 200)
        user.upload(record, 201)
        timed("DELETE of a record with", user, "DELETE", record, 200)
    return {what: median(found) for what, found in times.items()}


def collector(folder: Path, quick: bool) -> list[Row]:
    """``gc`` over a directory of files that all have a link, and a record that names them."""
    count = 5_000 if quick else 100_000
    files = folder / "files"
    files.mkdir(parents=True)
    ids = [keys.new_id() for _ in range(count)]
    for file_id in ids:
        (files / f"{file_id}.txt").touch()
    with database(folder / "pg") as postgresql:
        _link(postgresql, ids)
        own = {**processes.basic_settings(folder, postgresql.settings)}
        own["kinto.attachment.base_path"] = str(files)
        ini = processes.write_ini(folder / "kinto.ini", own)
        with kinto(str(ini)) as registry:
            collect, report = Collector(registry, grace=-60), GarbageReport()
            by_links = _seconds(lambda: collect.look_at_files(report))
            by_records = _seconds(lambda: collect.look_at_links(report))
    assert (report.files, report.links, report.findings) == (count, count, 0), report
    return [
        Row(
            f"gc, {count} files against their links: files a second",
            "-",
            f"{count / by_links:.0f}",
            "at least 20,000",
            count / by_links >= 20_000,
            "" if count / by_links >= 20_000 else "most of it is reading rows by Kinto's storage",
        ),
        Row(
            f"gc, {count} links against their records: links a second",
            "-",
            f"{count / by_records:.0f}",
            "reported",
            None,
        ),
    ]


def bulk(folder: Path, quick: bool) -> list[Row]:
    """The deletion of a collection with many attachments."""
    count = 1_000 if quick else 10_000
    found = [
        _bulk(folder / name, programs, seed, count)
        for name, programs, seed in (
            ("published", PUBLISHED, _link_published),
            ("ours", servers.OURS, _link),
        )
    ]
    shown = [f"{f.seconds:.2f} s; {f.grown / MIB:.0f} MiB; {f.files} and {f.links}" for f in found]
    ours = found[1]
    return [
        Row(
            f"DELETE of a collection with {count} attachments: seconds; memory; files and links"
            " left",
            shown[0],
            shown[1],
            "no slower; flat; none",
            ours.files == ours.links == 0 and ours.seconds <= found[0].seconds,
            "" if ours.seconds <= found[0].seconds else "a file goes only where no copy holds it",
        )
    ]


class Bulk(NamedTuple):
    """A deletion of many: seconds, bytes, and what it has left."""

    seconds: float
    grown: int
    files: int
    links: int


def _bulk(folder: Path, programs: Path, seed: Callable[..., None], count: int) -> Bulk:
    ids = [keys.new_id() for _ in range(count)]
    with (
        database(folder / "pg") as postgresql,
        servers.kinto(folder / "kinto", "waitress", programs, postgresql.settings) as server,
    ):
        user = User(server)
        user.make()
        for number in range(2):  # Warm, and then gone.
            user.upload(f"{COLLECTION}/records/warm", 201 if number == 0 else 200)
        user("DELETE", f"{COLLECTION}/records/warm/attachment", 204)
        files = server.folder / "files"
        for file_id in ids:
            (files / f"{file_id}.txt").touch()
        seed(postgresql, ids)
        server.forget_peak()
        idle = server.peak()
        seconds = _seconds(lambda: user("DELETE", COLLECTION, 200))
        query = (
            "SELECT count(*) FROM objects WHERE resource_name = 'attachments'"
            " OR parent_id = '__attachments__'"
        )
        left = len(list(files.glob("*.txt")))
        return Bulk(seconds, server.peak() - idle, left, postgresql.run(query)[0][0])


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _link(postgresql: Database, ids: list[str]) -> None:
    """A record and a link for each file, as uploads would have left them."""
    _seed(
        postgresql,
        ids,
        "id",
        f"'/attached' || {URI}",
        "'attachments'",
        "jsonb_build_object('key', id || '.txt', 'size', 0, 'hash',"
        f" repeat('0', 64), 'filename', 'a.txt', 'mimetype', 'text/plain', 'record_uri', {URI},"
        f" 'value', {VALUE})",
    )


def _link_published(postgresql: Database, ids: list[str]) -> None:
    """The same, as the published plugin has its links."""
    _seed(
        postgresql,
        ids,
        "gen_random_uuid()::text",
        "'__attachments__'",
        "''",
        "jsonb_build_object('location', id || '.txt', 'bucket_uri', '/buckets/bench',"
        f" 'collection_uri', '/buckets/bench/collections/album', 'record_uri', {URI})",
    )


def _seed(
    postgresql: Database, ids: list[str], row_id: str, parent: str, resource: str, link: str
) -> None:
    for start in range(0, len(ids), 10_000):
        page = ids[start : start + 10_000]
        rows = json.dumps([{"n": start + n, "id": file_id} for n, file_id in enumerate(page)])
        source = "FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS seed(n int, id text)"
        head = "INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted) "
        when = "TIMESTAMP '2020-01-01' + n * INTERVAL '1 second'"
        postgresql.run(
            f"{head} SELECT 'r' || n, '/buckets/bench/collections/album', 'record', {when},"
            f" jsonb_build_object('attachment', {VALUE}), FALSE {source}",
            rows=rows,
        )
        postgresql.run(
            f"{head} SELECT {row_id}, {parent}, {resource}, {when}, {link}, FALSE {source}",
            rows=rows,
        )
    postgresql.run("VACUUM ANALYZE objects")
