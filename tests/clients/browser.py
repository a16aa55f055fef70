"""Pages of Kinto's own origin for a browser, and what they report."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kinto
import waitress.server

from tests.support import parts

WITHIN = 120
"""Seconds that a page may take to report."""


class Site:
    """Kinto and some pages under one origin, served by waitress in this process.

    :ivar pages: path and (media type, content).
    :ivar seen: requests to Kinto: method, path, Range and status.
    """

    def __init__(self, folder: Path, **more: str) -> None:
        settings = {
            **parts.SETTINGS,
            **parts.MEMORY,
            "kinto.includes": "kinto_attachment kinto.plugins.default_bucket",
            "kinto.attachment.base_path": str(folder / "files"),
            "kinto.attachment.extensions": "any",
            **more,
        }
        del settings["kinto.http_scheme"], settings["kinto.http_host"]
        self._app = kinto.main({}, **settings)
        # Browsers ask each origin for its icon, at a time of their own.
        self.pages: dict[str, tuple[str, bytes]] = {"/favicon.ico": ("image/x-icon", b"")}
        self.seen: list[tuple[str, str, str, str]] = []
        self._reports: dict[str, Any] = {}
        self._reported = threading.Condition()
        self.server = waitress.server.create_server(self, host="127.0.0.1", port=0, threads=8)
        self.origin = f"http://127.0.0.1:{self.server.effective_port}"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/report/"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            with self._reported:
                self._reports[path.removeprefix("/report/")] = json.loads(body or b"null")
                self._reported.notify_all()
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
        if path in self.pages:
            kind, content = self.pages[path]
            length = str(len(content))
            start_response("200 OK", [("Content-Type", kind), ("Content-Length", length)])
            return [content]

        def started(status: str, headers: Any, *how: Any) -> Any:
            asked = environ.get("HTTP_RANGE", "")
            self.seen.append((environ["REQUEST_METHOD"], path, asked, status))
            return start_response(status, headers, *how)

        return self._app(environ, started)

    def close(self) -> None:
        """End the server, whose loop lasts as long as the browser keeps a connection."""
        for channel in list(self.server.active_channels.values()):
            channel.handle_close()
        self.server.close()

    @property
    def reports(self) -> dict[str, Any]:
        return dict(self._reports)

    def wait_for(self, name: str) -> Any:
        """What a page has posted to ``/report/<name>``."""
        with self._reported:
            arrived = self._reported.wait_for(lambda: name in self._reports, WITHIN)
            assert arrived, f"no report {name}; there are {self._reports} after {self.seen}"
            return self._reports[name]


@contextlib.contextmanager
def running(folder: Path, **more: str) -> Iterator[Site]:
    site = Site(folder, **more)
    thread = threading.Thread(target=site.server.run)
    thread.start()
    try:
        yield site
    finally:
        # waitress has no call to stop it from another thread: its sockets are closed. Its loop
        # may be awake and do that before the trigger, one of them, is pulled.
        with contextlib.suppress(OSError):
            site.server.trigger.pull_trigger(site.close)
        site.server.task_dispatcher.shutdown()
        thread.join()
