"""The files that a command names, and the ids of their records."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", re.ASCII)
"""What Kinto takes for an id."""

MOST_READABLE = 100
"""Characters of a name that stand in an id, so that URLs do not get too long."""


@dataclass(frozen=True)
class LocalFile:
    """A file to be sent.

    :param name: what tells it from others: its own name, or the path below the folder given.
    """

    path: Path
    name: str

    @property
    def filename(self) -> str:
        """What the server is told."""
        return self.path.name


def local_files(given: Iterable[str]) -> Iterator[LocalFile]:
    """The files given, and all files below the folders given, but for hidden ones.

    :raises FileNotFoundError: where there is nothing of a name.
    """
    for text in given:
        path = Path(text)
        if path.is_dir():
            yield from _below(path)
        elif path.exists():
            yield LocalFile(path, Path(os.path.abspath(path)).name)
        else:
            raise FileNotFoundError(text)


def id_for(name: str) -> str:
    """The id of the record for a name: always the same, and another one for every name."""
    name = unicodedata.normalize("NFC", name)  # macOS may spell the same name otherwise.
    if VALID.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    readable = re.sub(r"[^a-zA-Z0-9_-]+", "-", name)[:MOST_READABLE].strip("-_")
    return f"{readable}-{digest}" if readable else digest


def _below(folder: Path) -> Iterator[LocalFile]:
    """In sorted order; links to files are followed, links to folders are not."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield LocalFile(path, path.relative_to(folder).as_posix())
