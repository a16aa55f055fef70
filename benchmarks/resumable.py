"""A large file in many requests over two nodes, beside the same file in one request."""

import contextlib
import hashlib
import http.client
import itertools
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from benchmarks import s3, servers
from benchmarks.database import database
from benchmarks.servers import Measured
from benchmarks.table import Row
from benchmarks.uploads import BLOCK, CREDENTIALS, MIB
from benchmarks.user import COLLECTION, User

PIECES = 37
Nodes = tuple[Measured, Measured]


class Cost(NamedTuple):
    """Of one file: seconds, bytes by which the memory of a node grew, bytes read back."""

    wall: float
    grown: int
    read: int


def content(start: int, stop: int) -> Iterator[bytes]:
    """A part of a file that repeats one block."""
    while start < stop:
        within = start % MIB
        chunk = BLOCK[within : within + stop - start]
        yield chunk
        start += len(chunk)


def digest_of(size: int) -> str:
    digest = hashlib.sha256()
    for chunk in content(0, size):
        digest.update(chunk)
    return digest.hexdigest()


def ask(node: Measured, method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Headers and body of an answer that is a success."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(node.origin.removeprefix("http://"), timeout=900)
    with contextlib.closing(connection):
        connection.request(method, path, body, {**CREDENTIALS, **named})
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in (200, 201, 204), said
        return answer.headers, said


def in_one(nodes: Nodes, record: str, size: int) -> None:
    how = {"Content_Length": str(size), "Content_Type": "image/x-raw"}
    path = f"{record}/attachment?filename=big.bin"
    ask(nodes[0], "PUT", path, content(0, size), **how)


def in_pieces(nodes: Nodes, record: str, size: int) -> None:
    """By tus. Before each piece the client asks its node where it goes on."""
    tus = {"Tus_Resumable": "1.0.0", "Content_Type": "application/offset+octet-stream"}
    uploads = f"{record}/attachment/uploads"
    made, _ = ask(nodes[0], "POST", uploads, Upload_Length=str(size), **tus)
    path = "/" + made["Location"].split("/", 3)[3]
    cuts = sorted(random.Random(37).sample(range(1, size), PIECES - 1))
    turns = itertools.cycle(nodes)
    for start, stop in itertools.pairwise([0, *cuts, size]):
        node = next(turns)
        found, _ = ask(node, "HEAD", path, **tus)
        assert int(found["Upload-Offset"]) == start
        how = {**tus, "Upload_Offset": str(start), "Content_Length": str(stop - start)}
        ask(node, "PATCH", path, content(start, stop), **how)


def resumable(folder: Path, quick: bool) -> list[Row]:
    """On a directory, and on S3."""
    size, rounds = (20 * MIB, 1) if quick else (2048 * MIB, 3)
    rows = []
    with database(folder / "pg-local") as postgresql:
        own = {"base_path": str(folder / "files")}
        (folder / "files").mkdir()
        with two(folder / "local", postgresql.settings, own) as nodes:

            def clear() -> None:
                for path in (folder / "files").glob("*.bin"):
                    path.unlink()

            rows += _rows("a directory", nodes, size, rounds, lambda: _read(nodes), clear)
    with (
        database(folder / "pg-s3") as postgresql,
        s3.running() as store,
        two(folder / "s3", postgresql.settings, store.settings) as nodes,
    ):
        rows += _rows("S3", nodes, size, 1, store.read, store.clear)
    return rows


@contextlib.contextmanager
def two(folder: Path, backend: dict[str, str], own: dict[str, str]) -> Iterator[Nodes]:
    """Two nodes on one database and one store."""
    how = {"backend": backend, "uploads": "true", **own}
    with (
        servers.kinto(folder / "a", "gunicorn", **how) as a,  # type: ignore[arg-type]
        servers.kinto(folder / "b", "gunicorn", **how) as b,  # type: ignore[arg-type]
    ):
        User(a).make()
        yield a, b


def _read(nodes: Nodes) -> int:
    """Bytes that processes have read from files. What comes from sockets does not count."""
    found = [process for node in nodes for process in node.processes]
    return sum(psutil.Process(p.pid).io_counters().read_chars for p in found)


def _rows(
    name: str,
    nodes: Nodes,
    size: int,
    rounds: int,
    read: Callable[[], int],
    clear: Callable[[], None],
) -> list[Row]:
    sha256, costs = digest_of(size), {in_one: list[Cost](), in_pieces: list[Cost]()}
    for way in costs:
        for node in (nodes, nodes[::-1]):
            _cost(way, node, "warm", 20 * MIB, read)
    for number in range(rounds):
        for way in list(costs)[:: 1 if number % 2 else -1]:
            record = f"{COLLECTION}/records/{way.__name__}-{number}"
            costs[way].append(_cost(way, nodes, record, size, read))
            said = json.loads(ask(nodes[1], "GET", record)[1])["data"]["attachment"]
            assert (said["size"], said["hash"]) == (size, sha256)
            clear()
    ratio = median(b.wall / a.wall for a, b in zip(costs[in_one], costs[in_pieces], strict=True))
    grown = max(cost.grown for cost in costs[in_pieces]) / MIB
    back = max(cost.read for cost in costs[in_pieces]) / MIB
    most = 0.5 if name != "S3" else PIECES * 8
    title = f"{size // MIB} MiB in {PIECES} requests over two nodes, {name}"
    seconds = [f"{median(c.wall for c in found):.1f}" for found in costs.values()]
    return [
        Row(
            f"{title}: seconds, one request = 1",
            "-",
            f"{ratio:.2f} ({seconds[1]} and {seconds[0]})",
            "at most 1.15",
            ratio <= 1.15,
        ),
        Row(
            f"{title}: memory above idle",
            "-",
            f"{grown:.1f} MiB",
            "at most 16 MiB",
            grown <= 16,
        ),
        Row(
            f"{title}: read back from the store",
            "-",
            f"{back:.1f} MiB",
            "none" if name != "S3" else "less than a part for each request",
            back <= most,
        ),
    ]


def _cost(
    way: Callable[[Nodes, str, int], None],
    nodes: Nodes,
    record: str,
    size: int,
    read: Callable[[], int],
) -> Cost:
    record = record if "/" in record else f"{COLLECTION}/records/{record}"
    for node in nodes:
        node.forget_peak()
    idle, before, began = [node.peak() for node in nodes], read(), time.monotonic()
    way(nodes, record, size)
    wall = time.monotonic() - began
    grown = max(n.peak() - i for n, i in zip(nodes, idle, strict=True))
    return Cost(wall, grown, read() - before)
