"""File systems that are mounted for a test, by an ordinary user as well: in a user namespace."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(folder: Path, command: str) -> Iterator[Path]:
    """The folder as it is after the command, a line of sh for which ``$1`` is the folder.

    It is mounted for a process that keeps it until its stdin is closed; others see what that
    process sees below its ``/proc/…/root``. Where it is forbidden, the test is skipped.
    """
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = f"{command} && echo mounted && exec cat"
    with subprocess.Popen(
        [*unshare, "sh", "-c", script, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        if process.stdout.readline() != "mounted\n":
            pytest.skip(f"nothing can be mounted here: {process.stderr.read().strip()}")
        yield Path(f"/proc/{process.pid}/root{folder}")
        process.stdin.close()
