"""A server that answers like Kinto, but for what a test has it say."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.parts import sha256

CONTENT = b"content"
EVIL = "evil\x1b]0;x\x07\x1b[2J\r\n\t\u202etxt\u2066\x7f\x9b\u2028"
"""What a terminal obeys to, what ends a line, and what turns the text around."""


@dataclass(frozen=True)
class Answer:
    """
    :param body: blocks, which may have no end; a number in place of the length for a wrong one.
    :param line: the whole first line, where it is not an ordinary one.
    """

    status: int = 200
    body: Iterable[bytes] = (b"{}",)
    headers: Mapping[str, str] = field(default_factory=dict)
    length: str | None = None
    line: bytes | None = None


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """JSON, with underscores for dashes in the names of headers."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, (body,), {"Content-Type": "application/json", **named})


Asked = Callable[["Handler"], Answer | None]


class Hostile(http.server.ThreadingHTTPServer):
    """Answers as :attr:`says` has it, and else with one record, ``a``, and its file."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.says: dict[str, Answer] = {}
        """By what is asked for: root, list, record, file, post, put, delete."""
        self.passwords: list[str] = []
        """Those that were sent."""

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def handle_error(self, *_: Any) -> None:
        """Clients go away."""


def record(record_id: Any = "a", **attachment: Any) -> dict[str, Any]:
    """With an attachment whose file the server has; None takes a field out."""
    full = {
        "filename": "a.txt",
        "size": len(CONTENT),
        "hash": sha256(CONTENT),
        "mimetype": "text/plain",
        "location": "x",
        **attachment,
    }
    return {"id": record_id, "last_modified": 1, "path": "sub/a.txt", "attachment": full}


@contextlib.contextmanager
def hostile() -> Iterator[Hostile]:
    with Hostile() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hostile

    def handle_any(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "Authorization" in self.headers:
            self.server.passwords.append(self.headers["Authorization"])
        asked = self._asked()
        self._send(self.server.says.get(asked) or self._honest(asked))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""

    def _asked(self) -> str:
        if self.command != "GET":
            return "put" if self.command == "PATCH" else self.command.lower()
        path, _, query = self.path.partition("?")
        if path == "/v1/":
            return "root"
        if path.endswith("/records"):
            return "look-up" if "in_id" in query else "list"
        return "record" if "/records/" in path and "/attachment" not in path else "file"

    def _honest(self, asked: str) -> Answer:
        if asked == "root":
            told = {"attachments": {"base_url": f"{self.server.origin}/files/"}}
            return as_json({"capabilities": told})
        if asked == "file":
            return Answer(200, (CONTENT,))
        if asked == "delete":
            return Answer(204, ())
        if asked == "post":
            return as_json(record()["attachment"], 201)
        if asked in ("list", "look-up"):
            return as_json({"data": [record()]})
        return as_json({"data": record(self.path.partition("?")[0].rsplit("/", 1)[-1])})

    def _send(self, answer: Answer) -> None:
        blocks = answer.body
        length = answer.length
        if length is None and isinstance(blocks, tuple):
            length = str(sum(map(len, blocks)))
        if answer.line is not None:
            self.wfile.write(answer.line)
        else:
            self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):
            for block in blocks:
                self.wfile.write(block)
