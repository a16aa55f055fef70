"""Uploads of large files, and hostile bodies: processor time, wall time, memory, disk."""

import contextlib
import hashlib
import http.client
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import requests

from benchmarks import servers
from benchmarks.servers import PUBLISHED, Measured
from benchmarks.table import Row
from kinto_attachment.http.received.forms import MAX_BOUNDARY
from tests.support.parts import multipart

MIB = 1024 * 1024
CREDENTIALS = {"Authorization": "Basic dXNlcjpzZWNyZXQ="}
RECORD = "/v1/buckets/default/collections/album/records/big"
BLOCK = os.urandom(MIB)
PARSED = "the form is parsed while it passes; runs differ by a fifth"


@dataclass(frozen=True)
class Cost:
    """What one upload has cost its server: seconds, and bytes."""

    cpu: float
    wall: float
    grown: int
    written: int


def form(size: int) -> tuple[bytes, bytes, str]:
    whole, content_type = multipart([("attachment", "big.bin", "image/x-raw", b"<file>")])
    head, tail = whole.split(b"<file>")
    return head, tail, content_type


def post(origin: str, path: str, blocks: Iterator[bytes], length: int, kind: str) -> bytes:
    connection = http.client.HTTPConnection(origin.removeprefix("http://"), timeout=600)
    with contextlib.closing(connection):
        headers = {**CREDENTIALS, "Content-Type": kind, "Content-Length": str(length)}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # The answer says why.
            connection.request("POST", path, blocks, headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (200, 201), body
        return body


def upload(server: Measured, size: int, record: str = RECORD) -> Cost:
    head, tail, content_type = form(size)

    def blocks() -> Iterator[bytes]:
        yield head
        for _ in range(size // MIB):
            yield BLOCK
        yield tail

    os.sync()
    server.forget_peak()
    idle, cpu, written = server.peak(), server.cpu(), server.written()
    began = time.monotonic()
    length = len(head) + size + len(tail)
    post(server.origin, f"{record}/attachment", blocks(), length, content_type)
    wall = time.monotonic() - began
    return Cost(server.cpu() - cpu, wall, server.peak() - idle, server.written() - written)


def floor(folder: Path, size: int) -> float:
    """Processor seconds of hashing and writing alone: no server, nothing received."""
    digest, began = hashlib.sha256(), time.process_time()
    path = folder / "floor.bin"
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MIB):
            digest.update(BLOCK)
            file.write(BLOCK)
        os.fsync(file.fileno())
    path.unlink()
    return time.process_time() - began


def measure(folder: Path, quick: bool) -> list[Row]:
    rows: list[Row] = []
    rounds = {16: 1} if quick else {64: 3, 512: 3, 2048: 2}
    for server in ("waitress", "gunicorn"):
        with (
            servers.kinto(folder / f"ours-{server}", server) as ours,
            servers.kinto(folder / f"published-{server}", server, PUBLISHED) as published,
            servers.bare(folder / f"bare-{server}", server) as bare,
        ):
            for running in (ours, published, bare):
                upload(running, MIB)
            for size, times in rounds.items():
                rows += _compared(folder, server, (ours, published, bare), size * MIB, times)
            rows.append(_normal_bucket(ours, server, max(rounds) * MIB))
    return rows


def _compared(
    folder: Path, server: str, running: tuple[Measured, ...], size: int, times: int
) -> list[Row]:
    costs: list[list[Cost]] = [[], [], []]
    floors = []
    for number in range(times):
        # Each goes first in turn: what one has written, the disk works off during the next.
        order = [(number + place) % 3 for place in range(3)]
        for which in order:
            if number and which == 1 and size > 512 * MIB:
                continue  # The published plugin takes a minute.
            costs[which].append(upload(running[which], size))
            _clear(running[which])
        floors.append(floor(folder, size))

    def ratio(which: int) -> float:
        pairs = zip(costs[which], costs[2], strict=False)
        return median(a.cpu / b.cpu for a, b in pairs)

    cpu = [median(c.cpu for c in found) for found in costs]
    wall = [median(c.wall for c in found) for found in costs]
    grown = [max(c.grown for c in found) / MIB for found in costs]
    written = [median(c.written for c in found) / size for found in costs]
    least = median(floors)
    name = f"{size // MIB} MiB upload, {server}"
    wanted_written = 2.05 if server == "waitress" else 1.05
    most = 4 if server == "gunicorn" else None
    return [
        Row(
            f"{name}: server CPU, bare app = 1",
            f"{ratio(1):.1f}",
            f"{ratio(0):.2f}",
            "at most 1.2",
            ratio(0) <= 1.2,
            "" if ratio(0) <= 1.2 else PARSED,
        ),
        Row(
            f"{name}: server CPU, hash and write alone = 1",
            f"{cpu[1] / least:.1f}",
            f"{cpu[0] / least:.1f}",
            "at most 4" if most else "reported",
            cpu[0] / least <= most if most else None,
            PARSED if most and cpu[0] / least > most else "",
        ),
        Row(
            f"{name}: seconds",
            f"{wall[1]:.1f}",
            f"{wall[0]:.1f}",
            "3 times faster",
            wall[1] / wall[0] >= 3,
            "" if wall[1] / wall[0] >= 3 else "the disk, which both wait for",
        ),
        Row(
            f"{name}: memory above idle",
            f"{grown[1]:.0f} MiB",
            f"{grown[0]:.1f} MiB",
            "at most 8 MiB",
            grown[0] <= 8,
        ),
        Row(
            f"{name}: bytes written, of those uploaded",
            f"{written[1]:.1f}",
            f"{written[0]:.2f}",
            f"{wanted_written - 0.05:.1f}",
            written[0] <= wanted_written,
        ),
    ]


def _normal_bucket(ours: Measured, server: str, size: int) -> Row:
    """All of the above goes to the default bucket; here another one, for comparison."""
    collection = "/v1/buckets/own/collections/album"
    for path in ("/v1/buckets/own", collection):
        requests.put(f"{ours.origin}{path}", headers=CREDENTIALS).raise_for_status()
    cost = upload(ours, size, f"{collection}/records/big")
    _clear(ours)
    return Row(
        f"{size // MIB} MiB upload, {server}, not the default bucket: memory above idle",
        "-",
        f"{cost.grown / MIB:.1f} MiB",
        "at most 8 MiB",
        cost.grown <= 8 * MIB,
    )


def _clear(server: Measured) -> None:
    """Empty the file again: 2 GiB each add up. A store that has none of the files that records
    name is not written to."""
    for path in server.folder.rglob("*"):
        if path.is_file() and path.stat().st_size > MIB:
            os.truncate(path, 0)


def hostile(folder: Path, quick: bool) -> list[Row]:
    """Bodies that parsers dislike: bytes per processor second."""
    size = (1 if quick else 8) * MIB
    longest = "b" * MAX_BOUNDARY
    bodies = {
        "newlines": (b"\n", "frontier"),
        "CR LF only": (b"\r\n", "frontier"),
        "near-boundaries": (b"\r\n--frontie", "frontier"),
        "near-boundaries, longest boundary": (f"\r\n--{longest[:-1]}".encode(), longest),
    }
    rows = []
    with (
        servers.kinto(folder / "ours", "waitress") as ours,
        servers.kinto(folder / "published", "waitress", PUBLISHED) as published,
    ):
        for name, (unit, boundary) in bodies.items():
            speeds = [
                _speed(server, unit, boundary, times * size)
                # Ours gets more: one processor tick is ten milliseconds.
                for server, times in ((ours, 64 * MIB // size), (published, 1))
            ]
            rows.append(
                Row(
                    f"hostile body, waitress, {name}: MB per CPU second",
                    f"{speeds[1]:.1f}",
                    f"{speeds[0]:.0f}",
                    "at least 200",
                    speeds[0] >= 200,
                )
            )
    return rows


def _speed(server: Measured, unit: bytes, boundary: str, size: int) -> float:
    part: Any = ("attachment", "big.bin", None, unit * (size // len(unit)))
    body, content_type = multipart([part], boundary)
    before = server.cpu()
    try:
        post(server.origin, f"{RECORD}/attachment", iter([body]), len(body), content_type)
    except AssertionError as error:
        print(f"refused: {str(error)[:120]}", file=sys.stderr)
        return 0.0
    return len(body) / 1e6 / max(server.cpu() - before, 0.01)
