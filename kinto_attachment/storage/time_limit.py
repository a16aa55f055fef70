"""One time limit for the whole of a store's operation that carries no file.

A client library limits each connection and each answer, and tries again: together that takes many
times as long as one of them, and a name server or a source of credentials that hangs is limited by
nothing. So such an operation runs in a thread, for which is waited only so long. The thread ends
when the library gives up.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from kinto_attachment.storage.errors import StoreSilent

SECONDS = 2.5
"""Default: who deletes a record, or asks for the heartbeat, waits less than three seconds."""

PATIENCE = 12
"""How many times as long a command waits: nobody waits for the command."""

MOST = 50
"""Operations of one kind in a process at a time, those included for which nobody waits any more:
deletions that hang leave no downloads without an answer."""

_inside = threading.local()

Given = ParamSpec("Given")
Result = TypeVar("Result")


class TimeLimited(Protocol):
    """A store with a limit; ``time_limit`` in seconds."""

    time_limit: float


Store = TypeVar("Store", bound=TimeLimited)


def limited(
    method: Callable[Concatenate[Store, Given], Result],
) -> Callable[Concatenate[Store, Given], Result]:
    """Decorate a method of a store: it raises :class:`StoreSilent` once its time is over.

    Methods that are called by one that is limited share its time.
    """
    free = threading.BoundedSemaphore(MOST)

    @wraps(method)
    def within(store: Store, /, *args: Given.args, **named: Given.kwargs) -> Result:
        operation = partial(method, store, *args, **named)
        if is_within():
            return operation()
        return _call(operation, store.time_limit, free)

    return within


@contextlib.contextmanager
def patient(store: object) -> Iterator[None]:
    """Wait :data:`PATIENCE` times as long, where the store has a limit at all."""
    before = getattr(store, "time_limit", None)
    if before is None:
        yield
        return
    store.time_limit = before * PATIENCE  # type: ignore[attr-defined]
    try:
        yield
    finally:
        store.time_limit = before  # type: ignore[attr-defined]


def is_within() -> bool:
    """Whether the caller is a part of an operation that is limited."""
    return bool(getattr(_inside, "limit", False))


def _call(
    operation: Callable[[], Result], seconds: float, free: threading.BoundedSemaphore
) -> Result:
    began = time.monotonic()
    outcome: list[Any] = []
    over = threading.Event()

    def work() -> None:
        _inside.limit = True
        try:
            outcome.extend((operation(), None))
        except BaseException as error:
            outcome.extend((None, error))
        finally:
            free.release()
            over.set()

    limit = f"within {seconds:g} seconds (store_timeout)"
    if not free.acquire(timeout=seconds):
        raise StoreSilent(f"none of {MOST} earlier operations of the kind was answered {limit}")
    threading.Thread(target=work, daemon=True).start()
    if not over.wait(max(0.0, seconds - (time.monotonic() - began))):
        raise StoreSilent(f"the store did not answer {limit}")
    result, error = outcome
    if error is not None:
        raise error
    found: Result = result
    return found
