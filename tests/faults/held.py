"""Actors that stop at a chosen moment: after one of their SQL statements, after a COMMIT, before
or after a file is written, read or removed, or in the middle of a body.

SQLAlchemy and the store tell of moments; nothing of the package is replaced but the store's
class, by one that inherits from it. An actor is a thread of its own, as a request's is in a
server, and counts its moments from 1.
"""

import contextlib
import dataclasses
import io
import os
import re
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import sqlalchemy
import sqlalchemy.orm
import transaction

from tests.faults.harness import AnyStorage

PATIENCE = 60.0
"""Seconds after which something hangs: no test waits as long for anything that works."""

BETWEEN_LOOKS = 0.002
"""Seconds between two looks whether the second has come to its end or to a lock."""

_here = threading.local()


class Hangs(Exception):
    """An actor neither ends nor waits for the other one's lock."""


class Actor:
    """One who does something, and can be held, or killed, at one of its moments.

    :param hold_at: the number of the moment; 0 is never.
    :param kills: whether the process ends there by SIGKILL, instead of being held.
    """

    def __init__(self, slot: str, hold_at: int = 0, kills: bool = False) -> None:
        self.slot = slot
        self.moments: list[str] = []
        self.held_at: str | None = None
        self.pids: set[int] = set()
        self.result: Any = None
        self.error = ""
        self._hold_at, self._kills = hold_at, kills
        self._counting = threading.Lock()
        self._stopped = threading.Event()  # It is held, or done.
        self._go = threading.Event()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def moment(self, label: str) -> None:
        """Something has just happened, or is about to."""
        with self._counting:
            self.moments.append(label)
            is_it = len(self.moments) == self._hold_at
        if not is_it:
            return
        if self._kills:
            os.kill(os.getpid(), signal.SIGKILL)
        self.held_at = label
        self._stopped.set()
        if not self._go.wait(PATIENCE):
            raise Hangs(f"{self.slot} was held, and never told to go on")

    def start(self, work: Callable[[], Any]) -> None:
        """Do it, in a thread."""
        ACTORS[self.slot] = self
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Any]) -> None:
        """Do it, in this thread."""
        ACTORS[self.slot] = self
        self._run(work)

    def wait_until_held(self) -> bool:
        """Whether it is held; False where it has ended before."""
        if not self._stopped.wait(PATIENCE):
            raise Hangs(f"{self.slot} does not come to moment {self._hold_at}: {self._where()}")
        return self.held_at is not None

    def wait_until_done_or_behind(self, other: "Actor", locks: "Locks") -> bool:
        """Until it has ended, or waits for a lock of the other one; whether it waits."""
        for _ in range(int(PATIENCE / BETWEEN_LOOKS)):
            if self._done.wait(BETWEEN_LOOKS):
                return False
            if locks.wait(self.pids, other.pids):
                return True
        raise Hangs(f"{self.slot} neither ends nor waits for {other.slot}'s lock: {self._where()}")

    def go_on(self) -> None:
        """Let it go where it is held."""
        self._go.set()

    def join(self) -> None:
        """Wait for its end."""
        if not self._done.wait(PATIENCE):
            raise Hangs(f"{self.slot} does not end: {self._where()}")
        if self._thread:
            self._thread.join()

    def _run(self, work: Callable[[], Any]) -> None:
        _here.actor = self
        try:
            self.result = work()
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.error = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        finally:
            transaction.abort()
            _give_connections_back()
            _here.actor = None
            self._done.set()
            self._stopped.set()

    def _where(self) -> str:
        return f"after {len(self.moments)} moments, the last: {self.moments[-1:]}"


ACTORS: dict[str, Actor] = {}
"""Who is at work in each slot: a store knows its slot, whatever thread calls it."""


def _give_connections_back() -> None:
    """A thread of Kinto's has its session for itself, which the thread's end would leave open."""
    from kinto.core.storage.postgresql import client

    for found in [c for clients in client._CLIENTS.values() for c in clients.values()]:
        found.session_factory.remove()


class Locks:
    """Who waits for whom, as PostgreSQL itself says it."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True

    def wait(self, waiting: set[int], holding: set[int]) -> bool:
        """Whether one of the first waits for a lock of one of the others."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
                " AND wait_event_type = 'Lock' AND pg_blocking_pids(pid) && %s",
                (list(waiting), list(holding)),
            )
            return bool(cursor.fetchone()[0])

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def watching_sql() -> Iterator[None]:
    """SQLAlchemy tells the thread's actor of each statement, and of each COMMIT that is done."""
    events: list[tuple[Any, str, Callable[..., None]]] = [
        (sqlalchemy.engine.Engine, "before_cursor_execute", _before_statement),
        (sqlalchemy.engine.Engine, "after_cursor_execute", _after_statement),
        (sqlalchemy.orm.Session, "after_commit", _after_commit),
    ]
    for event in events:
        sqlalchemy.event.listen(*event)
    try:
        yield
    finally:
        for event in events:
            sqlalchemy.event.remove(*event)


def _before_statement(connection: Any, *_: Any) -> None:
    actor = getattr(_here, "actor", None)
    if actor:
        actor.pids.add(connection.connection.dbapi_connection.info.backend_pid)


def _after_statement(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
    actor = getattr(_here, "actor", None)
    if actor:
        actor.moment(f"after {_in_short(statement, parameters)}")


def _after_commit(_: Any) -> None:
    actor = getattr(_here, "actor", None)
    if actor:
        actor.moment("after COMMIT")


def _in_short(statement: str, parameters: Any) -> str:
    words = " ".join(re.sub(r"--.*", "", statement).split())
    verb = re.search(r"\b(INSERT INTO|DELETE FROM|UPDATE|SELECT)\b", words)
    table = re.search(r"\b(?:FROM|INTO|UPDATE) (\w+)", words)
    named = parameters if isinstance(parameters, dict) else {}
    about = [
        str(named[name]) for name in ("resource_name", "parent_id", "object_id") if name in named
    ]
    locked = " FOR UPDATE" if "FOR UPDATE" in words else ""
    start = f"{verb[1].split()[0]} {table[1]}" if verb and table else words[:60]
    return f"{start}{locked} {' '.join(about)}".rstrip()


def watched(registry: Any, slot: str) -> None:
    """Let the application's store tell whoever is at work in the slot of its moments."""
    attachments = registry.attachments
    inner = attachments.store
    kind: Any = type("Watched", (WatchedStorage, type(inner)), {})
    storage = kind.__new__(kind)
    vars(storage).update(vars(inner))
    storage.slot = slot
    registry.attachments = dataclasses.replace(attachments, store=storage)


class WatchedStorage(AnyStorage):
    """What makes a real store tell of its moments."""

    slot = ""

    def _tell(self, label: str) -> None:
        actor = ACTORS.get(self.slot)
        if actor:
            actor.moment(label)

    def open_writer(self, key: str, **how: Any) -> Any:
        return WatchedWriter(self, super().open_writer(key, **how))

    def open(self, key: str, *place: Any) -> Any:
        self._tell("before a file is opened")
        return super().open(key, *place)

    def stat(self, key: str) -> Any:
        found = super().stat(key)
        self._tell("after a file was looked at")
        return found

    def files(self) -> Iterator[Any]:
        yield from super().files()
        self._tell("after the files were listed")

    def delete(self, filename: str) -> bool:
        self._tell("before a file is removed")
        done: bool = super().delete(filename)
        self._tell("after a file was removed")
        return done


class WatchedWriter:
    def __init__(self, storage: WatchedStorage, inner: Any) -> None:
        self._storage = storage
        self._inner = inner

    def write(self, data: bytes) -> None:
        self._inner.write(data)

    def close(self) -> str | None:
        self._storage._tell("before a file is published")
        key: str | None = self._inner.close()
        self._storage._tell("after a file was published")
        return key

    def abort(self) -> None:
        self._inner.abort()


class Body(io.RawIOBase):
    """A request's body that comes in two pieces, with a moment before each and at its end."""

    def __init__(self, content: bytes) -> None:
        half = len(content) // 2
        self._pieces = [content[:half], content[half:]]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._pieces:
            return 0
        actor = getattr(_here, "actor", None)
        if actor:
            actor.moment(f"before the last {len(self._pieces)} halves of the body")
        piece = self._pieces.pop(0)
        taken, rest = piece[: len(buffer)], piece[len(buffer) :]
        buffer[: len(taken)] = taken
        if rest:
            self._pieces.insert(0, rest)
        return len(taken)
