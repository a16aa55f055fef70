"""What an upload in several requests notes beside its file: a later run goes on with it."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from kinto_attachment.client import locks
from kinto_attachment.client.partial_file import is_plain

PREFIX = ".kinto-upload-"
"""Of the names of notes. They are hidden, so no upload takes them for files."""

MOST_BYTES = 1000
"""Of a note. It may have come with the folder from anywhere."""

START = b'{"upload": "'
"""How each note begins, or what there is of it after a kill."""

VALID = re.compile(r"[0-9A-Za-z_-]{1,128}", re.ASCII)
"""An upload's id: no path leads out of it."""


class UploadNote:
    """The note of one upload.

    :param file: open, locked; None where nothing can be noted: then a later run begins anew.
    """

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file

    def read(self) -> tuple[str, str] | None:
        """The id of the upload, and what it was begun for; None where nothing usable is noted."""
        if self._file is None:
            return None
        self._file.seek(0)
        try:
            found = json.loads(self._file.read(MOST_BYTES))
            upload_id, purpose = found["upload"], found["for"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        valid = isinstance(upload_id, str) and VALID.fullmatch(upload_id)
        return (upload_id, str(purpose)) if valid else None

    def write(self, upload_id: str, purpose: str) -> None:
        """Note it. A disk that is full is no reason not to upload."""
        self._rewrite(json.dumps({"upload": upload_id, "for": purpose}).encode())

    def forget(self) -> None:
        """Note nothing."""
        self._rewrite(b"")

    def is_empty(self) -> bool:
        """Whether nothing is noted."""
        return self._file is not None and not os.fstat(self._file.fileno()).st_size

    def _rewrite(self, content: bytes) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.seek(0)
                self._file.truncate()
                self._file.write(content)
                self._file.flush()


@contextlib.contextmanager
def noted(folder: Path, url: str) -> Iterator[UploadNote]:
    """The note in the folder for what is sent to a URL; it is removed where nothing is noted.

    Without one, one goes on: the folder may not be ours to write to, and another run may be
    sending the same at this moment.
    """
    path = folder / f"{PREFIX}{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    try:
        file = _opened(path)
    except OSError:
        yield UploadNote(None)
        return
    note = UploadNote(file)
    try:
        yield note
    finally:
        done = note.is_empty()
        file.close()  # Windows removes no file that is open.
        if done:
            with contextlib.suppress(OSError):
                path.unlink()


def _opened(path: Path) -> IO[bytes]:
    """For this user's eyes alone: whoever has nobody's URL of an upload may go on with it.

    :raises OSError: there is something by that name that is no note: a link, also a hard one, or
        another file. It may have come with the folder from anywhere, and is left alone.
    """
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_BINARY", "O_NONBLOCK"):  # Not each system has each of them.
        flags |= getattr(os, name, 0)
    file = open(os.open(path, flags, 0o600), "r+b")  # noqa: SIM115 - the caller closes it
    try:
        locks.hold(file.fileno())
        found, start = os.fstat(file.fileno()), file.read(len(START))
        if not (is_plain(found) and found.st_size <= MOST_BYTES and START.startswith(start)):
            raise FileExistsError(f"{path} is no note of an upload")
    except OSError:
        file.close()
        raise
    return file
