"""Reads the files that are to be sent; of those that a download noted, only what was noted."""

import errno
import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path

from kinto_attachment.client.content import Content
from kinto_attachment.client.ids import LocalFile
from kinto_attachment.client.outcomes import Failure

NO_FILE = "it is no regular file"

AGAIN = "run `kinto-attachment download --records` into its folder again"
"""It fetches what is not as noted, and notes what is there then."""


def opened(file: LocalFile) -> BufferedReader:
    """Open it. A noted one has to lie in its folder: no link is followed out of there.

    :raises OSError: also for a pipe or a device, which might not end.
    :raises Failure: where a noted one is not there.
    """
    if file.noted:
        return _opened_noted(file)
    if not stat.S_ISREG(os.stat(file.path).st_mode):
        raise OSError(errno.EINVAL, NO_FILE, os.fspath(file.path))
    return open(file.path, "rb")


def content_of(file: LocalFile) -> Content:
    """Read it to its end.

    :raises OSError: where it can't be read.
    :raises Failure: where it is not what was noted.
    """
    with opened(file) as source:
        if file.noted and os.fstat(source.fileno()).st_size != file.noted.size:
            raise _not_as_noted()
        digest = hashlib.file_digest(source, "sha256")
        content = Content(source.tell(), digest.digest())
    if file.noted and content != file.noted:
        raise _not_as_noted()
    return content


def _opened_noted(file: LocalFile) -> BufferedReader:
    folder = file.path.parents[file.name.count("/")]
    where = file.path.parent
    if not Path(os.path.realpath(where)).is_relative_to(os.path.realpath(folder)):
        raise Failure(f"{where} leads out of {folder}: remove that link, and {AGAIN}")
    try:
        if not stat.S_ISREG(os.lstat(file.path).st_mode):
            raise Failure(f"{NO_FILE}: remove it, and {AGAIN}")
        return open(file.path, "rb", opener=_without_links)
    except FileNotFoundError:
        raise Failure(f"it is missing: {AGAIN}") from None


def _without_links(path: str, flags: int) -> int:
    """For one that comes there just now; Windows lacks the flag."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _not_as_noted() -> Failure:
    return Failure(f"it is not the file that was noted, by its size or SHA-256: {AGAIN}")
