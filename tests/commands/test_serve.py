"""``kinto-attachment serve`` and the command line around it, as a newcomer meets them."""

import contextlib
import errno
import json
import re
import runpy
import signal
import socket
import struct
import subprocess
import sys
import types
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import waitress

from kinto_attachment import commands, keys
from kinto_attachment.commands import serve
from tests.support import processes

COMMAND = str(processes.BIN / "kinto-attachment")


@contextlib.contextmanager
def serving(
    folder: Path, directory: str = "serve-data", env: Mapping[str, str] | None = None
) -> Iterator[tuple["subprocess.Popen[str]", list[str]]]:
    """The running command, and the lines that it printed."""
    arguments = [COMMAND, "serve", "--port", "0", "--directory", directory]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with processes.started(arguments, folder, env=env or {}, **pipes) as process:
        assert process.stdout
        assert process.stderr
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Open the file"):
                break
        else:
            raise AssertionError(process.stderr.read())
        yield process, lines


def refused(folder: Path, *arguments: str) -> str:
    """The one sentence with which the command ended."""
    done = processes.run([COMMAND, "serve", *arguments], folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def copied(lines: list[str]) -> list[str]:
    """The lines that are meant to be copied."""
    return [line for line in lines if line.startswith("curl ")]


def stored(directory: Path) -> list[Path]:
    return [path for path in (directory / "files").rglob("*") if path.is_file()]


@pytest.mark.parametrize("directory", ["serve-data", 'a b; c, "d" \\ 100% é'])
def test_the_two_printed_lines_attach_the_picture_and_show_the_record(
    tmp_path: Path, directory: str
) -> None:
    with serving(tmp_path, directory) as (_, lines):
        attach, read = copied(lines)
        attachment = json.loads(processes.shell(attach, tmp_path))
        record = json.loads(processes.shell(read, tmp_path))
        server_url = lines[-1].split()[4]
        with urllib.request.urlopen(server_url + attachment["location"]) as answer:
            opened = answer.read()

    picture = (tmp_path / directory / "picture.png").read_bytes()
    assert record["data"]["attachment"] == attachment
    assert attachment["mimetype"] == "image/png"
    assert opened == picture


def test_the_printed_address_opens_the_page_to_try_it_on(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, lines):
        (address,) = [line for line in lines if line.endswith("/v1/attachments/")]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/attachments/", address)
        with urllib.request.urlopen(address) as answer:
            page = answer.read().decode()

    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>Attachments</title>" in page


def test_the_picture_is_a_whole_png(tmp_path: Path) -> None:
    picture = serve._picture()

    kinds, rest = [], picture[8:]
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        data, checksum = rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert struct.unpack(">I", checksum)[0] == zlib.crc32(kind + data)
        kinds.append(kind)
        rest = rest[12 + length :]
        if kind == b"IDAT":
            assert len(zlib.decompress(data)) == 64 * (1 + 3 * 64)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_the_server_listens_on_this_machine_only(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        assert {host for host, _ in processes.listening(process)} == {"127.0.0.1"}


def test_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, _):
        process.send_signal(signal.SIGINT)

        assert process.wait(timeout=20) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_new_start_removes_its_own_leftover_files_and_no_other(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, lines):
        processes.shell(copied(lines)[0], tmp_path)
    directory = tmp_path / "serve-data"
    (leftover,) = stored(directory)
    foreign = directory / "files" / "0b5a7a4c-4b56-8f6f-9d1b-3c1f4f1e2d3c.png"
    foreign.write_bytes(b"somebody else's")
    unfinished = directory / "files" / ".unfinished" / "half"
    unfinished.write_bytes(b"ha")

    with serving(tmp_path):
        assert not leftover.exists()
        assert stored(directory) == [foreign]


def test_settings_in_the_environment_are_for_other_servers(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = elsewhere / f"{keys.new_id()}.png"
    kept.write_bytes(b"in production")
    env = {
        "KINTO_ATTACHMENT_BASE_PATH": str(elsewhere),
        "ATTACHMENT_BASE_PATH": str(elsewhere),
        "KINTO_READONLY": "true",
        "STORAGE_BACKEND": "kinto.core.storage.postgresql",
    }
    with serving(tmp_path, env=env) as (_, lines):
        processes.shell(copied(lines)[0], tmp_path)

    assert list(elsewhere.iterdir()) == [kept]
    assert len(stored(tmp_path / "serve-data")) == 1


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = refused(tmp_path, "--port", str(port))

    assert sentence == f"Port {port} is taken: stop what uses it, or name another with --port.\n"


def test_a_port_that_the_user_may_not_open_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(waitress, "create_server", forbidden)
    with pytest.raises(SystemExit) as ended:
        serve._listen(None, 80)
    assert ended.value.code == (
        "Port 80 can't be used (Permission denied): name another with --port."
    )


def test_a_directory_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")

    sentence = refused(tmp_path, "--directory", "file")

    assert f"{tmp_path / 'file'} can't be used (File exists)" in sentence


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")

    sentence = refused(tmp_path, "--directory", "file/below")

    assert "can't be used (Not a directory): name another directory" in sentence


def test_a_directory_that_no_system_lets_one_make_is_one_sentence(tmp_path: Path) -> None:
    sentence = refused(tmp_path, "--directory", "/proc/x")

    assert "/proc/x can't be used" in sentence


def test_a_directory_whose_store_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / serve.MARK).touch()
    (tmp_path / "data" / "files").write_text("text")

    assert "can't be used" in refused(tmp_path, "--directory", "data")


def test_a_directory_with_files_of_others_is_left_alone(tmp_path: Path) -> None:
    files = tmp_path / "production" / "files"
    files.mkdir(parents=True)
    kept = files / f"{keys.new_id()}.png"
    kept.write_bytes(b"in production")

    sentence = refused(tmp_path, "--directory", "production")

    assert "holds other files: name a new or an empty directory" in sentence
    assert list((tmp_path / "production").rglob("*")) == [files, kept]


def test_a_second_server_does_not_touch_the_files_of_a_running_one(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, lines):
        processes.shell(copied(lines)[0], tmp_path)
        before = stored(tmp_path / "serve-data")

        sentence = refused(tmp_path, "--port", "0")

        assert "is in use by another `kinto-attachment serve`" in sentence
        assert stored(tmp_path / "serve-data") == before != []


@pytest.mark.parametrize("port", ["http", "-1", "65536", "1.5", ""])
def test_a_wrong_port_is_a_wrong_argument(tmp_path: Path, port: str) -> None:
    done = processes.run([COMMAND, "serve", f"--port={port}"], tmp_path)

    assert done.returncode == 2
    assert f"{port!r} is no port: write a number up to 65535" in done.stderr
    assert not (tmp_path / "serve-data").exists()


@pytest.mark.parametrize("arguments", [[], ["fly"], ["serve", "--wings"]])
def test_a_wrong_command_or_argument_ends_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(arguments)
    assert ended.value.code == 2
    assert "usage: kinto-attachment" in capsys.readouterr().err


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(command.NAME in printed for command in commands.COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], ["ls", "--help"], ["fly"]])
def test_python_m_is_the_same_command_line(tmp_path: Path, arguments: list[str]) -> None:
    ours = processes.run([COMMAND, *arguments], tmp_path)
    pythons = processes.run([sys.executable, "-m", "kinto_attachment", *arguments], tmp_path)

    assert (pythons.returncode, pythons.stdout) == (ours.returncode, ours.stdout)
    assert pythons.stderr == ours.stderr
    assert "usage: kinto-attachment" in ours.stdout + ours.stderr


def test_python_m_ends_with_the_exit_code_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "main", lambda: 7)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("kinto_attachment", run_name="__main__")
    assert ended.value.code == 7


def test_ctrl_c_in_any_command_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Any) -> int:
        raise KeyboardInterrupt

    slow = types.SimpleNamespace(
        NAME="slow", __doc__="Take long.", add_arguments=lambda parser: None, run=interrupted
    )
    monkeypatch.setattr(commands, "COMMANDS", (slow,))
    assert commands.main(["slow"]) == 130
