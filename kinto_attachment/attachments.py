"""The domain: a file part that comes in becomes a stored attachment. No request in sight."""

import base64
import hashlib
import logging
import mimetypes
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from kinto_attachment import keys, sniffing
from kinto_attachment.errors import Refused
from kinto_attachment.rows.links import Link
from kinto_attachment.settings import Policy, Settings
from kinto_attachment.storage import (
    Storage,
    StorageError,
    StorageSilent,
    Writer,
)
from kinto_attachment.targets import Target

logger = logging.getLogger(__name__)

GENERIC = "application/octet-stream"


@dataclass(frozen=True)
class FilePart:
    """An incoming file: name and media type as the client says, and its bytes, once."""

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
    """A file that lies in the store, with the value that its record is to have."""

    file_id: str
    key: str
    target: Target
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
            said.mimetype,
            said.filename,
            said.size,
            self.value,
        )


@dataclass(frozen=True)
class ExpectedDigest:
    """The SHA-256 that the client promised, and the header that said so (RFC 9530)."""

    header: str
    sha256: bytes


def store(
    part: FilePart,
    target: Target,
    settings: Settings,
    storage: Storage,
    expected: ExpectedDigest | None = None,
    server_url: str = "",
) -> StoredAttachment:
    """Stream a file into the store under a fresh key: hash, limit and write in one pass.

    :param server_url: the server's own ``…/v1/``, before locations that must be absolute.
    :raises Refused: extension, content, size or digest; nothing is left in the store then.
    :raises kinto_attachment.storage.StorageError: as the store failed; nothing is left.
    """
    policy = settings.policy_for(target.bucket_id, target.collection_id)
    head, chunks = sniffing.peek(part.chunks) if settings.sniff else (None, part.chunks)
    filename, mimetype = name_and_type(part, target, policy, head)
    if not policy.allows(keys.extension(filename)):
        allowed = ", ".join(sorted(policy.extensions or ()))
        raise Refused("extension", filename=filename, allowed=allowed)
    content = sniffing.dressed(mimetype, head) if head else None
    if content:
        raise Refused("content_differs", filename=filename, content=content, mimetype=mimetype)
    file_id = keys.new_id()
    key = key_for(file_id, filename, target, policy)
    writer = storage.open_writer(key, mimetype=mimetype, filename=filename, private=policy.private)
    try:
        digest, size = _receive(chunks, writer, policy.max_size_bytes)
        if expected and digest != expected.sha256:
            raise Refused("digest_differs", header=expected.header)
        key = writer.close() or key
    except BaseException as error:
        writer.abort()
        if isinstance(error, StorageSilent):
            logger.warning("%s, if it was stored, is left to gc.", key)
        else:
            forget(storage, key)
        raise
    location = settings.location(key, target.uri, file_id, policy.private, server_url)
    attachment = Attachment(filename, digest.hex(), location, mimetype, size)
    value = legacy_value(attachment, key) if settings.legacy_format else asdict(attachment)
    return StoredAttachment(file_id, key, target, attachment, value)


def _receive(chunks: Iterable[bytes], writer: Writer, limit: int) -> tuple[bytes, int]:
    """Hash, count and write in one pass; returns the SHA-256 and the size in bytes."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if limit and size > limit:
            raise Refused("too_large", limit=limit)
        digest.update(chunk)
        writer.write(chunk)
    return digest.digest(), size


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


def name_and_type(
    part: FilePart, target: Target, policy: Policy, head: bytes | None
) -> tuple[str, str]:
    """The client's name, and the file's type; each completed from the other.

    The operator's ``mimetypes`` count first, then the extension, then the content, and the
    client's word only where those say nothing.

    :param head: the first bytes of the file; None where nobody looks into it: then the
        client's word comes before the extension.
    """
    filename = keys.client_filename(part.filename)
    sent = (part.mimetype or "").split(";")[0].strip().lower()
    said = sent if is_media_type(sent) and sent != GENERIC else None
    if not filename:
        kind = said or sniffing.media_type(head or b"") or ""
        filename = keys.client_filename(target.record_id) + (mimetypes.guess_extension(kind) or "")
    end = keys.extension(filename)
    guess = mimetypes.guess_type(f"x{end}")[0]
    if head is None:
        found = said or guess
    else:
        by_name = guess if guess != GENERIC else None
        found = by_name or sniffing.media_type(head) or said
    return filename, policy.mimetypes.get(end) or found or GENERIC


def key_for(file_id: str, filename: str, target: Target, policy: Policy) -> str:
    """The key of a new file, after the collection's ``folder``, ``randomize`` and
    ``filename_pattern``. A pattern names the file also where ``randomize`` is on."""
    end = keys.extension(filename)
    name: str | None = keys.safe_name(filename)
    if policy.filename_pattern:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        raw = policy.filename_pattern.format(filename=name, datetime=now, rid=target.record_id)
        name = keys.safe_name(raw if raw.lower().endswith(end) else raw + end)
    elif policy.randomize:
        name = None
    folder = policy.folder.format(bucket_id=target.bucket_id, collection_id=target.collection_id)
    return keys.build(file_id, folder, name, end)


def forget(storage: Storage, key: str) -> None:
    """Remove what a store may have kept although it reported a failure.

    The key was made a moment ago and nobody else knows it.
    """
    try:
        storage.delete(key)
    except StorageError as error:
        logger.warning("%s is left to gc: %s", key, error)


def is_media_type(text: str) -> bool:
    """Whether ``text`` is a type and a subtype, in lower case, without parameters."""
    kind, slash, rest = text.partition("/")
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-")
    return bool(kind and slash and rest) and set(kind + rest) <= allowed
