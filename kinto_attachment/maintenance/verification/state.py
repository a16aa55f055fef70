"""How far a verification has come, in a file: so that an interrupted one goes on."""

import contextlib
import json
import os
import time
from dataclasses import asdict

from kinto_attachment.maintenance.verification.verifier import Progress

SAVED_EVERY = 1.0
"""Seconds between two writes of a state file: what a killed run may have to do again."""


class UnusableState(Exception):
    """A state file can't be used; the message says why, and what to do."""


class StateFile:
    """The progress of a run, in a file, so that the next run goes on.

    :param path: None keeps nothing.
    :param run: what must be the same for a run to go on, as its user writes it.
    """

    def __init__(self, path: str | None, run: str) -> None:
        self._path = path
        self._run = run
        self._saved_at = time.monotonic()
        self.progress = Progress()

    def load(self) -> Progress:
        """Where to begin; the file is there from now on.

        :raises UnusableState: it is another run's, or can't be understood or written.
        """
        if self._path and os.path.exists(self._path):
            self.progress = self._read(self._path)
        self.save()
        return self.progress

    def keep(self, progress: Progress) -> None:
        """Note a new progress. It is written every now and then, and after each damaged file at
        once, so that none is told twice. Raises :class:`UnusableState`."""
        news = progress.damaged != self.progress.damaged
        self.progress = progress
        if news or time.monotonic() - self._saved_at >= SAVED_EVERY:
            self.save()

    def save(self) -> None:
        """Write the file, in one step. Raises :class:`UnusableState`."""
        self._saved_at = time.monotonic()
        if not self._path:
            return
        unfinished = f"{self._path}.new"
        try:
            with open(unfinished, "w", encoding="utf-8") as file:
                json.dump({"run": self._run, "progress": asdict(self.progress)}, file)
            os.replace(unfinished, self._path)
        except OSError as error:
            raise UnusableState(
                f"{self._path} can't be written ({error.strerror}): name another file with"
                " --state."
            ) from error

    def remove(self) -> None:
        """The run is complete: the next one begins anew."""
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _read(self, path: str) -> Progress:
        try:
            with open(path, encoding="utf-8") as file:
                state = json.load(file)
            run, progress = state["run"], Progress(**state["progress"])
            if list(map(type, asdict(progress).values())) != [str, *[int] * 5]:
                raise TypeError(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnusableState(
                f"{path} is no state of this command: name another file with --state, or remove"
                " this one to begin anew."
            ) from error
        if run != self._run:
            raise UnusableState(
                f"{path} belongs to a run with {run}: write the same, or name another file with"
                " --state."
            )
        return progress
