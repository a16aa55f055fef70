"""How slow a body may be, by a clock that is handed in."""

import threading
from collections.abc import Iterable

import pytest

from kinto_attachment.http.received.pace import WINDOW, Pace, TooSlow, Watchdog

RATE, GRACE = WINDOW // 64, 30.0
"""64 seconds for a window, and 30 beside."""


class Client:
    """Sends pieces; before each of them it lets the clock go on."""

    def __init__(self, pieces: Iterable[tuple[float, int]]) -> None:
        self.now = 0.0
        self.allowed: list[float | None] = []
        self._pieces = iter(pieces)

    def read(self, size: int, seconds: float | None) -> bytes:
        self.allowed.append(seconds)
        waits, length = next(self._pieces, (0.0, 0))
        self.now += waits
        assert length <= size
        return bytes(length)

    def receive(self, pace: Pace) -> int:
        total = 0
        while data := pace.read(self.read, WINDOW):
            total += len(data)
        return total


WHOLE = WINDOW
COMES = {
    "at once": [(0.0, WHOLE)] * 5,
    "at the least rate": [(64.0, WHOLE)] * 20,
    "with its grace each time": [(94.0, WHOLE)] * 20,
    "byte by byte, but soon": [(0.5, 1)] * 100,
    "after a pause in each window": [(90.0, WHOLE // 2), (0.1, WHOLE // 2)] * 10,
    "nothing at all": [],
}
LATE = {
    "a stall at the beginning": [(95.0, WHOLE)],
    "a stall after much": [(0.0, WHOLE)] * 1000 + [(95.0, WHOLE)],
    "a trickle": [(1.0, 1)] * 100,
    "half a window, and a trickle": [(60.0, WHOLE // 2), (20.0, 1), (20.0, 1)],
}


@pytest.mark.parametrize("how", COMES)
def test_a_body_that_comes_is_read(how: str) -> None:
    client = Client(COMES[how])

    received = client.receive(Pace(RATE, GRACE, lambda: client.now))

    assert received == sum(length for _, length in COMES[how])
    assert all(allowed is not None and allowed > 0 for allowed in client.allowed)


@pytest.mark.parametrize("how", LATE)
def test_a_body_that_does_not_come_is_given_up(how: str) -> None:
    client = Client(LATE[how])

    with pytest.raises(TooSlow):
        client.receive(Pace(RATE, GRACE, lambda: client.now))


@pytest.mark.parametrize("how", [*LATE, *COMES])
def test_without_a_least_rate_every_body_is_read(how: str) -> None:
    client = Client({**LATE, **COMES}[how])

    client.receive(Pace(clock=lambda: client.now))

    assert set(client.allowed) == {None}


def test_a_watchdog_ends_what_is_due_and_nothing_else() -> None:
    watchdog, ended = Watchdog(), threading.Event()
    spared: list[str] = []

    for _ in range(2):  # Its thread goes when there is nothing to watch, and comes again.
        ended.clear()
        with watchdog.within(1000, lambda: spared.append("x")), watchdog.within(0, ended.set):
            assert ended.wait(60)

    assert spared == []
