"""``upload --records`` sends what was noted, and never what else lies under a file's name."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from kinto_attachment.client import notes
from tests.commands.front import Reply, Seen
from tests.commands.syncing import USER, Album, statuses, told
from tests.support.processes import started

Capsys = pytest.CaptureFixture[str]
NAME, CONTENT = "deep/a.txt", b"content"
SENTENCE = "`kinto-attachment download --records` into its folder again"


@pytest.fixture
def other(album: Album, tmp_path: Path) -> Album:
    """The collection that becomes the mirror."""
    return Album(album.kinto, album.front, tmp_path / "other")


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "to"


def linked(path: Path, where: Path) -> None:
    """Move it away, and leave a link to it."""
    where.parent.mkdir(parents=True, exist_ok=True)
    path.rename(where)
    path.symlink_to(where)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def made_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILT: dict[str, Callable[[Path], object]] = {
    "other content of the same size": lambda to: (to / NAME).write_bytes(b"CONTENT"),
    "shorter": lambda to: (to / NAME).write_bytes(CONTENT[:-1]),
    "longer": lambda to: (to / NAME).write_bytes(CONTENT + b"!"),
    "empty": lambda to: (to / NAME).write_bytes(b""),
    "missing": lambda to: (to / NAME).unlink(),
    "a link out": lambda to: linked(to / NAME, to.parent / "outside"),
    "a link inside": lambda to: linked(to / NAME, to / "b.txt"),
    "a link to nothing": lambda to: link_to_nothing(to / NAME),
    "in a folder that is a link out": lambda to: linked(to / "deep", to.parent / "outside"),
    "a folder": lambda to: made_folder(to / NAME),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_only_what_was_noted_is_sent(
    album: Album, other: Album, to: Path, spoil: Callable[[Path], object], capsys: Capsys
) -> None:
    album.file(NAME, CONTENT)
    album.file("good.txt", b"good")
    assert album.run("upload", str(album.folder), "--path-field", "path") == 0
    ids = {record["path"]: record_id for record_id, record in album.records().items()}
    download = ("download", "--to", str(to), "--records", "--path-field", "path")
    assert album.run(*download) == 0
    other.put_file(ids[NAME], b"what the mirror has")
    before = other.records()
    spoil(to)
    capsys.readouterr()

    assert other.run("upload", str(to), "--records") == 1

    lines = told(capsys)
    assert {name: line["status"] for name, line in lines.items()} == {
        NAME: "failed",
        "good.txt": "uploaded",
    }
    error = lines[NAME]["error"]
    assert SENTENCE in error
    assert other.records()[ids[NAME]] == before[ids[NAME]]
    assert other.content(ids[NAME]) == b"what the mirror has"
    # What it says to do does help.
    for path in (to / "deep", to / NAME):
        if "remove" in error and path.is_symlink():
            path.unlink()
    if "remove" in error and (to / NAME).is_dir():
        (to / NAME).rmdir()
    assert album.run(*download) == 0
    assert other.run("upload", str(to), "--records") == 0
    assert other.content(ids[NAME]) == CONTENT


def test_names_that_were_swapped_by_a_download_that_was_killed_swap_no_files(
    album: Album, other: Album, to: Path, tmp_path: Path, capsys: Capsys
) -> None:
    album.put_file("one", b"first", "a.txt")
    album.put_file("two", b"second", "b.txt")
    assert album.run("download", "--to", str(to), "--records") == 0
    album.put_file("one", b"first", "b.txt")
    album.put_file("two", b"second", "a.txt")
    album.put_file("zero", b"fetched as the last one, by its id", "c.txt")

    def plan(seen: Seen) -> None:
        if "/zero/attachment" in seen.path:
            process.kill()
            process.wait(60)

    album.front.plan = plan
    command = [*album.command("download"), "--to", str(to), "--records", "--jobs", "1"]
    with started(command, tmp_path, stdout=subprocess.DEVNULL) as process:
        process.wait(60)
    album.front.plan = lambda _: None
    assert [(to / name).read_bytes() for name in ("a.txt", "b.txt")] == [b"second", b"first"]
    capsys.readouterr()

    assert other.run("upload", str(to), "--records") == 1

    assert statuses(capsys) == {"a.txt": "failed", "b.txt": "failed"}
    assert other.records() == {}
    assert album.run("download", "--to", str(to), "--records") == 0
    assert other.run("upload", str(to), "--records") == 0
    assert (other.content("one"), other.content("two")) == (b"first", b"second")


def test_files_of_a_later_download_without_notes_are_no_others_files(
    album: Album, other: Album, to: Path
) -> None:
    album.put_file("one", b"old")
    assert album.run("download", "--to", str(to), "--records") == 0
    requests.delete(album.url("one"), auth=USER).raise_for_status()
    album.put_file("two", b"not of one")
    assert album.run("download", "--to", str(to)) == 0
    assert '"id": "one"' in (to / notes.NAME).read_text()

    assert other.run("upload", str(to), "--records") == 1

    assert other.records() == {}


def test_an_old_file_whose_new_one_could_not_be_fetched_is_not_sent(
    album: Album, other: Album, to: Path
) -> None:
    album.put_file("one", b"old")
    assert album.run("download", "--to", str(to), "--records") == 0
    for one in (album, other):
        one.put_file("one", b"new")
    before = other.records()
    album.front.plan = lambda seen: Reply(404) if "/attachment" in seen.path else None
    assert album.run("download", "--to", str(to), "--records") == 1
    album.front.plan = lambda _: None

    assert other.run("upload", str(to), "--records") == 1

    assert other.records() == before
    assert other.content("one") == b"new"
