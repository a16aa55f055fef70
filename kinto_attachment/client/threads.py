"""Threads that an interrupted command need not wait for."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Result = TypeVar("Result")

AHEAD = 100
"""Tasks that wait at most, so that their number costs no memory."""

BETWEEN_LOOKS = 0.1
"""Seconds without a result after which the caller gets a word."""


def results(
    tasks: Iterable[Callable[[], Result]], jobs: int, idle: Callable[[], object]
) -> Iterator[Result]:
    """Run ``tasks`` in threads; gives their results in the order in which they come.

    The threads die with the process: Ctrl-C ends it at once, whatever they are waiting for.

    :param jobs: tasks that run at once.
    :param idle: called now and then while there is nothing to give.
    :raises BaseException: whatever a task raised.
    """
    todo: queue.SimpleQueue[Callable[[], Result] | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[Result | BaseException] = queue.SimpleQueue()
    threads = [threading.Thread(target=_work, args=(todo, done), daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    pending = 0
    try:
        for task in tasks:
            todo.put(task)
            pending += 1
            while pending >= AHEAD or (pending and not done.empty()):
                pending -= 1
                yield _next(done, idle)
        for _ in range(pending):
            yield _next(done, idle)
    finally:
        _dismiss(todo, jobs)
    for thread in threads:
        thread.join()


def _dismiss(todo: "queue.SimpleQueue[Callable[[], Result] | None]", jobs: int) -> None:
    """Let the threads end after what they are at; nobody waits for that."""
    with contextlib.suppress(queue.Empty):
        while True:
            todo.get_nowait()
    for _ in range(jobs):
        todo.put(None)


def _work(
    todo: "queue.SimpleQueue[Callable[[], Result] | None]",
    done: "queue.SimpleQueue[Result | BaseException]",
) -> None:
    while (task := todo.get()) is not None:
        try:
            done.put(task())
        except BaseException as error:
            done.put(error)
            return  # The caller stops, too.


def _next(done: "queue.SimpleQueue[Result | BaseException]", idle: Callable[[], object]) -> Result:
    while True:
        with contextlib.suppress(queue.Empty):
            result = done.get(timeout=BETWEEN_LOOKS)
            idle()
            if isinstance(result, BaseException):
                raise result
            return result
        idle()
