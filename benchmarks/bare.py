"""The least that a WSGI application can do: ``python -m benchmarks.bare`` serves it by waitress.

``GET`` streams one file. ``PUT`` and ``POST`` read the body once, hash it, and write it to a
temporary file that is synced and renamed. A form is not parsed: its few bytes are stored too.
"""

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CHUNK = 256 * 1024
FOLDER = Path(os.environ.get("BARE_FOLDER", "."))
FILE = "file.bin"

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def application(environ: dict[str, Any], start_response: StartResponse) -> Any:
    if environ["REQUEST_METHOD"] in ("PUT", "POST"):
        return _receive(environ, start_response)
    if environ["PATH_INFO"] == "/v1/__lbheartbeat__":
        start_response("200 OK", [("Content-Length", "2")])
        return [b"{}"]
    size = (FOLDER / FILE).stat().st_size
    start_response("200 OK", [("Content-Length", str(size))])
    return _stream(FOLDER / FILE)


def _stream(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _receive(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    digest, left = hashlib.sha256(), int(environ["CONTENT_LENGTH"])
    target = FOLDER / secrets.token_hex(16)
    temporary = target.with_suffix(".part")
    with temporary.open("xb", buffering=0) as file:
        while left and (chunk := environ["wsgi.input"].read(min(CHUNK, left))):
            left -= len(chunk)
            digest.update(chunk)
            file.write(chunk)
        os.fsync(file.fileno())
    temporary.rename(target)
    answer = digest.hexdigest().encode()
    start_response("201 Created", [("Content-Length", str(len(answer)))])
    return [answer]


if __name__ == "__main__":
    import waitress

    waitress.serve(application, host="127.0.0.1", port=0, recv_bytes=CHUNK, _quiet=True)
