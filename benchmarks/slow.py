"""Slow uploads beside normal requests."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

from benchmarks import servers
from benchmarks.database import Database, database
from benchmarks.servers import PUBLISHED, Measured
from benchmarks.table import Row
from benchmarks.uploads import post
from benchmarks.user import COLLECTION, FORM, KIND, User


def slow(folder: Path, quick: bool) -> list[Row]:
    """Slow uploads beside normal requests: held connections, and how long others wait."""
    clients, rounds = (8, 50) if quick else (32, 400)
    with database(folder / "pg") as postgresql:
        shown = []
        for name, programs in (("published", PUBLISHED), ("ours", servers.OURS)):
            where = folder / name
            with servers.kinto(
                where, "gunicorn", programs, postgresql.settings, threads=48
            ) as server:
                shown.append(_beside_slow(postgresql, server, clients, rounds))
    (theirs_held, theirs), (held, ours) = shown
    return [
        Row(
            f"{clients} slow uploads: database connections held",
            str(theirs_held),
            str(held),
            "none",
            held == 0,
        ),
        Row(
            f"{clients} slow uploads: p95 of other requests, without them = 1",
            f"{theirs:.2f}",
            f"{ours:.2f}",
            "at most 1.3",
            ours <= 1.3,
        ),
    ]


def _p95(user: User, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        user("GET", f"{COLLECTION}/records/read", 200)
        times.append(time.perf_counter() - began)
    return quantiles(times, n=20)[-1]


def _beside_slow(
    postgresql: Database, server: Measured, clients: int, rounds: int
) -> tuple[int, float]:
    user = User(server)
    user.make()
    user.put(f"{COLLECTION}/records/read")

    _p95(user, rounds)
    alone = _p95(user, rounds)
    stop = threading.Event()
    begun = threading.Barrier(clients + 1)

    def trickle() -> Iterator[bytes]:
        for index, position in enumerate(range(0, len(FORM), 1024)):
            yield FORM[position : position + 1024]
            if index == 0:
                begun.wait(60)
            stop.wait(1)  # One KiB a second, until it is told to hurry.

    def slowly(number: int) -> None:
        path = f"{COLLECTION}/records/slow-{number}/attachment"
        with contextlib.suppress(AssertionError):  # The published plugin refuses some with 409.
            post(server.origin, path, trickle(), len(FORM), KIND)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(slowly, number) for number in range(clients)]
        begun.wait(60)
        time.sleep(1)  # By then all of them have been let in, and wait for their next KiB.
        query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
        held = int(postgresql.run(query)[0][0])
        beside = _p95(user, rounds)
        assert not any(future.done() for future in running), "the uploads were not slow enough"
        stop.set()
        for future in running:
            future.result()
    return held, beside / alone
