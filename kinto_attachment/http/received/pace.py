"""How slow a body may be: a client that stalls must not hold one of the server's threads."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

WINDOW = 256 * 1024
"""Bytes after which a body's pace is looked at anew."""

BoundedRead = Callable[[int, float | None], bytes]

_ENDED = "kinto_attachment.http.received.pace.ended"


class TooSlow(Exception):
    """A body came more slowly than it may."""


class Watchdog:
    """One thread that ends what takes too long; it runs only while there is something to watch.

    A server that waits for a client's bytes does so in a call that can't be told to come back.
    """

    def __init__(self) -> None:
        self._due: dict[object, tuple[float, Callable[[], None]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float, end: Callable[[], None]) -> Iterator[None]:
        """Call ``end`` if the block takes longer, up to a second later."""
        token = object()
        with self._changed:
            self._due[token] = (time.monotonic() + seconds, end)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._due.pop(token, None)

    def _run(self) -> None:
        with self._changed:
            while self._due:
                now = time.monotonic()
                for token, (due, end) in list(self._due.items()):
                    if due <= now:
                        del self._due[token]
                        end()
                earliest = min((due for due, _ in self._due.values()), default=now)
                self._changed.wait(min(1.0, max(0.001, earliest - now)))
            self._thread = None


WATCHDOG = Watchdog()


@dataclass
class Pace:
    """How fast one body has to come.

    It is looked at in windows of :data:`WINDOW` bytes, so that bytes that came quickly long
    ago don't excuse a client that stalls now. Only the time in which the server waits for the
    client counts.

    :param least_rate: bytes a second; 0 is no limit.
    :param grace: seconds that each window may take beside.
    :param clock: seconds, from any start.
    """

    least_rate: int = 0
    grace: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _waited: float = field(default=0.0, init=False)
    _received: int = field(default=0, init=False)

    def read(self, read: BoundedRead, size: int) -> bytes:
        """Up to ``size`` bytes. Raises :class:`TooSlow`."""
        if not self.least_rate:
            return read(size, None)
        allowed = self.grace + WINDOW / self.least_rate
        began = self.clock()
        data = read(size, allowed - self._waited)
        self._waited += self.clock() - began
        if self._waited > allowed:
            raise TooSlow()
        self._received += len(data)
        if self._received >= WINDOW:
            self._waited, self._received = 0.0, 0
        return data


def ends(environ: Mapping[str, Any]) -> bool:
    """Whether this server's waiting for a client can be ended."""
    return "gunicorn.socket" in environ


def was_ended(environ: Mapping[str, Any]) -> bool:
    """Whether the waiting for this body was ended before all of it had come."""
    return _ENDED in environ


def bounded(environ: dict[str, Any]) -> BoundedRead:
    """How to read a request's body with a bound on the seconds that it may take.

    gunicorn lends the connection's socket: when that ends, so does the server's call. granian
    lends nothing, and stands still as a whole when another thread goes on reading after the
    answer: there a slow client is noticed when its next bytes come. waitress takes in the whole
    body before; uWSGI has a time-out of its own.

    :returns: a function of bytes and of seconds, or None, which raises :class:`TooSlow`.
    """
    read: Callable[[int], bytes] = environ["wsgi.input"].read
    if ends(environ):
        return partial(_watched, read, environ)
    return lambda size, seconds: read(size)


def part(environ: Mapping[str, Any]) -> None:
    """Close the connection of a body whose waiting was ended, once the answer is sent.

    gunicorn takes the end that it has seen for the body's, and what may still come of it for the
    next request; and no WSGI application may say ``Connection: close``. So the socket that
    gunicorn has is made one that has nothing more to read, and the client's is closed.
    """
    silent, other = socket.socketpair()
    with silent, other, contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)
        os.dup2(silent.fileno(), environ["gunicorn.socket"].fileno(), inheritable=False)


def _watched(
    read: Callable[[int], bytes], environ: dict[str, Any], size: int, seconds: float | None
) -> bytes:
    if seconds is None:
        return read(size)
    ended: list[bool] = []
    connection: socket.socket = environ["gunicorn.socket"]

    def end() -> None:
        ended.append(True)
        environ[_ENDED] = True
        with contextlib.suppress(OSError):
            # Of the plain socket: with TLS, the answer is still to be sent.
            socket.socket.shutdown(connection, socket.SHUT_RD)

    data = b""
    try:
        with WATCHDOG.within(seconds, end):
            data = read(size)
    except Exception:
        if not ended:
            raise
    if ended:
        raise TooSlow()
    return data
