"""Bodies are streamed: constant memory, chunked and expectant clients, clients that go away.

Real server processes: waitress, as ``kinto start`` runs it, and gunicorn. Files have 256 MiB,
which is eight times the 32 MiB that the server may grow by.
"""

import contextlib
import hashlib
import http.client
import json
import socket
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import parts, processes

SIZE = 256 * 1024 * 1024
MAY_GROW = 32 * 1024 * 1024
BLOCK = bytes(range(256)) * 4096
CREDENTIALS = {"Authorization": f"Basic {b64encode(b'user:secret').decode()}"}
DEFAULT = "/buckets/default/collections/album/records/big/attachment"
NORMAL = "/buckets/big/collections/album/records/big/attachment"
ORDERS = ["kinto.plugins.default_bucket kinto_attachment"]
ORDERS.append(" ".join(reversed(ORDERS[0].split())))

WSGI = """
import kinto
application = kinto.main({{}}, **{settings!r})
"""


@contextlib.contextmanager
def gunicorn(folder: Path, settings: dict[str, str]) -> Iterator[processes.Kinto]:
    (folder / "wsgi_app.py").write_text(WSGI.format(settings=settings))
    command = [str(processes.BIN / "gunicorn"), "wsgi_app:application", "--bind", "127.0.0.1:0"]
    command += ["--worker-class", "gthread", "--threads", "4", "--no-control-socket"]
    with processes.answering(command, folder) as origin:
        yield processes.Kinto(origin, folder)


@contextlib.contextmanager
def server(kind: str, folder: Path, includes: str = ORDERS[0]) -> Iterator[processes.Kinto]:
    settings = processes.basic_settings(folder, parts.MEMORY) | {"kinto.includes": includes}
    start = gunicorn if kind == "gunicorn" else processes.running_kinto
    with start(folder, settings) as kinto:
        for path in ("/buckets/big", "/buckets/big/collections/album"):
            assert send(kinto, "PUT", path, b"{}", "application/json")[0] == 201
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


def big_form() -> tuple[Iterator[bytes], int, str, str]:
    """A form with a big file, generated: chunks, length, Content-Type and SHA-256."""
    whole, content_type = parts.multipart([("attachment", "big.txt", "text/plain", b"<file>")])
    head, tail = whole.split(b"<file>")
    digest = hashlib.sha256()
    for _ in range(SIZE // len(BLOCK)):
        digest.update(BLOCK)

    def chunks() -> Iterator[bytes]:
        yield head
        for _ in range(SIZE // len(BLOCK)):
            yield BLOCK
        yield tail

    return chunks(), len(head) + SIZE + len(tail), content_type, digest.hexdigest()


class Peak:
    """The server's memory: resident bytes at their highest, above where they were."""

    def __init__(self, kinto: processes.Kinto) -> None:
        port = int(kinto.origin.rsplit(":", 1)[1])
        listening = [
            process
            for process in psutil.process_iter()
            if port in [c.laddr.port for c in _connections(process)]
        ]
        self._processes = {child for p in listening for child in (p, *p.children())}
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


def _connections(process: psutil.Process) -> list[Any]:
    try:
        found = process.net_connections("inet")
    except psutil.Error:
        return []
    return [connection for connection in found if connection.status == psutil.CONN_LISTEN]


@pytest.mark.parametrize("includes", ORDERS)
@pytest.mark.parametrize("path", [NORMAL, DEFAULT])
@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_a_big_upload_and_its_download_leave_the_servers_memory_where_it_was(
    tmp_path: Path, kind: str, path: str, includes: str
) -> None:
    chunks, length, content_type, sha256 = big_form()
    with server(kind, tmp_path, includes) as kinto:
        small, form = parts.multipart([("attachment", "a.txt", "text/plain", b"warm up")])
        assert send(kinto, "POST", path, small, form)[0] == 201
        peak = Peak(kinto)

        status, answer = send(
            kinto, "POST", path, chunks, content_type, **{"Content-Length": str(length)}
        )

        assert (status, answer["size"], answer["hash"]) == (200, SIZE, sha256)
        assert download(kinto, path) == (SIZE, sha256)
        assert peak.growth() < MAY_GROW


def download(kinto: processes.Kinto, path: str) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with contextlib.closing(connect(kinto)) as connection:
        connection.request("GET", f"/v1{path}", headers=CREDENTIALS)
        response = connection.getresponse()
        while chunk := response.read(1024 * 1024):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_chunked_bodies_are_taken(tmp_path: Path, kind: str) -> None:
    form, content_type = parts.multipart([("attachment", "a.txt", "text/plain", b"chunked")])
    with server(kind, tmp_path) as kinto:
        pieces = (form[i : i + 7] for i in range(0, len(form), 7))
        status, answer = send(kinto, "POST", NORMAL, pieces, content_type)
        assert (status, answer["hash"]) == (201, parts.sha256(b"chunked"))

        raw = iter([b"raw ", b"chunked"])
        status, answer = send(kinto, "PUT", f"{NORMAL}?filename=a.txt", raw, "text/plain")
        assert (status, answer["hash"]) == (200, parts.sha256(b"raw chunked"))


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_curl_waits_for_100_continue_and_uploads(tmp_path: Path, kind: str) -> None:
    content = b"x" * 2_000_000
    (tmp_path / "photo.txt").write_bytes(content)
    with server(kind, tmp_path) as kinto:
        command = ["curl", "-sv", "-u", "user:secret", "-H", "Expect: 100-continue"]
        command += ["-F", "attachment=@photo.txt", f"{kinto.url}{NORMAL}"]

        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

        assert "100 Continue" in done.stderr
        assert json.loads(done.stdout)["hash"] == parts.sha256(content)


def test_a_refused_client_is_answered_before_it_has_sent_its_body(tmp_path: Path) -> None:
    with server("gunicorn", tmp_path) as kinto:
        host, port = kinto.origin.removeprefix("http://").split(":")
        head = (
            f"POST /v1{NORMAL} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\nExpect: 100-continue\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(head.encode())
            answer = b""
            while b"401 Unauthorized" not in answer:  # After gunicorn's own 100 Continue.
                received = client.recv(65536)
                assert received, answer
                answer += received

        assert list(kinto.files.glob("**/*.*")) == [kinto.files / ".unfinished"]


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
@pytest.mark.parametrize("percent", [0, 10, 50, 99])
def test_a_client_that_goes_away_changes_nothing(tmp_path: Path, kind: str, percent: int) -> None:
    old, form = parts.multipart([("attachment", "a.txt", "text/plain", b"old")])
    body, _ = parts.multipart([("attachment", "a.txt", "text/plain", b"n" * 3_000_000)])
    with server(kind, tmp_path) as kinto:
        assert send(kinto, "POST", NORMAL, old, form)[0] == 201
        (before,) = stored(kinto)
        host, port = kinto.origin.removeprefix("http://").split(":")
        head = (
            f"POST /v1{NORMAL} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: {form}\r\nAuthorization: {CREDENTIALS['Authorization']}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=60) as client:
            client.sendall(head.encode() + body[: len(body) * percent // 100])
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass  # Until the server has noticed, and answered or hung up.

        assert stored(kinto) == [before]
        assert list((kinto.files / ".unfinished").iterdir()) == []
        assert download(kinto, NORMAL) == (3, parts.sha256(b"old"))


def stored(kinto: processes.Kinto) -> list[Path]:
    return sorted(kinto.files.glob("*.txt"))
