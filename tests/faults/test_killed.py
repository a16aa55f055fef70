"""The server is killed with SIGKILL after each change that a write makes outside of it.

What a killed process leaves are files and what it told the database: two lines with nothing of
that between them leave the same, and one of them stands for both. ``make soak`` takes each line.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import Database, Launcher, assert_nothing_dangles, call, collect
from tests.support.parts import COLLECTION, Server, multipart, sha256

EVERY_LINE = bool(os.environ.get("KILL_AT_EVERY_LINE"))
LEAST = 40 if EVERY_LINE else 10

BODY, FORM = multipart([("attachment", "photo.jpg", "image/jpeg", b"new")])


def run(port: int, operation: str, record: str, authorization: str) -> int:
    headers = {"Authorization": authorization}
    if operation in ("upload", "replace"):
        headers["Content-Type"] = FORM
        return call(port, "POST", f"{record}/attachment", BODY, **headers)[0]
    path = f"{record}/attachment" if operation == "remove" else record
    return call(port, "DELETE", path, None, **headers)[0]


def kill_points(
    launcher: Launcher, files: Path, operation: str, record: str, authorization: str, trace: Path
) -> list[int]:
    """Run the operation once in peace; the numbers of the steps at which to kill."""
    port, pid = launcher.start(trace=str(trace), folder=str(files))
    assert run(port, operation, record, authorization) in (200, 201, 204)
    launcher.stop(pid)
    seen: dict[str, int] = {}
    for number, step in enumerate(trace.read_text().splitlines(), 1):
        line, outside = step.split("\t")
        seen.setdefault(line if EVERY_LINE else outside, number)
    return sorted(seen.values())


@pytest.mark.parametrize("operation", ["upload", "replace", "remove", "delete"])
def test_a_server_killed_at_any_moment_leaves_old_or_new_and_nothing_after_gc(
    on_postgresql: Callable[..., Server],
    launcher: Launcher,
    database: Database,
    tmp_path: Path,
    operation: str,
) -> None:
    server = on_postgresql()
    client = server.as_user()
    authorization = client.headers["Authorization"]

    def prepare(name: str) -> str:
        record = f"{COLLECTION}/records/{name}"
        if operation != "upload":
            client.upload(f"{record}/attachment", content=b"old")
        return record

    assert server.files is not None
    points = kill_points(
        launcher, server.files, operation, prepare("peace"), authorization, tmp_path / "trace"
    )
    assert len(points) >= LEAST
    killed = 0
    for point in points:
        record = prepare(f"killed-at-{point}")
        port, pid = launcher.start(kill_at=point)
        killed += run(port, operation, record, authorization) == 0
        launcher.stop(pid)
        database.wait_until_idle()

        assert_nothing_dangles(server)
        found = client.get(record, "*").json.get("data", {}).get("attachment", {}).get("hash")
        states = {
            "upload": (None, sha256(b"new")),
            "replace": (sha256(b"old"), sha256(b"new")),
            "remove": (sha256(b"old"), None),
            "delete": (sha256(b"old"), None),
        }
        assert found in states[operation]
        collect(server)
        server.assert_agreement()
        client.delete(record, "*")
    assert killed >= LEAST
