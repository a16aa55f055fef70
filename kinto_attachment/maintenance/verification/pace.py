"""A rate in bytes a second that several threads keep together."""

import re
import threading
import time
from collections.abc import Callable

UNITS = {
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
"""Bytes by the name of their unit."""


class Stopped(Exception):
    """The work is to end before its time."""


class Pace:
    """Makes the threads that read or write wait for their turn.

    Nothing is saved up: after a pause the rate is the same as before.

    :param rate: bytes a second, over all threads together; None for as fast as it goes.
    :param clock: seconds that only ever grow.
    :param wait: waits for some seconds; unless it is given, :meth:`stop` ends a wait at once.
    """

    def __init__(
        self,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._lock = threading.Lock()
        self._free = clock()

    def spend(self, size: int) -> None:
        """Account for ``size`` bytes; returns when those before them are due.

        :raises Stopped: after :meth:`stop`.
        """
        if self._rate is not None:
            delay = self._reserve(size / self._rate)
            if delay > 0:
                self._wait(delay)
        if self._stop.is_set():
            raise Stopped

    def stop(self) -> None:
        """End the work of every thread that spends, also of those that wait."""
        self._stop.set()

    def _reserve(self, seconds: float) -> float:
        """Take the next free time; returns in how many seconds it begins."""
        with self._lock:
            now = self._clock()
            begin = max(self._free, now)
            self._free = begin + seconds
        return begin - now


def rate_of(text: str) -> float:
    """Bytes a second from ``50MB/s``, ``1.5 GiB/s`` or, without the ``/s``, ``500kB``.

    :raises ValueError: with a sentence, for anything else and for less than a byte a second.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)(?:/s)?", text, re.ASCII)
    rate = float(found[1]) * UNITS.get(found[2], 0) if found else 0
    if rate < 1:
        units = ", ".join(f"{name}/s" for name in UNITS)
        raise ValueError(f"{text!r} is no rate: write a number and one of {units}, as in 50MB/s")
    return rate
