"""Bodies are streamed: constant memory, chunked and expectant clients, clients that go away.

Real server processes: waitress, as ``kinto start`` runs it, and gunicorn. Files have 256 MiB,
which is eight times the 32 MiB that the server may grow by.
"""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.harness import Database
from tests.support import parts
from tests.support.processes import Kinto
from tests.support.streaming import (
    BLOCK,
    CREDENTIALS,
    DEFAULT,
    NORMAL,
    Peak,
    big_file,
    big_form,
    connect,
    download,
    open_files,
    send,
    server,
)

SIZE = 256 * 1024 * 1024
MAY_GROW = 32 * 1024 * 1024
ORDERS = ["kinto.plugins.default_bucket kinto_attachment"]
ORDERS.append(" ".join(reversed(ORDERS[0].split())))


@pytest.mark.parametrize("includes", ORDERS)
@pytest.mark.parametrize("path", [NORMAL, DEFAULT])
@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_a_big_upload_and_its_download_leave_the_servers_memory_where_it_was(
    tmp_path: Path, kind: str, path: str, includes: str
) -> None:
    chunks, length, content_type, sha256 = big_form(SIZE)
    with server(kind, tmp_path, includes=includes) as kinto:
        small, form = parts.multipart([("attachment", "a.txt", "text/plain", b"warm up")])
        assert send(kinto, "POST", path, small, form)[0] == 201
        peak = Peak(kinto)

        status, answer = send(
            kinto, "POST", path, chunks, content_type, **{"Content-Length": str(length)}
        )

        assert (status, answer["size"], answer["hash"]) == (200, SIZE, sha256)
        assert download(kinto, path) == (SIZE, sha256)
        assert peak.growth() < MAY_GROW


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

        assert list(kinto.files.glob("**/*")) == []


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_a_client_that_goes_away_changes_nothing(tmp_path: Path, kind: str) -> None:
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
        for percent in (0, 10, 50, 99):
            with socket.create_connection((host, int(port)), timeout=60) as client:
                client.sendall(head.encode() + body[: len(body) * percent // 100])
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass  # Until the server has noticed, and answered or hung up.

            assert stored(kinto) == [before], percent
            assert list((kinto.files / ".unfinished").iterdir()) == [], percent
            assert download(kinto, NORMAL) == (3, parts.sha256(b"old"))


def stored(kinto: Kinto) -> list[Path]:
    return sorted(kinto.files.glob("*.txt"))


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_a_client_that_goes_away_in_a_download_frees_the_file(tmp_path: Path, kind: str) -> None:
    content = bytes(30_000_000)
    with server(kind, tmp_path) as kinto:
        assert send(kinto, "PUT", f"{NORMAL}?filename=a.txt", content, "text/plain")[0] == 201
        connection = connect(kinto)
        connection.request("GET", f"/v1{NORMAL}", headers=CREDENTIALS)
        response = connection.getresponse()
        response.read(1000)
        assert open_files(kinto)

        response.close()
        connection.close()

        deadline = time.monotonic() + 60
        while open_files(kinto):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # Between two looks; nothing relies on how long it is.


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_curl_continues_a_download_that_broke_off(tmp_path: Path, kind: str) -> None:
    content = BLOCK * 20
    with server(kind, tmp_path) as kinto:
        assert send(kinto, "PUT", f"{NORMAL}?filename=a.txt", content, "text/plain")[0] == 201
        (tmp_path / "copy").write_bytes(content[:7_000_001])
        command = ["curl", "-sv", "-u", "user:secret", "-C", "-", "-o", "copy"]

        done = subprocess.run(
            [*command, f"{kinto.url}{NORMAL}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )

        assert "206 Partial Content" in done.stderr
        assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_a_download_of_half_a_gibibyte_leaves_the_servers_memory_where_it_was(
    tmp_path: Path, kind: str
) -> None:
    with server(kind, tmp_path) as kinto:
        chunks, sha256 = big_file(2 * SIZE)
        path, length = f"{NORMAL}?filename=a.txt", {"Content-Length": str(2 * SIZE)}
        status, answer = send(kinto, "PUT", path, chunks, "text/plain", **length)
        assert (status, answer["hash"]) == (201, sha256)
        peak = Peak(kinto)

        assert download(kinto, NORMAL) == (2 * SIZE, sha256)

        assert peak.growth() < MAY_GROW


def test_a_slow_upload_holds_no_connection_to_the_database(
    tmp_path: Path, postgresql: str, make_server: Callable[..., parts.Server]
) -> None:
    """gunicorn passes the body on as it comes: the server waits for it in the middle."""
    database = Database(postgresql)
    content, seen = bytes(1_600_000), []  # More than the 512 KiB that are looked at first.
    deadline = time.monotonic() + 60

    def slowly() -> Iterator[bytes]:
        yield content[:800_000]
        while not list((tmp_path / "files" / ".unfinished").glob("*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)  # Until the file has been begun, and the permission is checked.
        seen.append(database.idle_in_transaction())
        yield content[800_000:]

    backend = parts.postgresql_settings(postgresql)
    make_server(backend)  # It makes the tables.
    with server("gunicorn", tmp_path, backend) as kinto:
        path, length = f"{NORMAL}?filename=a.txt", {"Content-Length": str(len(content))}
        # The first upload marks the store, by a file in .unfinished and in a transaction.
        assert send(kinto, "PUT", path, b"first", "text/plain")[0] == 201
        assert send(kinto, "PUT", path, slowly(), "text/plain", **length)[0] == 200
        assert send(kinto, "DELETE", "/buckets/big", b"", "text/plain")[0] == 200
    database.close()

    assert seen == [0]
