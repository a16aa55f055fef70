"""``upload`` and ``download`` that are killed, at any moment, and run again."""

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.front import Seen
from tests.commands.syncing import Album, statuses
from tests.support.parts import sha256
from tests.support.processes import started

Capsys = pytest.CaptureFixture[str]
FILES = 1000
BIG = bytes(range(256)) * 8192
HALF = len(BIG) // 2


class Hold:
    """Keeps requests waiting."""

    def __init__(self) -> None:
        self.waiting = threading.Event()
        self._go_on = threading.Event()

    def wait(self) -> None:
        self.waiting.set()
        self._go_on.wait(60)

    def release(self) -> None:
        self._go_on.set()


@pytest.fixture
def hold() -> Iterator[Hold]:
    made = Hold()
    yield made
    made.release()


def test_a_thousand_files_of_which_half_were_sent_before_a_kill(
    album: Album, tmp_path: Path, capsys: Capsys
) -> None:
    content = {f"{number:04}.txt": b"content %d" % number for number in range(FILES)}
    for name, value in content.items():
        album.file(name, value)
    before, folder = album.stored(), str(album.folder)
    straight = [*album.command("upload"), folder, "--server", album.kinto.url]

    with started(straight, tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        for _ in range(FILES // 2):
            assert json.loads(process.stdout.readline())["status"] == "uploaded"
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    half = album.records()
    assert FILES // 2 <= len(half) < FILES

    assert album.run("upload", folder, "--server", album.kinto.url) == 0
    told = list(statuses(capsys).values())
    # One that was under way at the kill may arrive while the second run looks.
    assert FILES // 2 <= told.count("unchanged") < FILES
    assert told.count("uploaded") + told.count("unchanged") == FILES
    records = album.records()
    attachments = {r["attachment"]["filename"]: r["attachment"] for r in records.values()}
    assert {name: one["hash"] for name, one in attachments.items()} == {
        name: sha256(value) for name, value in content.items()
    }
    assert len(records) == FILES
    assert {one: records[one] for one in half} == half
    stored = [path.read_bytes() for path in album.stored() - before]
    assert sorted(stored) == sorted(content.values())

    assert album.run("upload", folder) == 0
    assert set(statuses(capsys).values()) == {"unchanged"}
    assert album.records() == records
    assert {one.method for one in album.front.seen} == {"GET"}
    assert len(album.front.seen) <= FILES // 10


def test_a_download_that_was_killed_half_way_fetches_the_rest(
    album: Album, hold: Hold, tmp_path: Path
) -> None:
    album.put_file("a", BIG, "big.txt")
    to = tmp_path / "to"

    def plan(seen: Seen) -> int | None:
        if "Range" in seen.headers:
            hold.wait()
        return HALF if "/attachment" in seen.path else None

    album.front.plan = plan
    command = [*album.command("download"), "--to", str(to)]
    with started(command, tmp_path, stdout=subprocess.DEVNULL) as process:
        assert hold.waiting.wait(60)
        process.kill()
        process.wait(60)
    assert [path.name for path in to.iterdir()] == [f".big.txt.{sha256(BIG)[:16]}.part"]
    assert next(to.iterdir()).read_bytes() == BIG[:HALF]
    hold.release()
    album.front.plan = lambda _: None
    album.front.seen.clear()

    assert album.run("download", "--to", str(to)) == 0

    assert {path.name: path.read_bytes() for path in to.iterdir()} == {"big.txt": BIG}
    (asked,) = [one for one in album.front.seen if "/attachment" in one.path]
    assert (asked.status, asked.sent) == (206, len(BIG) - HALF)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "sigterm"]
)
@pytest.mark.parametrize("command", ["upload", "download"])
def test_a_signal_ends_it_though_the_server_never_answers(
    album: Album, hold: Hold, command: str, number: int, code: int, tmp_path: Path
) -> None:
    album.put_file("a", b"content")

    def plan(seen: Seen) -> None:
        if "/attachment" in seen.path:
            hold.wait()

    album.front.plan = plan
    more = {"upload": [str(album.file("new"))], "download": ["--to", str(tmp_path / "to")]}
    with started(
        [*album.command(command), *more[command]], tmp_path, stderr=subprocess.PIPE
    ) as process:
        assert hold.waiting.wait(60)
        process.send_signal(number)
        assert process.wait(60) == code
        assert process.stderr
        assert "Traceback" not in process.stderr.read()
    assert set(album.records()) == {"a"}
