"""The files of deploy/, run as they are: only addresses and paths in them are others."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support import processes
from tests.support.certificate import certify
from tests.support.documents import ROOT
from tests.support.processes import BIN

DEPLOY = ROOT / "deploy"
ADMIN = ("admin", "a-password-of-the-tests")
HOST = "kinto.example.org"
ELSEWHERE = ("fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Front:
    """A running nginx. ``certificate`` is what clients have to trust."""

    port: int
    plain_port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/v1"


def text(name: str) -> str:
    """One file of deploy/."""
    return (DEPLOY / name).read_text(encoding="utf-8")


def substituted(original: str, places: Mapping[str, str]) -> str:
    """A text with other addresses; each of the old ones has to be in it."""
    for old, new in places.items():
        assert old in original, f"{old} is not there any more"
        original = original.replace(old, new)
    return original


def environment(database: str, store: Mapping[str, str]) -> dict[str, str]:
    """The variables of env.example, for one database and one store."""
    stated = {name: database for name in settings_of("env.example") if name.endswith("_URL")}
    return {
        **stated,
        "KINTO_HTTP_HOST": HOST,
        "KINTO_USERID_HMAC_SECRET": "a-secret-of-the-tests",
        **store,
    }


def settings_of(name: str) -> dict[str, str]:
    """The lines of an environment file that are in force."""
    lines = [line for line in text(name).splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def numbers(name: str, directive: str) -> set[int]:
    """What a file sets, in bytes or seconds, wherever it does."""
    units = {"m": 2**20, "s": 1, "": 1}
    found = re.findall(rf"^ *{directive}[ =]+(\d+)(m|s|);?$", text(name), re.MULTILINE)
    assert found, f"{name} does not set {directive}"
    return {int(number) * units[unit] for number, unit in found}


def prepare(folder: Path, env: Mapping[str, str]) -> None:
    """What comes before the first start: the files, the tables, the administrator."""
    for name in ("kinto.ini", "gunicorn.conf.py", "wsgi.py"):
        shutil.copy(DEPLOY / name, folder / name)
    name, password = ADMIN
    create = ["create-user", "--username", name, "--password", password]
    for words in (["migrate"], create):
        command = [str(BIN / "kinto"), *words[:1], "--ini", "kinto.ini", *words[1:]]
        done = processes.run(command, folder, env)
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def kinto(folder: Path, command: list[str], env: Mapping[str, str]) -> Iterator[str]:
    """A server started by a command of the documents, on another port; gives its origin."""
    (port,) = _free_ports(1)
    program, *words = [word.replace("8888", str(port)) for word in command]
    own = {**env, "KINTO_BIND": f"127.0.0.1:{port}"}
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        processes.started(
            [str(BIN / program), *words], folder, env=own, stdout=output, stderr=output
        ) as process,
    ):
        # Its workers listen, not the process itself.
        _wait_for(lambda: _alive(port), psutil.Process(process.pid), log)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def nginx(folder: Path, origin: str, changes: Mapping[str, str] | None = None) -> Iterator[Front]:
    """nginx with deploy/nginx.conf, before the server at ``origin``.

    :param changes: more to replace in the file, to see what it is good for.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is not installed: deploy/nginx.conf can't be tried"
    port, plain = _free_ports(2)
    certificate = folder / "kinto.pem"
    certify(certificate, folder / "kinto.key")
    elsewhere = "".join(f"{name}_temp_path {folder}/{name};" for name in ELSEWHERE)
    places = {
        # Started by root, it would become somebody who can't read below the folder.
        "user www-data;": "user root;" if os.geteuid() == 0 else "",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "types {}": f"types {{}} {elsewhere}",
        "/var/log/nginx": str(folder),
        "/var/cache/nginx": str(folder),
        "/etc/nginx/certificates": str(folder),
        "/var/lib/kinto/files": f"{folder.parent}/files",
        "server 127.0.0.1:8888;": f"server {origin.removeprefix('http://')};",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
    }
    conf = folder / "nginx.conf"
    conf.write_text(substituted(text("nginx.conf"), {**(changes or {}), **places}))
    command = [program, "-g", "daemon off;", "-e", "stderr", "-p", str(folder), "-c", str(conf)]
    log = folder / "error.log"
    with (
        log.open("ab") as output,
        processes.started(command, folder, stdout=output, stderr=output) as process,
    ):
        front = Front(port, plain, certificate)
        _wait_for(lambda: connect(front).close(), psutil.Process(process.pid), log)
        yield front


def connect(front: Front, address: str = "127.0.0.1") -> ssl.SSLSocket:
    """A connection from one of this machine's addresses: nginx counts those of each of them."""
    context = ssl.create_default_context(cafile=str(front.certificate))
    plain = socket.socket()
    try:
        # So little is under way that a stalled reader is noticed at once.
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(processes.STARTS_WITHIN)
        plain.bind((address, 0))
        plain.connect(("127.0.0.1", front.port))
        return context.wrap_socket(plain, server_hostname="127.0.0.1")
    except OSError:
        plain.close()
        raise


def _wait_for(looks: Callable[[], None], process: psutil.Process, log: Path) -> None:
    """Until a look at it fails no more."""
    deadline = time.monotonic() + processes.STARTS_WITHIN
    while time.monotonic() < deadline and process.status() != psutil.STATUS_ZOMBIE:
        with contextlib.suppress(OSError):
            looks()
            return
        time.sleep(0.02)  # Between two looks; nothing relies on how long it is.
    raise AssertionError(f"{process.name()} did not start:\n{log.read_text()}")


def _alive(port: int) -> None:
    """
    :raises OSError: where the liveness probe fails.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v1/__lbheartbeat__")
        assert connection.getresponse().status == 200
    finally:
        connection.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        found = [held.enter_context(socket.socket()) for _ in range(count)]
        for free in found:
            free.bind(("127.0.0.1", 0))
        return [free.getsockname()[1] for free in found]
