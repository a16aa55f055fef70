"""``upload`` of files in several requests: whatever breaks, it goes on where it was."""

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment.client import outcomes
from kinto_attachment.client.resuming import PIECE
from kinto_attachment.client.upload_notes import PREFIX
from tests.commands.front import CUT, DROP, Plan, Reply, Seen, front, once
from tests.commands.syncing import SERVER_SETTINGS, USER, Album, told
from tests.support import parts, processes
from tests.support.processes import Kinto, started
from tests.support.streaming import serving

Capsys = pytest.CaptureFixture[str]
ON = {
    "kinto.attachment.uploads": "true",
    "kinto.attachment.resources.whole.uploads": "false",
}
PIECES = 3
CONTENT = bytes(range(251)) * (PIECE // 251 * 5 // 2)
TUS = {"Tus-Resumable": "1.0.0"}
SMALL = "--resumable-above=10"


@pytest.fixture(scope="module")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    folder = tmp_path_factory.mktemp("kinto")
    settings = processes.basic_settings(folder, parts.MEMORY) | SERVER_SETTINGS | ON
    with processes.running_kinto(folder, settings) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the tries of commands that run in this process."""
    monkeypatch.setattr(outcomes, "LONGEST_PAUSE", 0.0)


def sent(album: Album) -> list[tuple[str, int]]:
    """The requests that bring files, and the bytes of their bodies."""
    seen = [one for one in album.front.seen if "/attachment" in one.path]
    return [(one.method, len(one.body)) for one in seen]


def notes(album: Album) -> list[str]:
    return sorted(path.name for path in album.folder.iterdir() if path.name.startswith("."))


def is_patch(seen: Seen) -> bool:
    return seen.method == "PATCH"


def number(wanted: int, step: Reply | str, method: str = "PATCH") -> Plan:
    """The step for one of the requests with this method."""
    count = iter(range(1, 1000))
    return lambda seen: step if seen.method == method and next(count) == wanted else None


def is_whole(album: Album, content: bytes = CONTENT) -> bool:
    (record,) = album.records().values()
    return album.content(record["id"]) == content and notes(album) == []


# What is sent, and to whom


def test_a_large_file_goes_in_several_requests(album: Album, capsys: Capsys) -> None:
    path = album.file("film.txt", CONTENT)
    assert album.run("upload", str(path), '--data={"title": "At the sea"}') == 0

    (line,) = told(capsys).values()
    assert (line["status"], line["size"]) == ("uploaded", len(CONTENT))
    rest = len(CONTENT) - (PIECES - 1) * PIECE
    assert sent(album) == [("POST", 0), *[("PATCH", PIECE)] * (PIECES - 1), ("PATCH", rest)]
    (record,) = album.records().values()
    attachment = record["attachment"]
    assert (attachment["filename"], attachment["mimetype"]) == ("film.txt", "text/plain")
    assert (attachment["hash"], record["title"]) == (parts.sha256(CONTENT), "At the sea")
    assert is_whole(album)


@pytest.mark.parametrize(
    "arguments",
    [["--no-resume"], ["--resumable-above=1MiB"], ["--resumable-above", "20 B"], []],
    ids=str,
)
def test_a_file_that_is_not_above_goes_in_one(album: Album, arguments: list[str]) -> None:
    content = b"x" * 20
    assert album.run("upload", str(album.file("a.txt", content)), *arguments) == 0

    assert [method for method, _ in sent(album)] == ["POST"]
    assert is_whole(album, content)


def test_a_server_that_takes_no_pieces_gets_forms_as_ever(album: Album) -> None:
    answer = requests.get(f"{album.kinto.url}/").json()
    del answer["capabilities"]["attachments"]["uploads"]
    reply = Reply(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())
    album.front.plan = lambda seen: reply if seen.path == "/v1/" else None
    assert album.run("upload", str(album.file("a.txt", b"x" * 20)), SMALL) == 0

    assert [method for method, _ in sent(album)] == ["POST"]
    assert is_whole(album, b"x" * 20)


@pytest.mark.parametrize(
    "more",
    [{}, {"plan": Reply(429)}, {"plan": Reply(507)}, {"data": {"long": "x" * 4000}}],
    ids=["pieces", "too-many", "no-space", "long-fields"],
)
def test_what_can_not_go_in_pieces_goes_in_one(album: Album, more: dict[str, Any]) -> None:
    if "plan" in more:
        album.front.plan = once(lambda seen: seen.path.endswith("/uploads"), more["plan"])
    data = more.get("data", {"title": "At the sea"})
    path = album.file("a.txt", b"x" * 20)
    assert album.run("upload", str(path), SMALL, f"--data={json.dumps(data)}") == 0

    assert ("PATCH" in dict(sent(album))) is not bool(more)
    assert is_whole(album, b"x" * 20)
    (record,) = album.records().values()
    assert record.items() >= data.items()


def test_a_collection_that_takes_no_pieces_gets_the_whole(album: Album) -> None:
    records = f"{album.kinto.url}/buckets/whole/collections/{album.name}"
    for url in (records.split("/collections", maxsplit=1)[0], records):
        requests.put(url, auth=USER).raise_for_status()
    assert album.run("upload", str(album.file("a.txt", b"x" * 20)), SMALL, "--bucket=whole") == 0

    assert [method for method, _ in sent(album)] == ["POST", "POST"]
    assert len(requests.get(f"{records}/records", auth=USER).json()["data"]) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resumable-above=much"], "as in 8MB"),
        (["--resumable-above=-1"], "as in 8MB"),
        (["--resumable-above=1GB", "--no-resume"], "contradict"),
    ],
    ids=str,
)
def test_a_size_that_can_not_be_meant_is_told(
    album: Album, capsys: Capsys, arguments: list[str], words: str
) -> None:
    try:
        code: Any = album.run("upload", str(album.file("a.txt")), *arguments)
    except SystemExit as end:
        code = end.code
    assert (code, album.records()) == (2, {})
    assert words in capsys.readouterr().err


# A connection breaks


@pytest.mark.parametrize(
    ("plan", "patches"),
    [
        (number(1, CUT, "POST"), 3),
        (number(1, DROP, "POST"), 3),
        (number(1, CUT), 4),
        (number(2, DROP), 3),
        (number(3, DROP), 3),
        (number(3, CUT), 4),
        (number(2, Reply(503, {"Retry-After": "0"})), 4),
        (number(2, Reply(409)), 4),
        (number(2, Reply(404)), 4),
    ],
    ids=[
        *("creation-cut", "creation-unheard", "first-cut", "second-unheard", "last-unheard"),
        *("last-cut", "busy", "conflict", "unknown-for-once"),
    ],
)
def test_it_goes_on_after_a_break(album: Album, capsys: Capsys, plan: Plan, patches: int) -> None:
    album.front.plan = plan
    assert album.run("upload", str(album.file("film.txt", CONTENT))) == 0

    assert {line["status"] for line in told(capsys).values()} == {"uploaded"}
    assert [method for method, _ in sent(album)].count("PATCH") == patches
    assert is_whole(album)


def test_what_the_server_forgot_is_sent_anew(album: Album) -> None:
    def plan(seen: Seen) -> None:
        patches = album.front.requests("PATCH")
        if is_patch(seen) and len(patches) == 2:
            requests.delete(f"{album.kinto.origin}{seen.path}", auth=USER, headers=TUS)

    album.front.plan = plan
    assert album.run("upload", str(album.file("film.txt", CONTENT))) == 0

    assert len(album.front.requests("POST", "/uploads")) == 2
    assert is_whole(album)


def test_a_server_that_stays_away_is_told_and_a_later_run_goes_on(
    album: Album, capsys: Capsys
) -> None:
    path = album.file("film.txt", CONTENT)
    album.front.plan = lambda seen: (
        CUT if is_patch(seen) and len(album.front.requests("PATCH")) > 1 else None
    )
    assert album.run("upload", str(path), "--retries=2") == 1
    (line,) = told(capsys).values()
    assert "the connection failed" in line["error"]
    assert album.records() == {}
    (note,) = notes(album)
    assert note.startswith(PREFIX)
    assert (album.folder / note).stat().st_mode & 0o777 == 0o600

    album.front.plan = lambda _: None
    album.front.seen.clear()
    assert album.run("upload", str(path)) == 0

    assert sent(album)[0][0] == "HEAD"
    assert sum(size for _, size in sent(album)) == len(CONTENT) - PIECE
    assert is_whole(album)


# The server, or the command, is killed


def half_of(seen: Seen, kinto: Kinto) -> None:
    """A request of which the server gets the half."""
    connection = http.client.HTTPConnection(kinto.origin.removeprefix("http://"))
    connection.putrequest(seen.method, seen.path, skip_host=True, skip_accept_encoding=True)
    for name, value in seen.headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(seen.body[: len(seen.body) // 2])


def test_it_goes_on_after_the_server_was_killed_and_started_again(
    tmp_path: Path, postgresql: str, on_postgresql: Callable[..., Any]
) -> None:
    on_postgresql()  # Empty from here on: it knows the store of an earlier test.
    settings = processes.basic_settings(tmp_path, parts.postgresql_settings(postgresql))
    again = [str(processes.BIN / "kinto"), "start", "--ini", "kinto.ini", "--port", "0"]
    with contextlib.ExitStack() as stack:
        running = processes.running_kinto(tmp_path, settings | SERVER_SETTINGS | ON)
        kinto = stack.enter_context(running)
        before = stack.enter_context(front(kinto.origin))
        album = Album(kinto, before, tmp_path / "album", "killed")

        def plan(seen: Seen) -> str | None:
            if not is_patch(seen) or len(before.requests("PATCH")) != 2:
                return None
            half_of(seen, kinto)
            for process in serving(kinto):
                process.send_signal(signal.SIGKILL)
                process.wait()
            origin = stack.enter_context(processes.answering(again, tmp_path))
            album.kinto = Kinto(origin, tmp_path)
            before.upstream = album.kinto.origin.removeprefix("http://")
            return CUT

        before.plan = plan
        assert album.run("upload", str(album.file("film.txt", CONTENT))) == 0

        assert len(before.requests("POST", "/uploads")) == 1
        assert album.kinto.origin != kinto.origin
        assert is_whole(album)


class Killed:
    """A command that is killed while the server has its second piece."""

    def __init__(self, album: Album, path: Path, *arguments: str) -> None:
        reached, go_on = threading.Event(), threading.Event()

        def plan(seen: Seen) -> str | None:
            if is_patch(seen) and len(album.front.requests("PATCH")) == 2:
                reached.set()
                go_on.wait(60)
                return CUT
            return None

        album.front.plan = plan
        command = [*album.command("upload"), str(path), *arguments]
        folder = album.folder.parent
        with started(command, folder, stdout=subprocess.DEVNULL) as process:
            assert reached.wait(60)
            process.kill()
            process.wait(60)
        go_on.set()
        album.front.plan = lambda _: None
        album.front.seen.clear()


def test_the_same_command_goes_on_after_it_was_killed(album: Album, capsys: Capsys) -> None:
    path = album.file("film.txt", CONTENT)
    Killed(album, path)
    assert len(notes(album)) == 1

    # The note is hidden: it is no file of the folder.
    assert album.run("upload", str(album.folder)) == 0

    assert set(told(capsys)) == {"film.txt"}
    assert [method for method, _ in sent(album)] == ["HEAD", *["PATCH"] * (PIECES - 1)]
    assert sum(size for _, size in sent(album)) == len(CONTENT) - PIECE
    assert is_whole(album)


def other_content(album: Album, path: Path) -> bytes:
    """Of the same size, and the same at its beginning."""
    content = CONTENT[:-1] + b"!"
    path.write_bytes(content)
    return content


def damaged_note(album: Album, path: Path) -> bytes:
    (note,) = notes(album)
    (album.folder / note).write_text('{"upload": "../../../other", "for": 1}')
    return CONTENT


@pytest.mark.parametrize(
    ("meanwhile", "arguments"),
    [
        (other_content, []),
        (damaged_note, []),
        (lambda *_: CONTENT, ['--data={"title": "another"}']),
    ],
    ids=["other-content", "damaged-note", "other-fields"],
)
def test_a_file_is_not_joined_with_the_half_of_another(
    album: Album, meanwhile: Callable[[Album, Path], bytes], arguments: list[str]
) -> None:
    path = album.file("film.txt", CONTENT)
    Killed(album, path)
    content = meanwhile(album, path)

    assert album.run("upload", str(path), *arguments) == 0

    assert len(album.front.requests("PATCH")) == PIECES
    (record,) = album.records().values()
    assert record["attachment"]["hash"] == parts.sha256(content)
    assert is_whole(album, content)


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) - PIECE, len(CONTENT) + 5])
def test_a_file_that_changes_while_it_is_sent_arrives_as_it_is_then(
    album: Album, size: int
) -> None:
    path, content = album.file("film.txt", CONTENT), (CONTENT[::-1] * 2)[:size]

    def plan(seen: Seen) -> None:
        if is_patch(seen) and len(album.front.requests("PATCH")) == 2:
            path.write_bytes(content)

    album.front.plan = plan
    assert album.run("upload", str(path)) == 0

    assert is_whole(album, content)


def test_somebody_elses_file_is_not_overwritten_by_an_upload_that_goes_on(
    album: Album, capsys: Capsys
) -> None:
    """The record is another one by now: it is looked at, and the file is sent for that one."""
    path = album.file("film", CONTENT)
    Killed(album, path)
    album.put_file("film", b"theirs", "theirs.txt")

    assert album.run("upload", str(path)) == 0

    (line,) = told(capsys).values()
    assert line["status"] == "replaced"
    assert album.front.requests("PATCH")[0].headers["Upload-Offset"] == "0"
    assert is_whole(album)


@pytest.mark.parametrize("where", ["folder", "note"])
def test_without_a_note_it_is_sent_all_the_same(
    album: Album, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = album.file("film.txt", CONTENT)
    real = os.open

    def refuse(name: Any, *how: Any, **more: Any) -> int:
        if PREFIX in os.fspath(name):
            raise PermissionError(13, "Permission denied", name)
        return real(name, *how, **more)

    if where == "folder":  # Root may write everywhere.
        monkeypatch.setattr(os, "open", refuse)
        assert album.run("upload", str(path)) == 0
    else:
        Killed(album, path)
        (note,) = notes(album)
        with (album.folder / note).open("r+b") as file:
            monkeypatch.undo()
            hold(file)
            assert album.run("upload", str(path)) == 0
        (album.folder / note).unlink()

    assert len(album.front.requests("PATCH")) == PIECES
    assert is_whole(album)


def hold(file: io.BufferedRandom) -> None:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_refusal_is_told_and_leaves_neither_a_note_nor_an_upload(
    album: Album, capsys: Capsys
) -> None:
    bucket = f"{album.kinto.url}/buckets/strict"
    for url in (bucket, f"{bucket}/collections/{album.name}"):
        requests.put(url, auth=USER).raise_for_status()
    path, before = album.file("film.exe", b"MZ" * 20), album.stored()
    assert album.run("upload", str(path), SMALL, "--bucket", "strict") == 1

    (line,) = told(capsys).values()
    assert "is not allowed here" in line["error"]
    assert (notes(album), album.stored()) == ([], before)


def test_a_password_that_has_expired_keeps_the_upload(album: Album, capsys: Capsys) -> None:
    path = album.file("film.txt", CONTENT)
    album.front.plan = number(2, Reply(401))
    assert album.run("upload", str(path)) == 1
    assert "401" in next(iter(told(capsys).values()))["error"]

    album.front.plan = lambda _: None
    album.front.seen.clear()
    assert album.run("upload", str(path)) == 0

    assert sent(album)[0][0] == "HEAD"
    assert is_whole(album)


# What has the note's name and is no note


@pytest.mark.parametrize("kind", ["hard link", "file"])
def test_nothing_but_a_note_is_written_over(album: Album, kind: str) -> None:
    path = album.file("film.txt", CONTENT)
    Killed(album, path)
    (name,) = notes(album)
    note = album.folder / name
    note.unlink()
    if kind == "hard link":
        os.link(path, note)
    else:
        note.write_text("my only copy")
    before = note.read_bytes()

    assert album.run("upload", str(path)) == 0

    assert (path.read_bytes(), note.read_bytes()) == (CONTENT, before)
    (record,) = album.records().values()
    assert album.content(record["id"]) == CONTENT


# Servers that say "later" in other words, and such as never come to an end


def test_a_server_that_says_locked_is_asked_again(album: Album) -> None:
    path = album.file("film.txt", CONTENT)
    left = {"PATCH": Reply(503), "HEAD": Reply(423, {"Retry-After": "0"})}
    album.front.plan = lambda seen: left.pop(seen.method, None)

    assert album.run("upload", str(path)) == 0

    assert left == {}
    assert is_whole(album)


def test_an_upload_that_is_lost_again_and_again_ends(album: Album) -> None:
    path = album.file("film.txt", CONTENT)
    patches = iter(range(1, 1000))

    def plan(seen: Seen) -> Reply | None:
        lost = seen.method == "HEAD" or (is_patch(seen) and next(patches) % 2 == 0)
        return Reply(404) if lost and "/uploads/" in seen.path else None

    album.front.plan = plan
    assert album.run("upload", str(path), "--retries", "2") == 1

    assert len(album.front.requests("POST", "/uploads")) < 20
    assert album.records() == {}
