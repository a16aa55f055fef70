"""What the commands for clients do with pipes, closed streams and servers that say nothing."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from kinto_attachment.client import asking
from kinto_attachment.client.remote import Remote
from kinto_attachment.commands import main
from tests.commands.syncing import Album


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["upload", "ls", "download", "delete"])
def test_closed_streams_are_as_if_nobody_listened(
    album: Album, command: str, closed: str, tmp_path: Path
) -> None:
    file = album.file("a.txt", b"content")
    album.put_file("a", b"old")
    more = {"upload": [str(file)], "download": ["--to", str(tmp_path / "to")], "delete": ["a"]}
    line = [*album.command(command), *more.get(command, [])]

    done = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "bash", *line],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    listed = '"id"' in done.stdout or "\t" in done.stdout
    assert listed == (">&- " not in f" {closed} ".replace("2>&-", ""))


def test_a_pipe_is_no_file_to_upload(album: Album, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = album.file("before").with_name("pipe")
    os.mkfifo(pipe)

    assert album.run("upload", str(pipe)) == 2

    assert f"{pipe} is no regular file: name a file, or a folder." in capsys.readouterr().err
    assert album.records() == {}


@pytest.mark.parametrize("where", [".kinto-records.jsonl", "a.txt"])
def test_a_pipe_in_a_mirror_is_told(
    album: Album, where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    album.put_file("a", b"content")
    mirror = tmp_path / "mirror"
    assert album.run("download", "--records", "--to", str(mirror)) == 0
    (mirror / where).unlink()
    os.mkfifo(mirror / where)
    capsys.readouterr()

    code = album.run("upload", "--records", str(mirror))

    told = capsys.readouterr()
    assert code == (1 if where == "a.txt" else 2)
    assert "it is no regular file" in told.out + told.err
    assert album.content("a") == b"content"


def test_https_at_a_port_that_does_not_speak_it_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(asking, "CONNECT_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"

        assert main(["ls", "--server", url, "--collection", "x", "--retries", "0"]) == 2

    assert "it does not answer to https: is http:// meant" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("base_url", "location", "url"),
    [
        ("//cdn.example.org/files/", "a.txt", "https://cdn.example.org/files/a.txt"),
        ("//cdn.example.org/", "//cdn.example.org/a.txt", "https://cdn.example.org/a.txt"),
        ("http://cdn.example.org/", "a.txt", "http://cdn.example.org/a.txt"),
        ("//cdn.example.org/", "http://other.example.org/a", "http://other.example.org/a"),
    ],
)
def test_a_url_without_a_scheme_has_that_of_the_server(
    base_url: str, location: str, url: str
) -> None:
    remote = Remote("https://kinto.example.org/v1", "b", "c", None, 0)
    remote._base_url = base_url

    assert remote.url(location) == url
