"""Small uploads beside Kinto's own requests: processor time, SQL statements, conflicts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import servers
from benchmarks.database import Database, database
from benchmarks.servers import PUBLISHED, Measured
from benchmarks.table import Row
from benchmarks.user import COLLECTION, User

TWICE = "Kinto's own check runs before the body is read, and again when it writes the record"
"""Why small uploads fall short: what the promise to refuse before the body costs."""


def small(folder: Path, quick: bool) -> list[Row]:
    """20 KiB uploads against plain PUTs of a record."""
    rows = []
    rounds, turns = (12, 1) if quick else (120, 4)
    for backend, most in (("PostgreSQL", 1.5), ("memory", 2.0)):
        found = []
        for name, programs in (("published", PUBLISHED), ("ours", servers.OURS)):
            where = folder / f"{name}-{backend}"
            # A database each: ours refuses a new store where links of the published one are.
            with (
                database(folder / f"{name}-{backend}-pg") as postgresql,
                servers.kinto(
                    where,
                    "waitress",
                    programs,
                    postgresql.settings if backend == "PostgreSQL" else servers.MEMORY,
                ) as server,
            ):
                found.append(_small_ratio(User(server), server, rounds, turns, name))
        rows.append(
            Row(
                f"20 KiB upload, {backend}: server CPU, plain PUT = 1",
                f"{found[0]:.2f}",
                f"{found[1]:.2f}",
                f"at most {most}",
                found[1] <= most,
                "" if found[1] <= most else TWICE,
            )
        )
    return rows


def _small_ratio(user: User, server: Measured, rounds: int, turns: int, name: str) -> float:
    user.make()
    ratios = []
    for turn in range(turns + 1):
        plain = cpu_of(server, user.put, rounds, f"{name}-plain-{turn}")
        upload = cpu_of(
            server, lambda record: user.upload(record, 201), rounds, f"{name}-file-{turn}"
        )
        ratios.append(upload / plain)
    return median(ratios[1:])  # The first turn warms up.


def cpu_of(server: Measured, act: Callable[[str], Any], rounds: int, name: str) -> float:
    before = server.cpu()
    for number in range(rounds):
        act(f"{COLLECTION}/records/{name}-{number}")
    return (server.cpu() - before) / rounds


def statements(folder: Path, quick: bool) -> list[Row]:
    """SQL statements of single requests, as PostgreSQL writes them down."""
    del quick
    counted: dict[str, list[int]] = {}
    for name, programs, plugin in (
        ("plain", servers.OURS, ""),
        ("published", PUBLISHED, "kinto_attachment"),
        ("ours", servers.OURS, "kinto_attachment"),
    ):
        # Each has its own: a store that has none of the files of a database is not written to.
        with (
            database(folder / f"pg-{name}", logging=True) as postgresql,
            servers.kinto(
                folder / name, "waitress", programs, postgresql.settings, plugin=plugin
            ) as server,
        ):
            counted[name] = _count(postgresql, User(server), name)
    wanted = {
        "new upload": (3, f"{TWICE}; +1 for the link"),
        "replacement": (4, f"{TWICE}; +4 for both links and who else holds the file"),
        "DELETE of a record without attachment": (1, "its links are looked for"),
    }
    return [
        Row(
            f"SQL statements of a {what}, beyond those of plain Kinto",
            f"{counted['published'][number] - counted['plain'][number]:+}",
            f"{counted['ours'][number] - counted['plain'][number]:+}",
            f"at most +{most}",
            counted["ours"][number] - counted["plain"][number] <= most,
            "" if counted["ours"][number] - counted["plain"][number] <= most else why,
        )
        for number, (what, (most, why)) in enumerate(wanted.items())
    ]


def _count(postgresql: Database, user: User, name: str) -> list[int]:
    """Statements of a creation, an update and a deletion: with a file, but on plain Kinto."""
    user.make()
    write = user.put if name == "plain" else user.upload
    record, other = (f"{COLLECTION}/records/{name}-{number}" for number in range(2))
    for warm in (other, record):
        write(warm)
        user("DELETE", warm, 200)
    user.put(other)
    calls = postgresql.statements
    return [
        calls(lambda: write(record)),
        calls(lambda: write(record)),
        calls(lambda: user("DELETE", other, 200)),
    ]


def conflicts(folder: Path, quick: bool) -> list[Row]:
    """Eight clients that upload to eight collections, and to one, with and without history."""
    rows: list[Row] = []
    with (
        database(folder / "pg-published") as of_published,
        database(folder / "pg-ours") as of_ours,
    ):
        databases = {"published": of_published, "ours": of_ours}
        for what, collections, rounds, plugin in (
            ("8 collections", 8, 40, "kinto_attachment"),
            ("one collection", 1, 300, "kinto_attachment"),
            ("one collection, history on", 1, 300, "kinto.plugins.history kinto_attachment"),
        ):
            shares = []
            for name in ("published", "ours"):
                (folder / f"files-{name}").mkdir(exist_ok=True)
            for name, programs in (("published", PUBLISHED), ("ours", servers.OURS)):
                more = {"base_path": str(folder / f"files-{name}")}
                where = folder / f"{name}-{len(rows)}"
                with servers.kinto(
                    where, "gunicorn", programs, databases[name].settings, 8, plugin, **more
                ) as server:
                    many = 5 if quick else rounds
                    shares.append(_refused(server, f"{name}-{len(rows)}", collections, many))
            rows.append(
                Row(
                    f"8 clients on {what}: uploads refused",
                    f"{shares[0]:.1f} %",
                    f"{shares[1]:.1f} %",
                    "none",
                    shares[1] == 0,
                )
            )
    return rows


def _refused(server: Measured, name: str, collections: int, rounds: int) -> float:
    """Per cent of the uploads of eight clients that are answered by anything but success."""
    places = [f"/v1/buckets/bench/collections/{name}-{n}" for n in range(collections)]
    for place in places:  # One by one: Kinto's own may be refused else.
        User(server).make(place)

    def client(number: int) -> int:
        user, place = User(server), places[number % collections]
        statuses = [user.upload(f"{place}/records/c{number}-r{n}") for n in range(rounds)]
        return sum(status not in (200, 201) for status in statuses)

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(client, range(8))) / (8 * rounds) * 100
