"""A server that can be killed at any line of the package: ``python -m tests.faults.launcher``.

The launcher imports Kinto once and builds the application, without a connection to anything;
for each line on standard input it forks a child that serves it with waitress on a port of its
own, and says which. It has one thread, so forking is safe.

Commands, as JSON lines: ``{"kill_at": N}`` kills the child with SIGKILL at the N-th line of
Python that it runs in the watched modules; 0 never kills; ``{"trace": path, "folder": path}``
writes the lines that a child runs, and with each of them what the world outside of the process had
been told by then: the statements, the requests to S3, and the files of the folder. The answer is
``{"port": …, "pid": …}``. With ``"collects": true`` the child serves nobody, and collects garbage.
"""

import gc
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import sqlalchemy
import webtest
from botocore.httpsession import URLLib3Session
from kinto.core.testing import get_user_headers

import kinto_attachment
from tests.faults.harness import FUTURE, collect_with
from tests.support.parts import multipart

PACKAGE = Path(kinto_attachment.__file__).parent
APART = ("commands", "client", "demo")
"""Folders of what no request runs."""

EXPECTED = {
    "agreement/tween.py",
    "attachments/intake.py",
    "agreement/errands.py",
    "attachments/file_changes.py",
    "agreement/reconciling.py",
    "rows/postgresql.py",
    "storage/local/store.py",
    "storage/local/streams.py",
    "http/uploads.py",
    "http/routes.py",
    "attachments/unfinished.py",
    "rows/postgresql_uploads.py",
    "storage/local/uploads.py",
    "storage/s3/uploads.py",
    "storage/tails.py",
    "maintenance/expired_uploads.py",
}
"""What has to be among the watched files, wherever modules move."""


def watched() -> frozenset[str]:
    """Every module of the package that a request may run."""
    modules = {path.relative_to(PACKAGE): path for path in PACKAGE.rglob("*.py")}
    found = {place: path for place, path in modules.items() if place.parts[0] not in APART}
    missing = EXPECTED - {str(place) for place in found}
    if missing:
        raise SystemExit(f"Not watched, since not there: {sorted(missing)}")
    return frozenset(map(str, found.values()))


WATCHED = watched()


class Outside:
    """What a process that is killed leaves behind: files, and what it sent to the database, or
    to S3."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._statements = 0
        send = URLLib3Session.send

        def counted(session: URLLib3Session, request: Any) -> Any:
            self._count()
            try:
                return send(session, request)
            finally:
                self._count()

        URLLib3Session.send = counted
        for event in ("before_cursor_execute", "after_cursor_execute", "commit", "rollback"):
            sqlalchemy.event.listen(sqlalchemy.Engine, event, self._count)

    def _count(self, *_: Any) -> None:
        self._statements += 1

    def __str__(self) -> str:
        files = sorted(Path(self._folder).rglob("*")) if self._folder else []
        return f"{self._statements} {[(str(file), file.stat().st_size) for file in files]}"


def install(kill_at: int, trace: str | None, folder: str) -> None:
    """Count the lines that run in the watched modules, in every thread made from now on."""
    count = 0
    log = open(trace, "w", buffering=1) if trace else None  # noqa: SIM115
    outside = Outside(folder) if trace else None

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if log:
                log.write(f"{frame.f_code.co_filename}:{frame.f_lineno}\t{outside}\n")
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: FrameType, _: str, __: Any) -> Any:
        return line if frame.f_code.co_filename in WATCHED else None

    threading.settrace(call)


def serve(
    app: Any,
    answer: int,
    kill_at: int = 0,
    trace: str | None = None,
    folder: str = "",
    collects: bool = False,
) -> None:
    import waitress.server

    if kill_at or trace:
        install(kill_at, trace, folder)
    if collects:
        os.write(answer, (json.dumps({"port": 0, "pid": os.getpid()}) + "\n").encode())
        collecting = threading.Thread(target=collect_with, args=(app.registry, FUTURE))
        collecting.start()
        collecting.join()
        return
    server = waitress.server.create_server(app, host="127.0.0.1", port=0, threads=8)
    found = {"port": server.effective_port, "pid": os.getpid()}
    os.write(answer, (json.dumps(found) + "\n").encode())
    server.run()


def warm_up(app: Any) -> None:
    """Serve each kind of request once: what SQLAlchemy compiles and Python imports on the way
    would otherwise be done anew by every child."""
    client, headers = webtest.TestApp(app), get_user_headers("warm-up")
    bucket = "/v1/buckets/warm-up"
    record = f"{bucket}/collections/warm-up/records/warm-up"
    body, kind = multipart([("attachment", "a.txt", "text/plain", b"warm-up")])
    for uri in (bucket, f"{bucket}/collections/warm-up"):
        client.put_json(uri, headers=headers)
    for _ in range(2):
        client.post(f"{record}/attachment", body, {**headers, "Content-Type": kind})
    for uri in (f"{record}/attachment", record, bucket):
        client.delete(uri, headers=headers)


def main() -> None:
    import kinto

    settings = json.loads(sys.stdin.readline())
    app = kinto.main({}, **settings)
    backends = [getattr(app.registry, part) for part in ("storage", "permission", "cache")]
    for backend in backends:
        backend.initialize_schema()
    warm_up(app)
    app.registry.attachments.custody.forget()  # A test may have another store by then.
    gc.freeze()  # A collection in a child would copy every page that it shares with us.
    for backend in backends:
        client = getattr(backend, "client", None)
        if client is not None:
            client.session_factory.remove()
            client.session_factory.session_factory.kw["bind"].dispose(close=False)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel reaps.
    print(json.dumps({"ready": True}), flush=True)
    for command in sys.stdin:
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            serve(app, 1, **json.loads(command))
            os._exit(0)


if __name__ == "__main__":
    main()
