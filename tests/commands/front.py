"""A server before the real one: it sees every request, and fails on purpose."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK = 64 * 1024


@dataclass
class Seen:
    """A request that came in, and what was sent back."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    sent: int = 0
    """Bytes of the body of the answer."""


@dataclass(frozen=True)
class Reply:
    """What the front says itself, without asking the real server."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


DROP = "drop the connection when the real server has answered"
CUT = "drop the connection, and do not ask the real server"

Plan = Callable[[Seen], Reply | str | int | None]
"""None: pass it on. A number: pass on so many bytes of the answer, and drop the connection."""


class Front(ThreadingHTTPServer):
    """
    :param upstream: host and port of the real server.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.seen: list[Seen] = []
        self.plan: Plan = lambda _: None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def requests(self, method: str, part: str = "") -> list[Seen]:
        return [one for one in self.seen if one.method == method and part in one.path]

    def handle_error(self, *_: Any) -> None:
        """Clients that are killed break their connections."""


@contextlib.contextmanager
def front(upstream: str = "") -> Iterator[Front]:
    with Front(upstream.removeprefix("http://")) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def once(wanted: Callable[[Seen], bool], *steps: Reply | str | int) -> Plan:
    """The steps for the first requests that are wanted; all others pass."""
    left = list(steps)

    def plan(seen: Seen) -> Reply | str | int | None:
        return left.pop(0) if left and wanted(seen) else None

    return plan


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = Seen(self.command, self.path, dict(self.headers), body)
        self.server.seen.append(seen)
        step = self.server.plan(seen)
        if isinstance(step, Reply):
            seen.status = step.status
            self._head(step.status, {**step.headers, "Content-Length": str(len(step.body))})
            self.wfile.write(step.body)
            return
        if step == CUT:
            self.close_connection = True
            return
        with contextlib.closing(http.client.HTTPConnection(self.server.upstream)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            self._pass_on(answer, seen, step)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""

    def _pass_on(
        self, answer: http.client.HTTPResponse, seen: Seen, step: str | int | None
    ) -> None:
        if step == DROP:
            answer.read()
            self.close_connection = True
            return
        seen.status = answer.status
        self._head(answer.status, dict(answer.getheaders()))
        left = step if isinstance(step, int) else 2**62
        while left and (block := answer.read(min(left, BLOCK))):
            self.wfile.write(block)
            left -= len(block)
            seen.sent += len(block)
        if not left:
            self.close_connection = True

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
