"""The domain: a file part that comes in becomes a stored attachment. No request in sight."""

import hashlib
import logging
from collections.abc import Iterable
from dataclasses import asdict

from kinto_attachment import keys
from kinto_attachment.attachments import sniffing
from kinto_attachment.attachments.naming import key_for, name_and_type
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import (
    Attachment,
    ExpectedDigest,
    FilePart,
    StoredAttachment,
    legacy_value,
)
from kinto_attachment.settings import Settings
from kinto_attachment.storage import (
    Storage,
    StorageError,
    StorageSilent,
    Writer,
)
from kinto_attachment.targets import Target

logger = logging.getLogger(__name__)


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


def forget(storage: Storage, key: str) -> None:
    """Remove what a store may have kept although it reported a failure.

    The key was made a moment ago and nobody else knows it.
    """
    try:
        storage.delete(key)
    except StorageError as error:
        logger.warning("%s is left to gc: %s", key, error)
