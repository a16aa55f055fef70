"""moto's S3 in a process of its own, which counts what is read: ``python -m benchmarks.s3``.

It prints its URL. ``GET /read-so-far`` says how many bytes of objects it has given out.
"""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from benchmarks.servers import ROOT
from tests.support import storage_parts

SO_FAR = "/read-so-far"


class Counting:
    """The application of moto, and beside it a counter."""

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._read = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        if path == SO_FAR:
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [str(self._read).encode()]
        answer = self._app(environ, start_response)
        is_object = path.count("/") > 1 and "uploadId" not in environ["QUERY_STRING"]
        return (
            self._counted(answer) if environ["REQUEST_METHOD"] == "GET" and is_object else answer
        )

    def _counted(self, answer: Any) -> Iterator[bytes]:
        with contextlib.closing(answer):
            for chunk in answer:
                self._read += len(chunk)
                yield chunk


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log(self, *_: Any) -> None: ...


class Running:
    """One with a bucket. ``settings``: the plugin's, for it."""

    def __init__(self, url: str) -> None:
        self._url = url
        with storage_parts.s3_client(url) as client:
            bucket = storage_parts.new_bucket(client)
        given = storage_parts.s3_settings(url, bucket, download="proxy")
        named = {name.removeprefix("kinto.attachment."): value for name, value in given.items()}
        self.settings = {**named, "base_path": "", "aws.timeout": "600", "store_timeout": "600"}

    def read(self) -> int:
        """Bytes of objects that were read so far."""
        return int(requests.get(f"{self._url}{SO_FAR}", timeout=60).text)

    def clear(self) -> None:
        """Forget all objects: they are kept in memory."""
        with storage_parts.s3_client(self._url) as client:
            bucket = self.settings["aws.bucket_name"]
            for found in client.list_objects_v2(Bucket=bucket)["Contents"]:
                if found["Size"] > 2**20:
                    client.delete_object(Bucket=bucket, Key=found["Key"])


@contextlib.contextmanager
def running() -> Iterator[Running]:
    command = [sys.executable, "-m", "benchmarks.s3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield Running(process.stdout.readline().strip())
        finally:
            process.terminate()


def main() -> None:
    server = make_server("127.0.0.1", 0, Counting(), threaded=True, request_handler=Quiet)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
