"""Tools of the fault tests: processes to kill, stores that fail, COMMITs that fail."""

import contextlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
import transaction

from kinto_attachment.maintenance.garbage import Collector, GarbageReport
from kinto_attachment.storage import StoreFull, StoreUnavailable
from tests.support.parts import Server

# The base of mixins, whose methods call those of whatever store they are mixed into.
if TYPE_CHECKING:
    AnyStorage = Any
else:
    AnyStorage = object

LONGEST_TRANSACTION = 60
"""Seconds that any transaction of a test may take, on a machine that does much else."""

FUTURE = -60.0
"""A grace period, in seconds, under which everything counts as old."""


def collect(server: Server, grace: float = FUTURE) -> GarbageReport:
    """``kinto-attachment gc --delete`` in this process."""
    return collect_with(server.registry, grace)


def collect_with(registry: Any, grace: float) -> GarbageReport:
    """The same for an application that is no :class:`Server`."""
    collector = Collector(registry, grace)
    report = collector.look()
    collector.act(report)
    return report


def assert_nothing_dangles(server: Server) -> None:
    """The promise before any gc: what a record names is there, and is what it says."""
    from tests.support.parts import sha256

    transaction.abort()  # Kinto's last one may have failed.
    storage, links = server.registry.attachments.store, server.all_links()
    by_record = {(link.record_uri, json.dumps(link.value)): link for link in links}
    for record in server.records():
        link = by_record[(record["uri"], json.dumps(record["attachment"]))]
        assert sha256(b"".join(storage.open(link.key))) == record["attachment"]["hash"]
    transaction.abort()


class Launcher:
    """Servers that can be killed at any line: see launcher.py."""

    def __init__(self, settings: dict[str, str]) -> None:
        # Its children end by SIGKILL, which leaves nothing of what they would measure.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.launcher"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._children: list[int] = []
        self._say(settings)
        self._hear()

    def start(self, **how: Any) -> tuple[int, int]:
        """Port and process id of a new server."""
        self._say(how)
        found = self._hear()
        self._children.append(found["pid"])
        return found["port"], found["pid"]

    def stop(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for pid in self._children:
            self.stop(pid)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _say(self, message: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())


def call(
    port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    """One request over HTTP; status 0 where the server died."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, f"/v1{path}", body, headers)
        with connection.getresponse() as response:
            return response.status, response.read()
    except (ConnectionError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Database:
    """The PostgreSQL server behind a test, seen from outside of Kinto."""

    def __init__(self, url: str) -> None:
        self._engine = sqlalchemy.create_engine(
            url.replace("postgresql://", "postgresql+psycopg2://"), isolation_level="AUTOCOMMIT"
        )

    def execute(self, statement: str) -> Any:
        with self._engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(statement))
            return result.fetchall() if result.returns_rows else None

    def idle_in_transaction(self) -> int:
        """How many connections a transaction holds that does nothing."""
        found: int = self.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%'"
        )[0][0]
        return found

    def wait_until_idle(self) -> None:
        """Until no transaction is open: a killed client's COMMIT may still be under way."""
        transaction.abort()  # Ours, if we have looked at something.
        running = (
            "SELECT state, now() - xact_start, wait_event, query FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        )
        end = time.monotonic() + LONGEST_TRANSACTION
        while left := self.execute(running):
            if time.monotonic() > end:
                raise AssertionError(f"a transaction stays open: {left}")

    @contextlib.contextmanager
    def failing_commit(self, how: str) -> Iterator[None]:
        """Every COMMIT that wrote objects fails: ``RAISE`` an error, or lose the connection."""
        body = {
            "error": "RAISE EXCEPTION 'the COMMIT fails on purpose';",
            "killed": "PERFORM pg_terminate_backend(pg_backend_pid());",
        }[how]
        self.execute(
            "CREATE OR REPLACE FUNCTION fail_commit() RETURNS trigger AS"
            f" $$ BEGIN {body} RETURN NULL; END $$ LANGUAGE plpgsql"
        )
        self.execute(
            "CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT OR UPDATE OR DELETE ON objects"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_commit()"
        )
        try:
            yield
        finally:
            self.wait_until_idle()
            self.execute("DROP TRIGGER fail_commit ON objects")

    def close(self) -> None:
        self._engine.dispose()


class LossyProxy:
    """Between Kinto and PostgreSQL: lets a COMMIT through, and loses its answer."""

    def __init__(self, real: str, folder: Path) -> None:
        self._real = real
        self.armed = False
        self.path = folder / ".s.PGSQL.5432"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._clients: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for client in self._clients:  # Kinto's pool keeps them open.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._forward, args=(client,))
            thread.start()
            self._clients.append(client)
            self._threads.append(thread)

    def _forward(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._real)
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is server:
                        client.sendall(data)
                        continue
                    server.sendall(data)
                    if self.armed and b"COMMIT" in data:
                        server.recv(65536)  # PostgreSQL has committed and says so ...
                        return  # ... but nobody hears it.


def made_faulty(storage: Any) -> "FaultyStorage":
    """The same store, local or S3, that fails when it is told to."""
    kind: Any = type("Faulty", (FaultyStorage, type(storage)), {})
    faulty = kind.__new__(kind)
    vars(faulty).update(vars(storage))
    return faulty


class FaultyStorage(AnyStorage):
    """What makes a real store fail at one chosen operation, as stores do.

    :attr:`fault`: ``operation-moment``, where the moment says whether the operation had been
    done when the failure was reported (``after``: a lost answer) or not (``before``).
    """

    fault: str | None = None
    error: type[Exception] = StoreUnavailable
    seen = 0

    def _fail(self, moment: str) -> None:
        if self.fault == moment:
            self.seen += 1
            raise self.error(f"{moment} fails on purpose")

    def open_writer(self, key: str, **how: Any) -> Any:
        self._fail("open-before")
        inner = super().open_writer(key, **how)
        return FaultyWriter(self, inner)

    def stat(self, key: str) -> Any:
        self._fail("stat-before")
        return super().stat(key)

    def delete(self, filename: str) -> bool:
        self._fail("delete-before")
        done = super().delete(filename)
        self._fail("delete-after")
        return done

    def delete_many(self, keys: Any) -> None:
        self._fail("delete-before")
        super().delete_many(keys)
        self._fail("delete-after")


class FaultyWriter:
    def __init__(self, storage: FaultyStorage, inner: Any) -> None:
        self._storage = storage
        self._inner = inner

    def write(self, data: bytes) -> None:
        self._storage._fail("write-before")
        self._inner.write(data[: len(data) // 2])
        self._storage._fail("write-truncated")
        self._inner.write(data[len(data) // 2 :])

    def close(self) -> str | None:
        self._storage._fail("close-before")
        if self._storage.fault == "close-loses-bytes":
            self._storage.seen += 1
            os.truncate(self._inner._temporary, 1)
        key: str | None = self._inner.close()
        self._storage._fail("close-after")
        return key

    def abort(self) -> None:
        self._inner.abort()


STORAGE_FAULTS = [
    ("open-before", StoreUnavailable),
    ("write-before", StoreFull),
    ("write-truncated", StoreFull),
    ("close-before", StoreUnavailable),
    ("close-after", StoreUnavailable),
    ("close-loses-bytes", StoreUnavailable),
    ("stat-before", StoreUnavailable),
    ("delete-before", StoreUnavailable),
    ("delete-after", StoreUnavailable),
]
