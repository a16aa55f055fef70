"""Links: the rows that tie a stored file to a record that names it.

One row for each pair of file and record, in Kinto's own storage: resource name ``attachments``,
id the file's id, parent a prefix and the record's URI. So a record's links, a file's holders
and the links below a bucket are index look-ups, and no two records share a parent that could
become a hot spot. The prefix keeps the rows out of reach of Kinto, which deletes with a bucket
whatever has a parent below it. Kinto's counters plugin counts that resource name.

The rows are read and written by :mod:`kinto_attachment.rows`.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kinto_attachment.targets import Target

RESOURCE = "attachments"

COLUMNS = ("record_uri", "key", "hash", "mimetype", "filename", "size", "value")
"""The fields of a link that its row has under the same name."""


class State(StrEnum):
    """What a link says of its file; the value is the prefix of the row's parent."""

    HELD = "/attached"
    """The record names the file now."""
    KEPT = "/kept"
    """The record named it once, and ``keep_old_files`` keeps it for some time."""
    RELEASED = "/released"
    """The record named it once, and the file is to go. Only of files whose key has no id of
    ours: no listing of the store would tell them from anybody else's."""


@dataclass(frozen=True)
class Link:
    """A stored file and a record that names it.

    :param value: the record's ``attachment`` field, exactly as stored.
    :param hash: SHA-256, 64 hex digits, whatever format the field has.
    :param mimetype: as downloads have it: with the charset, where that is known.
    """

    file_id: str
    record_uri: str
    key: str
    hash: str
    mimetype: str
    filename: str
    size: int
    value: dict[str, Any]
    state: State = State.HELD
    modified: int = field(default=0, compare=False)
    """When the row was last written, in milliseconds since 1970."""

    def data(self) -> dict[str, Any]:
        """What the row keeps beside its id and its parent."""
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def from_row(cls, file_id: str, parent: str, modified: int, data: dict[str, Any]) -> "Link":
        """The reverse of :attr:`file_id`, :attr:`parent` and :meth:`data`."""
        state = State(parent.removesuffix(data["record_uri"]))
        return cls(
            file_id=file_id,
            state=state,
            modified=modified,
            **{name: data[name] for name in COLUMNS},
        )

    @property
    def kept(self) -> bool:
        """Whether the file is an old one, which no record names."""
        return self.state is State.KEPT

    @property
    def target(self) -> Target:
        """The record that names the file."""
        return Target.of_uri(self.record_uri)

    @property
    def parent(self) -> str:
        """The row's parent in Kinto's storage."""
        return f"{self.state}{self.record_uri}"


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to the letter: in Python ``True``, ``1`` and ``1.0`` are
    equal, in a record they are three things."""
    return one is other or _written(one) == _written(other)


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
