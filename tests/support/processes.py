"""Real processes: Kinto as ``kinto start`` runs it, our command line, and a user's shell."""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

BIN = Path(sys.executable).parent
STARTS_WITHIN = 60
"""Seconds; a server takes two or three, a busy machine more."""


@dataclass(frozen=True)
class Kinto:
    """A running server. ``origin`` is what users put before ``/v1``."""

    origin: str
    folder: Path

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def files(self) -> Path:
        return self.folder / "files"


def basic_settings(folder: Path, backend: Mapping[str, str]) -> dict[str, str]:
    """What a server needs beside the settings that a test is about."""
    return {
        **backend,
        "kinto.userid_hmac_secret": secrets.token_hex(),
        "multiauth.policies": "basicauth",
        "kinto.includes": "kinto.plugins.default_bucket kinto_attachment",
        "kinto.attachment.base_path": str(folder / "files"),
    }


def write_ini(path: Path, settings: Mapping[str, str], **waitress: str) -> Path:
    """An ini for ``kinto start``, which fills in ``http_port``; ``waitress``: its own settings."""
    escaped = [
        f"{name} = {' '.join(value.split())}".replace("%", "%%")
        for name, value in settings.items()
    ]
    server = ["[server:main]", "use = egg:waitress#main", "host = 127.0.0.1"]
    server += [f"{name} = {value}" for name, value in waitress.items()]
    app = ["port = %(http_port)s", "[app:main]", "use = egg:kinto"]
    path.write_text("\n".join([*server, *app, *escaped, ""]), encoding="utf-8")
    return path


@contextlib.contextmanager
def running_kinto(
    folder: Path, settings: Mapping[str, str], programs: Path = BIN, **waitress: str
) -> Iterator[Kinto]:
    """``kinto start`` on a port that the system chooses, until the block ends."""
    ini = write_ini(folder / "kinto.ini", settings, **waitress)
    kinto = str(programs / "kinto")
    if "postgresql" in settings["kinto.storage_backend"]:
        migrated = run([kinto, "migrate", "--ini", str(ini)], folder)
        assert migrated.returncode == 0, migrated.stderr
    with answering([kinto, "start", "--ini", str(ini), "--port", "0"], folder) as origin:
        yield Kinto(origin, folder)


@contextlib.contextmanager
def answering(
    command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A server process, from when it answers until the block ends; gives its origin."""
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        started(command, folder, env=env or {}, stdout=output, stderr=output) as process,
    ):
        yield _wait_until_it_answers(process, log)


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path, **how: Any) -> Iterator["subprocess.Popen[str]"]:
    """A process that is always stopped, whatever happens in the block."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder, how.pop("env", {})),
        stdin=subprocess.DEVNULL,
        text=True,
        # Whoever runs the tests in the background has Ctrl-C ignored; a user has not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        **how,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            # Its workers, too, which would live on without it.
            for one in psutil.Process(process.pid).children(recursive=True):
                one.kill()
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def run(
    command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def shell(script: str, folder: Path) -> str:
    """Type a script into a shell, as a user would; a refused request fails it.

    :returns: what it printed.
    """
    for program in ("curl", "http"):
        found = shutil.which(program, path=environment(folder, {})["PATH"])
        assert found, f"{program} is not installed: README's examples need it"
    done = run(["sh", "-eu", "-c", script], folder)
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """A user's environment, with the virtualenv first and without the settings of others.

    curl and HTTPie are told, in their own files, to fail where a server refuses, and HTTPie
    not to wait for a body on stdin, as it does in scripts.
    """
    home = folder / ".home"
    if not home.exists():
        home.mkdir()
        (home / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
        options = {"default_options": ["--check-status", "--ignore-stdin"]}
        (home / "config.json").write_text(json.dumps(options))
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("KINTO_")}
    own = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "CURL_HOME": str(home),
        "HTTPIE_CONFIG_DIR": str(home),
        "NO_PROXY": "*",
        # Pyramid imports what setuptools is to drop, and says so before anything else.
        "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",
    }
    return {**inherited, **own, **more}


def listening(process: "subprocess.Popen[str]") -> list[tuple[str, int]]:
    """The addresses that a process, or one of its workers, listens on."""
    try:
        main = psutil.Process(process.pid)
        both = [main, *main.children(recursive=True)]
        connections = [c for found in both for c in found.net_connections(kind="inet")]
    except psutil.Error:  # It has just ended.
        return []
    return [tuple(c.laddr) for c in connections if c.status == psutil.CONN_LISTEN]


def _wait_until_it_answers(process: "subprocess.Popen[str]", log: Path) -> str:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        for host, port in listening(process):
            if _answers(host, port):
                return f"http://{host}:{port}"
        time.sleep(0.02)  # Between two looks; nothing relies on how long it is.
    raise AssertionError(f"Kinto did not start:\n{log.read_text()}")


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/v1/__lbheartbeat__")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
