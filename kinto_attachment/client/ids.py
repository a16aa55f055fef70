"""The files that a command names, and the ids of their records."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kinto_attachment.client.content import Content
from kinto_attachment.client.outcomes import Unusable
from kinto_attachment.client.wanted import NOTHING, Wanted

VALID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", re.ASCII)
"""What Kinto takes for an id."""

MOST_READABLE = 100
"""Characters of a name that stand in an id, so that URLs do not get too long."""

QUERY_LENGTH = 2000
"""Characters of the ids in one look-up: servers and proxies take lines of 4,000 at least."""


@dataclass(frozen=True)
class LocalFile:
    """A file to be sent.

    :param name: what tells it from others: its own name, or the path below the folder given.
    :param wanted: what its record is to say beside the attachment.
    :param record_id: None where it is made of the name, or of the content.
    :param told_as: its name as the server is told; None: as it has here.
    :param media_type: None where it is made of the name.
    :param noted: what it has to hold; None: whatever it holds is sent.
    """

    path: Path
    name: str
    wanted: Wanted = NOTHING
    record_id: str | None = None
    told_as: str | None = None
    media_type: str | None = None
    noted: Content | None = None

    @property
    def filename(self) -> str:
        """What the server is told."""
        return self.told_as or self.path.name


@dataclass(frozen=True)
class BareRecord:
    """A record that is to have no attachment."""

    record_id: str
    wanted: Wanted


def local_files(given: Iterable[str], path_field: str | None = None) -> Iterator[LocalFile]:
    """The files given, and all files below the folders given, but for hidden ones.

    :param path_field: of their records, which is to say the name; None: none is.
    :raises FileNotFoundError: where there is nothing of a name.
    :raises Unusable: where that is a pipe or a device, which might not end.
    """
    for file in _local_files(given):
        yield replace(file, wanted=Wanted({path_field: file.name})) if path_field else file


def _local_files(given: Iterable[str]) -> Iterator[LocalFile]:
    for text in given:
        path = Path(text)
        if path.is_dir():
            yield from _below(path)
        elif path.is_file():
            yield LocalFile(path, Path(os.path.abspath(path)).name)
        elif path.exists():
            raise Unusable(f"{text} is no regular file: name a file, or a folder.")
        else:
            raise FileNotFoundError(text)


def id_for(name: str) -> str:
    """The id of the record for a name: always the same, and another one for every name."""
    name = unicodedata.normalize("NFC", name)  # macOS may spell the same name otherwise.
    if VALID.fullmatch(name):
        return name
    digest = hashlib.sha256(_bytes_of(name)).hexdigest()[:12]
    readable = re.sub(r"[^a-zA-Z0-9_-]+", "-", name)[:MOST_READABLE].strip("-_")
    return f"{readable}-{digest}" if readable else digest


def groups(ids: Iterable[str]) -> Iterator[list[str]]:
    """Ids that fit into the query of one URL."""
    group: list[str] = []
    length = 0
    for record_id in ids:
        cost = len(record_id) + len("%22%22%2C")
        if group and length + cost > QUERY_LENGTH:
            yield group
            group, length = [], 0
        group.append(record_id)
        length += cost
    if group:
        yield group


def _bytes_of(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # Windows has names with halves of a character.
        return name.encode("utf-8", "surrogatepass")


def _below(folder: Path) -> Iterator[LocalFile]:
    """In sorted order; links to files are followed, links to folders are not."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if not name.startswith(".") and path.is_file():
                yield LocalFile(path, path.relative_to(folder).as_posix())
