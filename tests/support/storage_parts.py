"""Real services to store in: moto's S3, Google's emulator; and stores that fail on purpose."""

import contextlib
import io
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3.session
import psutil
from botocore.config import Config
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage as EmulatorStorage
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.server import ThreadedMotoServer
from werkzeug.serving import make_server

_ANOTHER = urlsplit(os.environ.get("ANOTHER_S3", ""))
ANOTHER_S3 = f"{_ANOTHER.scheme}://{_ANOTHER.netloc.rpartition('@')[2]}" if _ANOTHER.netloc else ""
"""An S3 to test with in moto's place: ``ANOTHER_S3=http://key:secret@127.0.0.1:9000``."""

ACCESS_KEY = _ANOTHER.username or "AKIDEXAMPLE"
SECRET_KEY = _ANOTHER.password or "wJalrXUtnFEMI/K7MDENG"

App = Callable[[dict[str, Any], Callable[..., Any]], Any]


PATIENCE = "60"
"""Seconds that a store may take here: its part is played by Python, on a busy machine."""


def s3_settings(endpoint_url: str, bucket: str, **more: str) -> dict[str, Any]:
    """Kinto's settings for a store in S3; None takes the local store's away."""
    return {
        "kinto.attachment.base_path": None,
        "kinto.attachment.aws.endpoint_url": endpoint_url,
        "kinto.attachment.aws.bucket_name": bucket,
        "kinto.attachment.aws.access_key": ACCESS_KEY,
        "kinto.attachment.aws.secret_key": SECRET_KEY,
        "kinto.attachment.aws.region": "us-east-1",
        "kinto.attachment.aws.timeout": PATIENCE,
        "kinto.attachment.store_timeout": PATIENCE,
        **{f"kinto.attachment.{name}": value for name, value in more.items()},
    }


def gcs_settings(bucket: str, **more: str) -> dict[str, Any]:
    """Kinto's settings for a store at Google, found by ``STORAGE_EMULATOR_HOST``."""
    return {
        "kinto.attachment.base_path": None,
        "kinto.attachment.gcloud.bucket_name": bucket,
        "kinto.attachment.gcloud.timeout": PATIENCE,
        "kinto.attachment.store_timeout": PATIENCE,
        **{f"kinto.attachment.{name}": value for name, value in more.items()},
    }


@contextmanager
def moto() -> Iterator[str]:
    """The URL of an S3 of our own."""
    if ANOTHER_S3:
        yield ANOTHER_S3
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
    assert server._server
    server._server.server_close()


@contextmanager
def s3_client(endpoint_url: str) -> Iterator[Any]:
    """A plain client, to look at an S3 past our own code."""
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name="us-east-1")
    config = Config(s3={"addressing_style": "path"})
    client = session.client("s3", endpoint_url=endpoint_url, config=config)
    yield client
    client.close()


def new_bucket(client: Any) -> str:
    """An empty bucket that no other test has."""
    name = f"bucket-{secrets.token_hex(8)}"
    client.create_bucket(Bucket=name)
    return name


class Gate:
    """What stands before an S3: it writes down every request, and may answer in its place.

    :ivar seen: operation and headers (lower case) of each request.
    :ivar answer: called with the operation and the headers; returns a status and a code to
        answer, or None to let the request through.
    :ivar loses_answer: called with the operation; whether the request is carried out, and then
        not answered.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.reset()

    def reset(self) -> None:
        """Open the gate, and empty its book."""
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, str]], tuple[int, str] | None] = lambda *_: None
        self.loses_answer: Callable[[str], bool] = lambda _: False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        operation, headers = self._operation(environ), self._headers(environ)
        self.seen.append((operation, headers))
        answer = self.answer(operation, headers)
        if answer:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return self._refuse(*answer, start_response)
        if self.loses_answer(operation):
            list(self._app(environ, lambda *_: None))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError
        return self._app(environ, start_response)

    @staticmethod
    def _operation(environ: dict[str, Any]) -> str:
        """Method and the names in the query: ``PUT``, ``POST uploads``, ``PUT partNumber…``."""
        names = sorted(part.split("=")[0] for part in environ["QUERY_STRING"].split("&") if part)
        return " ".join([environ["REQUEST_METHOD"], *names])

    @staticmethod
    def _headers(environ: dict[str, Any]) -> dict[str, str]:
        found = {k[5:]: v for k, v in environ.items() if k.startswith("HTTP_")}
        found["content-length"] = environ.get("CONTENT_LENGTH", "")
        return {name.replace("_", "-").lower(): value for name, value in found.items()}

    @staticmethod
    def _refuse(status: int, code: str, start_response: Callable[..., Any]) -> Any:
        body = (
            f"<Error><Code>{code}</Code><Message>{ACCESS_KEY} {SECRET_KEY}</Message>"
            f"<AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId></Error>"
        )
        start_response(f"{status} No", [("Content-Type", "application/xml")])
        return [body.encode()]


class _QuietHandler(MotoRequestHandler):
    """Lost answers are wanted: nothing is written about them."""

    def log(self, *_: Any) -> None: ...


def _pass_on(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """What another S3 answers to a request, whose signature is for the host that it names."""
    headers = {k[5:].replace("_", "-"): v for k, v in environ.items() if k.startswith("HTTP_")}
    length = int(environ.get("CONTENT_LENGTH") or 0)
    headers["Content-Length"] = str(length)
    if environ.get("CONTENT_TYPE"):
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    body = environ["wsgi.input"].read(length)
    with contextlib.closing(HTTPConnection(urlsplit(ANOTHER_S3).netloc, timeout=60)) as connection:
        connection.request(environ["REQUEST_METHOD"], environ["REQUEST_URI"], body, headers)
        answer = connection.getresponse()
        content = answer.read()
    hop_by_hop = ("connection", "transfer-encoding")
    told = [(k, v) for k, v in answer.getheaders() if k.lower() not in hop_by_hop]
    start_response(f"{answer.status} {answer.reason}", told)
    return [content]


@contextmanager
def gated_moto() -> Iterator[tuple[str, Gate]]:
    """The URL of an S3 of our own, and the gate before it."""
    gate = Gate(_pass_on if ANOTHER_S3 else DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, gate, threaded=True, request_handler=_QuietHandler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}", gate
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def port_without_server() -> Iterator[str]:
    """A URL where every connection is refused: the port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def server_that_never_answers() -> Iterator[str]:
    """A URL where connections are made, and nothing ever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def connections_to(url: str) -> int:
    """How many connections to a server that never answers are, or were, made by this process:
    it has accepted none, so the kernel still has them."""
    port = int(url.rsplit(":", 1)[1])
    found = psutil.net_connections("tcp")
    return sum(c.laddr.port == port and bool(c.raddr) for c in found)


class _Taken(Exception):
    pass


class _CreateOnlyStorage(EmulatorStorage):
    """The emulator's files, minding ``ifGenerationMatch=0`` as Google does."""

    create_only = False

    def create_file(self, bucket_name: str, file_name: str, *how: Any, **more: Any) -> None:
        if self.create_only and file_name in self.objects.get(bucket_name, {}):
            raise _Taken
        super().create_file(bucket_name, file_name, *how, **more)


class Emulator:
    """A Google Cloud Storage of our own.

    :ivar interferes: called with the method and path of each upload's request; returns None,
        or a status to answer in its place, or 0 to carry it out and not answer.
    """

    def __init__(self, storage: _CreateOnlyStorage, url: str) -> None:
        self._storage = storage
        self.url = url
        self.interferes: Callable[[str, str], int | None] = lambda *_: None

    def make_bucket(self, name: str | None = None) -> str:
        name = name or f"bucket-{secrets.token_hex(8)}"
        create_bucket(name, self._storage)
        return name


class _EmulatorHandler(RequestHandler):
    """The emulator's requests, with the one precondition that it leaves out."""

    emulator: Emulator

    def do_POST(self) -> None:
        self._upload(super().do_POST)

    def do_PUT(self) -> None:
        self._upload(super().do_PUT)

    def do_DELETE(self) -> None:
        """The emulator can't give a session up."""
        session = parse_qs(urlsplit(self.path).query).get("upload_id")
        if session is None:
            super().do_DELETE()
            return
        self.storage.resumable.pop(session[0], None)
        self._answer(499)

    def _upload(self, handle: Callable[[], None]) -> None:
        instead = self.emulator.interferes(self.command, self.path)
        if instead:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(instead)
            return
        if instead == 0:
            self.wfile = io.BytesIO()  # The answer goes nowhere.
        self.storage.create_only = "ifGenerationMatch=0" in self.path
        try:
            handle()
        except _Taken:
            self._answer(412)

    def send_header(self, keyword: str, value: str) -> None:
        # Where nothing has arrived yet, Google sends no Range; the emulator sends this one.
        if (keyword, value) != ("Range", "bytes=0-0"):
            super().send_header(keyword, value)

    def _answer(self, status: int) -> None:
        body = json.dumps({"error": {"code": status, "message": "no"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def google_emulator() -> Iterator[Emulator]:
    """A Google Cloud Storage of our own, found by ``STORAGE_EMULATOR_HOST``."""
    storage = _CreateOnlyStorage(use_memory_fs=True)
    handler: Any = type("Handler", (_EmulatorHandler,), {})
    server = HTTPServer(("127.0.0.1", 0), partial(handler, storage))
    server.socket.listen(64)
    emulator = Emulator(storage, f"http://127.0.0.1:{server.server_port}")
    handler.emulator = emulator
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield emulator
    server.shutdown()
    thread.join()
    server.server_close()


def service_account(private_key: str, url: str) -> dict[str, str]:
    """What the JSON file of a service account has; ``url`` is where its tokens come from."""
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": private_key,
        "client_email": "me@project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }


@contextmanager
def google_tokens() -> Iterator[str]:
    """A URL where every service account gets a token."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
