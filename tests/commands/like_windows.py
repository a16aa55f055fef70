"""A Python that lacks what Windows lacks, and refuses what Windows refuses.

Its text goes on the path of a process as ``sitecustomize.py``, so that nothing of ours is touched.
``LIKE_WINDOWS`` names the folder in which files are as on Windows; ``LIKE_WINDOWS_LOCKS`` is set
where there is to be a ``msvcrt``.
"""

import os
import re
import subprocess  # noqa: F401 - it takes a msvcrt for the whole of Windows
import sys
import types
from collections.abc import Sequence
from typing import Any

MODULES = {"fcntl", "pwd", "grp", "termios", "tty", "pty", "resource", "syslog", "curses"}
NAMES = {"O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "O_SYNC", "getuid", "geteuid"}
NAMES |= {"getgid", "getegid", "getgroups", "fchmod", "fchown", "chown", "lchown", "chroot"}
NAMES |= {"mkfifo", "mknod", "fdatasync", "sync", "pread", "pwrite", "sendfile", "setsid"}
NAMES |= {"getpgid", "killpg", "lockf", "wait3", "wait4", "nice", "posix_fallocate"}
FORBIDDEN = re.compile(
    r'[<>:"|?*\x00-\x1f]|[. ]$|^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)',
    re.IGNORECASE,
)
ROOT = os.environ.get("LIKE_WINDOWS", "")
LOCKF, F_TLOCK = os.lockf, os.F_TLOCK


class Absent:
    """A finder of modules that finds none of these."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def locking(descriptor: int, mode: int, count: int) -> None:
    try:
        LOCKF(descriptor, F_TLOCK, count)
    except OSError as error:
        raise PermissionError(13, "Permission denied") from error


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: it may refuse what is about to be done."""
    if event not in ("open", "os.rename", "os.remove", "os.mkdir"):
        return
    paths = [
        os.fsdecode(one) for one in arguments[:2] if isinstance(one, str | bytes | os.PathLike)
    ]
    for path in paths if event == "os.rename" else paths[:1]:
        if not os.path.abspath(path).startswith(f"{ROOT}/"):
            continue
        for name in os.path.relpath(path, ROOT).split("/"):
            if name not in (".", "..") and FORBIDDEN.search(name):
                raise OSError(22, "The filename, directory name, or volume label is wrong", path)
        if event == "open" and os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        if event in ("os.rename", "os.remove") and os.path.realpath(path) in opened():
            raise PermissionError(13, "The file is used by another process", path)


def opened() -> set[str]:
    """Paths of the files that this process has open."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:  # That of the listing itself.
            continue
    return found


if ROOT:
    sys.meta_path.insert(0, Absent())
    for module in MODULES:
        sys.modules.pop(module, None)
    for one in NAMES:
        if hasattr(os, one):
            delattr(os, one)
    if os.environ.get("LIKE_WINDOWS_LOCKS"):
        msvcrt = types.ModuleType("msvcrt")
        msvcrt.LK_NBLCK = 2  # type: ignore[attr-defined]
        msvcrt.locking = locking  # type: ignore[attr-defined]
        sys.modules["msvcrt"] = msvcrt
    sys.addaudithook(watch)
