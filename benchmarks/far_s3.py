"""An S3 that is far away, on loopback: ``python -m benchmarks.far_s3``. It prints its URL.

Each answer takes :data:`LATENCY` longer, as does each new connection, and a connection takes in
:data:`RATE`, as on the way to a bucket in another city. What is stored is thrown away: only sizes
and metadata are kept.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from benchmarks import servers
from benchmarks.servers import ROOT
from benchmarks.table import Row
from benchmarks.uploads import BLOCK, MIB
from benchmarks.user import COLLECTION, User
from tests.support.storage_parts import ACCESS_KEY, SECRET_KEY, s3_settings

LATENCY = 0.04
"""Seconds."""

RATE = 60_000_000
"""Bytes a second."""

READ = 64 * 1024
BUCKET = "far"
ETAG = '"etag"'
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"


class Bucket:
    """What is known of stored objects, and of parts: sizes, metadata, and small contents."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.uploads: dict[str, tuple[dict[str, str], dict[int, int]]] = {}
        self.seen: list[str] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """The few operations that an upload needs."""

    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def setup(self) -> None:
        super().setup()
        time.sleep(LATENCY)

    def log_message(self, *_: Any) -> None: ...

    def _target(self) -> tuple[str, dict[str, str]]:
        split = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(split.query, keep_blank_values=True).items()}
        with self.bucket.lock:
            self.bucket.seen.append(" ".join([self.command, *sorted(query)]))
        return unquote(split.path).split("/", 2)[2] if split.path.count("/") > 1 else "", query

    def _body(self) -> tuple[int, bytes]:
        """All bytes at :data:`RATE`; returns how many, and the first ones."""
        left = size = int(self.headers.get("Content-Length") or 0)
        began, first = time.monotonic(), b""
        while left:
            data = self.rfile.read(min(left, READ))
            first = first or data
            left -= len(data)
            ahead = (size - left) / RATE - (time.monotonic() - began)
            if ahead > 0.002:
                time.sleep(ahead)
        return size, first

    def _answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        time.sleep(LATENCY)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _metadata(self) -> dict[str, str]:
        return {k: v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-")}

    def do_PUT(self) -> None:
        key, query = self._target()
        size, content = self._body()
        with self.bucket.lock:
            taken = key in self.bucket.objects and self.headers.get("If-None-Match") == "*"
            if "uploadId" in query:
                self.bucket.uploads[query["uploadId"]][1][int(query["partNumber"])] = size
            elif not taken:
                self.bucket.objects[key] = (size, self._metadata(), content[:1000])
        if taken:
            self._refuse(412, "PreconditionFailed")
        else:
            self._answer(200, headers={"ETag": ETAG})

    def do_POST(self) -> None:
        key, query = self._target()
        self._body()
        if "uploads" in query:
            with self.bucket.lock:
                upload_id = str(len(self.bucket.uploads))
                self.bucket.uploads[upload_id] = (self._metadata(), {})
            said = f"<UploadId>{upload_id}</UploadId>"
            self._answer(
                200,
                f"<InitiateMultipartUploadResult>{said}</InitiateMultipartUploadResult>".encode(),
            )
            return
        with self.bucket.lock:
            metadata, parts = self.bucket.uploads.pop(query["uploadId"])
            self.bucket.objects[key] = (sum(parts.values()), metadata, b"")
        self._answer(200, b"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")

    def do_GET(self) -> None:
        key, _ = self._target()
        found = self.bucket.objects.get(key)
        if found is None:
            self._refuse(404, "NoSuchKey")
        else:
            self._answer(200, found[2], {"Last-Modified": DATE, "ETag": ETAG})

    def do_HEAD(self) -> None:
        key, _ = self._target()
        found = self.bucket.objects.get(key)
        if found is None and key:
            self._answer(404)
        else:
            size, metadata, _ = found or (0, {}, b"")
            about = {"Content-Length": str(size), "Last-Modified": DATE, "ETag": ETAG}
            self._answer(200, headers={**about, **metadata})

    def do_DELETE(self) -> None:
        key, _ = self._target()
        with self.bucket.lock:
            self.bucket.objects.pop(key, None)
        self._answer(204)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Its URL."""
    command = [sys.executable, "-m", "benchmarks.far_s3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(folder: Path, quick: bool) -> list[Row]:
    """A large file to an S3 that is far, beside boto3's own way to send it from a file."""
    size, rounds = (32 * MIB, 1) if quick else (128 * MIB, 5)
    folder.mkdir(parents=True)
    source = folder / "source"
    with source.open("wb") as file:
        for _ in range(size // MIB):
            file.write(BLOCK)
    walls: dict[str, list[float]] = {"waitress": [], "gunicorn": [], "boto3": [], "spool": []}
    grown = {}
    with running() as url:
        given = s3_settings(url, BUCKET, download="proxy")
        named = {n.removeprefix("kinto.attachment."): v for n, v in given.items()}
        own = {**named, "base_path": "", "base_url": ""}
        for name in ("waitress", "gunicorn"):
            with servers.kinto(folder / name, name, **own) as server:
                user = User(server)
                user.make()
                for number in range(rounds + 1):
                    if number == 1:
                        server.forget_peak()
                        idle = server.peak()
                    began = time.monotonic()
                    with source.open("rb") as file:
                        path = f"{COLLECTION}/records/{name}-{number}/attachment?filename=a.bin"
                        kind = {"Content-Type": "image/x-raw"}
                        user("PUT", path, 201, data=file, headers=kind)
                    walls[name].append(time.monotonic() - began)
                    walls["boto3"].append(_by_boto3(url, source))
                    walls["spool"].append(_copied(source, folder / "copy"))
                grown[name] = server.peak() - idle
    return _rows(size, {name: median(found[1:]) for name, found in walls.items()}, grown)


def _by_boto3(url: str, source: Path) -> float:
    """Seconds that boto3 takes, as it is by default."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    checksum = "when_required"
    config = Config(
        s3={"addressing_style": "path"},
        request_checksum_calculation=checksum,
        response_checksum_validation=checksum,
    )
    client = session.client("s3", endpoint_url=url, config=config)
    with contextlib.closing(client), source.open("rb") as file:
        began = time.monotonic()
        client.upload_fileobj(file, BUCKET, "by-boto3", Config=TransferConfig())
        return time.monotonic() - began


def _copied(source: Path, target: Path) -> float:
    """Seconds that waitress takes, at the least, before an application sees the body."""
    began = time.monotonic()
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(MIB):
            written.write(chunk)
    return time.monotonic() - began


def _rows(size: int, walls: dict[str, float], grown: dict[str, int]) -> list[Row]:
    title = f"{size // MIB} MiB to an S3 that is 40 ms away and takes 60 MB/s a connection"
    rows = []
    for name, floor in (
        ("gunicorn", walls["boto3"]),
        ("waitress", walls["boto3"] + walls["spool"]),
    ):
        ratio, memory = walls[name] / floor, grown[name] / MIB
        what = "boto3's upload_fileobj" + (" after a copy" if name == "waitress" else "")
        seconds = f"{ratio:.2f} ({walls[name]:.2f} and {floor:.2f})"
        rows += [
            Row(
                f"{title}, {name}: seconds, {what} = 1", "-", seconds, "at most 1.3", ratio <= 1.3
            ),
            Row(
                f"{title}, {name}: memory above idle",
                "-",
                f"{memory:.0f} MiB",
                "at most 48 MiB",
                memory <= 48,
            ),
        ]
    return rows


def main() -> None:
    handler = type("Here", (Handler,), {"bucket": Bucket()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
