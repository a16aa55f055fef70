"""Servers as processes, bodies that are generated while they are sent, and memory watched."""

import contextlib
import hashlib
import http.client
import json
import os
from base64 import b64encode
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import psutil

from tests.support import parts, processes

BLOCK = bytes(range(256)) * 4096
CREDENTIALS = {"Authorization": f"Basic {b64encode(b'user:secret').decode()}"}
DEFAULT = "/buckets/default/collections/album/records/big/attachment"
NORMAL = "/buckets/big/collections/album/records/big/attachment"
WSGI = """
import kinto
application = kinto.main({{}}, **{settings!r})
"""


@contextlib.contextmanager
def gunicorn(
    folder: Path, settings: dict[str, str], threads: int = 4
) -> Iterator[processes.Kinto]:
    (folder / "wsgi_app.py").write_text(WSGI.format(settings=settings))
    command = [str(processes.BIN / "gunicorn"), "wsgi_app:application", "--bind", "127.0.0.1:0"]
    command += ["--worker-class", "gthread", "--threads", str(threads), "--no-control-socket"]
    with processes.answering(command, folder) as origin:
        yield processes.Kinto(origin, folder)


@contextlib.contextmanager
def granian(folder: Path, settings: dict[str, str]) -> Iterator[processes.Kinto]:
    (folder / "wsgi_app.py").write_text(WSGI.format(settings=settings))
    command = [str(processes.BIN / "granian"), "--interface", "wsgi", "--blocking-threads", "4"]
    command += ["--host", "127.0.0.1", "--port", "0", "wsgi_app:application"]
    with processes.answering(command, folder) as origin:
        yield processes.Kinto(origin, folder)


@contextlib.contextmanager
def server(
    kind: str,
    folder: Path,
    backend: dict[str, str] = parts.MEMORY,
    threads: int = 4,
    **more: str,
) -> Iterator[processes.Kinto]:
    """A server with one collection; settings by name, ``__`` for each dot.

    :param threads: of gunicorn.
    """
    own = {f"kinto.{name.replace('__', '.')}": value for name, value in more.items()}
    settings = processes.basic_settings(folder, backend) | own
    if kind == "gunicorn":
        running = gunicorn(folder, settings, threads)
    elif kind == "granian":
        running = granian(folder, settings)
    else:
        # As README recommends: waitress keeps 16 MiB of each download in memory otherwise, and
        # now and then twice as much.
        running = processes.running_kinto(
            folder,
            settings,
            max_request_body_size=str(2**31),
            outbuf_high_watermark=str(2**20),
        )
    with running as kinto:
        for path in ("/buckets/big", "/buckets/big/collections/album"):
            assert send(kinto, "PUT", path, b"{}", "application/json")[0] in (200, 201)
        yield kinto


def connect(kinto: processes.Kinto) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(kinto.origin.removeprefix("http://"), timeout=120)


def send(
    kinto: processes.Kinto, method: str, path: str, body: Any, content_type: str, **more: str
) -> tuple[int, Any]:
    headers = {**CREDENTIALS, "Content-Type": content_type, **more}
    with contextlib.closing(connect(kinto)) as connection:
        connection.request(method, f"/v1{path}", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def big_file(size: int) -> tuple[Iterator[bytes], str]:
    """Chunks, and their SHA-256."""
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
    return (BLOCK for _ in range(size // len(BLOCK))), digest.hexdigest()


def big_form(size: int) -> tuple[Iterator[bytes], int, str, str]:
    """A form with a big file, generated: chunks, length, Content-Type and SHA-256."""
    whole, content_type = parts.multipart([("attachment", "big.txt", "text/plain", b"<file>")])
    head, tail = whole.split(b"<file>")
    chunks, digest = big_file(size)
    return chain([head], chunks, [tail]), len(head) + size + len(tail), content_type, digest


class Peak:
    """The server's memory: resident bytes at their highest, above where they were."""

    def __init__(self, kinto: processes.Kinto) -> None:
        self._processes = serving(kinto)
        for process in self._processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")  # Forget the peak so far.
        self._before = self._sum()

    def growth(self) -> int:
        return self._sum() - self._before

    def _sum(self) -> int:
        total = 0
        for process in self._processes:
            status = Path(f"/proc/{process.pid}/status").read_text()
            total += int(status.split("VmHWM:")[1].split()[0]) * 1024
        return total


def serving(kinto: processes.Kinto) -> set[psutil.Process]:
    """The server's processes, its workers too."""
    port = int(kinto.origin.rsplit(":", 1)[1])
    listening = [
        process
        for process in psutil.process_iter()
        if port in [c.laddr.port for c in _connections(process)]
    ]
    return {child for p in listening for child in (p, *p.children())}


def open_files(kinto: processes.Kinto) -> list[Path]:
    """The stored files that the server holds open."""
    found = []
    for process in serving(kinto):
        for handle in Path(f"/proc/{process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(Path(os.readlink(handle)))
    return [path for path in found if path.is_relative_to(kinto.files)]


def _connections(process: psutil.Process) -> list[Any]:
    try:
        found = process.net_connections("inet")
    except psutil.Error:
        return []
    return [connection for connection in found if connection.status == psutil.CONN_LISTEN]


def download(kinto: processes.Kinto, path: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with contextlib.closing(connect(kinto)) as connection:
        connection.request("GET", f"/v1{path}", headers=CREDENTIALS)
        response = connection.getresponse()
        while chunk := response.read(1024 * 1024):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
