"""A file that comes in, what is stored of it, and what its record says."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kinto_attachment.rows.links import Link
from kinto_attachment.targets import Target


@dataclass(frozen=True)
class FilePart:
    """An incoming file: name and ``Content-Type`` as the client says, and its bytes, once."""

    filename: str | None
    mimetype: str | None
    chunks: Iterable[bytes]


@dataclass(frozen=True)
class Attachment:
    """What the record says of its file. ``hash``: SHA-256, 64 hex digits; ``size``: bytes."""

    filename: str
    hash: str
    location: str
    mimetype: str
    size: int


@dataclass(frozen=True)
class StoredAttachment:
    """A file that lies in the store, with the value that its record is to have.

    :param content_type: the media type, with its charset where that is known.
    """

    file_id: str
    key: str
    target: Target
    content_type: str
    attachment: Attachment
    value: dict[str, Any]

    def link(self) -> Link:
        """What ties the file to its record, once that is written."""
        said = self.attachment
        return Link(
            self.file_id,
            self.target.uri,
            self.key,
            said.hash,
            self.content_type,
            said.filename,
            said.size,
            self.value,
        )


@dataclass(frozen=True)
class ExpectedDigest:
    """The SHA-256 that the client promised, and the header that said so (RFC 9530)."""

    header: str
    sha256: bytes


def legacy_value(attachment: Attachment, key: str) -> dict[str, Any]:
    """The field as the first API of 2015 stored it: ``filesize``, ``hash`` in base64, and the
    bare key as ``location``."""
    return {
        "filename": attachment.filename,
        "filesize": attachment.size,
        "hash": base64.b64encode(bytes.fromhex(attachment.hash)).decode("ascii"),
        "location": key,
        "mimetype": attachment.mimetype,
    }
