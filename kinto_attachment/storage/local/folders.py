"""Folders of a local store: made, removed, forced to disk, and whose they are."""

import contextlib
import errno
import logging
import os
from functools import cache

logger = logging.getLogger(__name__)

_NOT_OF_DIRECTORIES = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What file systems say that can't force a directory to disk, as CIFS and some of FUSE."""


def make_folders(folder: str, below: str = "") -> list[str]:
    """Make a folder, and those above it that are missing; returns those, deepest first.

    :param below: a folder that is not made, nor any above it.
    """
    missing = []
    while folder != below and not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
            keep_owner(path)
    return missing


def remove_folders(folders: list[str]) -> None:
    """Those that are empty; deepest first."""
    for path in sorted(folders, key=len, reverse=True):
        with contextlib.suppress(OSError):
            os.rmdir(path)


def keep_owner(path: str) -> None:
    """Give what root has made to the owner of the folder that it was made in: a command may run
    as root, and the server, which does not, has to write there too."""
    if os.geteuid() != 0:
        return
    owner = os.stat(os.path.dirname(path))
    if owner.st_uid:
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def fsync_directory(path: str) -> None:
    """Force a directory's names to disk, where its file system can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_OF_DIRECTORIES:
            raise
        _note(os.fstat(descriptor).st_dev)
    finally:
        os.close(descriptor)


@cache
def _note(device: int) -> None:
    """Once for each file system."""
    logger.warning(
        "The file system of the store (device %d) can't force a directory to disk: after a power"
        " failure a file that was stored just before may be missing.",
        device,
    )
