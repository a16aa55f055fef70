"""Pages of another origin than Kinto's."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Elsewhere:
    """A web server with nothing but pages.

    :ivar pages: path and (media type, content).
    """

    origin: str
    pages: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def html(self, path: str, content: str) -> str:
        """Serve a page; returns its URL."""
        self.pages[path] = ("text/html; charset=utf-8", content.encode())
        return self.origin + path


@contextlib.contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """Serve pages from a port that the system chooses, until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = site.pages.get(self.path, ("text/plain", b""))
            self.send_response(200 if self.path in site.pages else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Elsewhere(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
