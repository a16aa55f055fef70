"""The commands for clients in a Python without what only Unix has, in processes of their own.

What Windows refuses is refused there, too: names, and renaming or removing what is open.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kinto_attachment.client import locks
from tests.commands import like_windows
from tests.commands.front import Seen
from tests.commands.syncing import Album
from tests.support.parts import sha256
from tests.support.processes import run, started

BIG = bytes(range(256)) * 8192
HALF = len(BIG) // 2

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(params=["msvcrt", "no locks"])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(Path(like_windows.__file__).read_text())
    own = {"PYTHONPATH": str(site), "LIKE_WINDOWS": str(tmp_path / "disk")}
    (tmp_path / "disk").mkdir()
    return own | ({"LIKE_WINDOWS_LOCKS": "1"} if request.param == "msvcrt" else {})


@pytest.fixture
def windows(album: Album, env: dict[str, str], tmp_path: Path) -> Command:
    """Runs a command there."""
    return lambda name, *arguments: run([*album.command(name), *arguments], tmp_path, env)


def test_what_only_unix_has_is_not_there(env: dict[str, str], tmp_path: Path) -> None:
    lines = "\n".join(
        f"try: import {name}\nexcept ImportError: print(0)" for name in ("fcntl", "pwd")
    )

    done = run(
        ["python", "-c", f"{lines}\nimport os; print(hasattr(os, 'getuid'))"], tmp_path, env
    )

    assert done.stdout.split() == ["0", "0", "False"], done.stderr


def test_all_commands_work(album: Album, windows: Command, tmp_path: Path) -> None:
    album.file("deep/er/a.txt", b"1")
    album.file("big.txt", BIG)
    to = tmp_path / "disk" / "to"
    paths = ("--path-field", "path")
    # The first download breaks off, and goes on.
    album.front.plan = lambda seen: (
        HALF
        if seen.method == "GET" and "/attachment" in seen.path and "Range" not in seen.headers
        else None
    )

    sent = windows("upload", str(album.folder), *paths)
    fetched = [windows("download", "--to", str(to), "--records", *paths) for _ in range(2)]
    mirrored = windows("upload", "--records", str(to), "--collection", f"{album.name}-2")
    listed = windows("ls")
    deleted = windows("delete", *album.records())

    for done in (sent, *fetched, mirrored, listed, deleted):
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert {p.relative_to(to).as_posix() for p in to.rglob("*") if p.is_file()} == {
        "deep/er/a.txt",
        "big.txt",
        ".kinto-records.jsonl",
    }
    assert (to / "big.txt").read_bytes() == BIG
    assert fetched[1].stdout.count('"unchanged"') == 2
    assert mirrored.stdout.count('"uploaded"') == 2
    assert listed.stdout.count("\n") == 2
    assert deleted.stdout.count('"deleted"') == 2


def test_a_second_download_into_a_folder_is_refused(
    album: Album, windows: Command, env: dict[str, str], tmp_path: Path
) -> None:
    album.put_file("a", b"content")
    to = tmp_path / "disk" / "to"
    second = []

    def plan(seen: Seen) -> None:
        if "/attachment" in seen.path:
            second.append(windows("download", "--to", str(to)))

    album.front.plan = plan

    assert windows("download", "--to", str(to)).returncode == 0

    assert [done.returncode for done in second] == [2]
    assert "Another download into" in second[0].stderr
    assert [path.name for path in to.iterdir()] == ["a.txt"]


def test_after_a_kill_the_rest_is_fetched(
    album: Album, windows: Command, env: dict[str, str], tmp_path: Path
) -> None:
    album.put_file("a", BIG)
    to = tmp_path / "disk" / "to"
    command = [*album.command("download"), "--to", str(to)]
    killed: list[bool] = []

    def plan(seen: Seen) -> int | None:
        if "/attachment" not in seen.path:
            return None
        if "Range" not in seen.headers:
            return HALF
        if not killed:
            killed.append(True)
            process.kill()
            process.wait(60)
        return None

    album.front.plan = plan
    with started(command, tmp_path, env=env, stdout=subprocess.DEVNULL) as process:
        process.wait(60)
    assert killed
    assert (to / f".a.txt.{sha256(BIG)[:16]}.part").read_bytes() == BIG[:HALF]

    again = windows("download", "--to", str(to))
    if "LIKE_WINDOWS_LOCKS" not in env:  # Nothing tells whether its owner lives.
        assert again.returncode == 2
        assert f"If there is none, remove {to / locks.NAME}." in again.stderr
        (to / locks.NAME).unlink()
        again = windows("download", "--to", str(to))

    assert again.returncode == 0, again.stderr
    assert {path.name: path.read_bytes() for path in to.iterdir()} == {"a.txt": BIG}
    assert album.front.seen[-1].sent == len(BIG) - HALF
