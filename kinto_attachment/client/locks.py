"""Locks between programs of one machine, by whatever its system has."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAME = ".kinto-attachment.lock"
"""File in a folder that is taken, where the folder itself can't be locked: on Windows."""


def _module(name: str) -> Any:
    """A module that not every system has; None where it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_fcntl, _msvcrt = _module("fcntl"), _module("msvcrt")


def hold(descriptor: int) -> None:
    """Lock an open file until it is closed.

    :raises BlockingIOError: where another program has locked it.
    :raises OSError: where there are no locks, as on some network disks.
    """
    if _fcntl:
        _fcntl.flock(descriptor, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
    elif _msvcrt:
        try:
            _msvcrt.locking(descriptor, _msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from None
    else:
        raise OSError("this system has no locks")


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep others out of a folder that exists, as long as they ask for it in the same way.

    :raises BlockingIOError: where another program is in it.
    :raises OSError: where the folder can't be used.
    """
    if _fcntl:
        handle = os.open(folder, os.O_RDONLY)
        try:
            _hold_if_possible(handle)
            yield
        finally:
            os.close(handle)
        return
    path = folder / NAME
    # Without any locks the file itself is one, which a run that is killed leaves behind.
    with _created(path, "ab" if _msvcrt else "xb") as file:
        try:
            _hold_if_possible(file.fileno())
            yield
        finally:
            file.close()  # Windows removes no file that is open.
            with contextlib.suppress(OSError):
                path.unlink()


def _created(path: Path, mode: str) -> Any:
    try:
        return path.open(mode)
    except FileExistsError as error:
        raise BlockingIOError(error.errno, error.strerror, str(path)) from None


def _hold_if_possible(descriptor: int) -> None:
    try:
        hold(descriptor)
    except BlockingIOError:
        raise
    except OSError:
        return  # Without locks it is up to the user.
