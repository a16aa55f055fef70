"""What the commands that look at files tell: exit codes, a bar on terminals, lines elsewhere."""

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from kinto_attachment.printable import printable

if TYPE_CHECKING:
    from kinto_attachment.client.outcomes import Outcome

CLEAN, FINDINGS, ERROR = 0, 1, 2
"""Exit codes: nothing is wrong, or all is done; something was found; it could not be done."""


class CannotLook(SystemExit):
    """A command can't go on, and has said why on stderr: see :data:`ERROR`."""

    def __init__(self) -> None:
        super().__init__(ERROR)


SHOWN = 20
"""Findings of a kind that are shown one by one; --verbose and --json show all."""


@contextlib.contextmanager
def progress(unit: str, quiet: bool = False) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal, nothing elsewhere; gives the function that moves it."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=True if quiet else None, leave=False) as bar:
        yield bar.update


class Teller:
    """What a command for operators tells, on stdout: each finding, and what they sum up to.

    With ``--json`` that is one object a line. With ``--quiet`` there is nothing at all where the
    exit code is 0, so that cron has no mail to send.

    :param arguments: those of :func:`kinto_attachment.commands.options.add_reporting`.
    :param most: findings of a kind that are shown one by one, unless the arguments say otherwise.
    """

    def __init__(self, arguments: argparse.Namespace, most: float = math.inf) -> None:
        self.as_json: bool = arguments.json
        self._quiet: bool = arguments.quiet
        self._most = math.inf if getattr(arguments, "verbose", False) else most
        self._counts: Counter[str] = Counter()

    def finding(self, kind: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Tell one, at once: a run that is killed has told of all that it has seen.

        :param kind: of which only so many are shown in plain text.
        """
        self._counts[kind] += 1
        if self.as_json:
            say_json(facts)
        elif self._counts[kind] <= self._most:
            say(sentence)
        elif self._counts[kind] == self._most + 1:
            say(f"{kind:10} ... and more, which --verbose shows")

    def done(self, kind: str, sentence: str, facts: Mapping[str, Any]) -> None:
        """Tell of something that was done as it was asked for: nobody has to look at it."""
        if not self._quiet:
            self.finding(kind, sentence, facts)

    def sum_up(self, code: int, lines: Iterable[str], facts: Mapping[str, Any]) -> int:
        """Tell the end; returns the exit code, which is given."""
        if code == CLEAN and self._quiet:
            return code
        if self.as_json:
            say_json(facts)
        else:
            for line in lines:
                say(line)
        return code


def complain(sentence: str) -> None:
    """Tell on stderr what could not be done."""
    print(shown(sentence, sys.stderr), file=sys.stderr)


@contextlib.contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Service managers stop a command like that; Python would end without a word."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def leave_stdout() -> None:
    """Nobody reads it any more, as after ``| head``: Python's end should not complain of that."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def shown(text: str, stream: TextIO) -> str:
    """:func:`printable`, and no more than the stream's encoding has."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


def say(*texts: str) -> None:
    """Print a line of what came from elsewhere, as names, ids or a server's words: with tabs
    between them, and no other control character."""
    print(*(shown(text, sys.stdout) for text in texts), sep="\t", flush=True)


def say_json(value: Any) -> None:
    """Print it as a line of JSON, in ASCII that no terminal obeys to."""
    print(json.dumps(value), flush=True)


class Reporter:
    """What became of many files, as it becomes known.

    On a terminal that is a bar, with the problems above it; elsewhere one JSON object a line.

    :param total: of what ``unit`` names; None where that is not known.
    """

    def __init__(self, as_json: bool, total: int, unit: str = "B") -> None:
        from tqdm import tqdm

        self.counts: Counter[str] = Counter()
        self._lines = as_json or not sys.stdout.isatty()
        self._passed = 0
        self._lock = threading.Lock()
        self._bar = tqdm(
            total=total,
            unit=unit,
            unit_scale=True,
            disable=True if self._lines else None,
            leave=False,
        )

    def passed(self, amount: int) -> None:
        """Move the bar, from any thread: it is seen to move at the next :meth:`look`."""
        with self._lock:
            self._passed += amount

    def look(self) -> None:
        """Show how far it is. From the main thread alone, which may be ended at any moment."""
        self._bar.update(self._passed - self._bar.n)

    def tell(self, outcomes: Iterable["Outcome"]) -> int:
        """Tell all of them, and what they sum up to; returns the exit code."""
        try:
            for outcome in outcomes:
                self.counts[outcome.status] += 1
                self._tell(outcome)
        finally:
            self._bar.close()
            complain(", ".join(f"{name}: {n}" for name, n in sorted(self.counts.items())))
        return FINDINGS if self.counts["failed"] else CLEAN

    def _tell(self, outcome: "Outcome") -> None:
        if self._lines:
            say_json(outcome.as_json())
        elif outcome.error:
            what = outcome.what.get("file") or outcome.what["id"]
            self._bar.write(shown(f"{what}: {outcome.error}", sys.stdout))
