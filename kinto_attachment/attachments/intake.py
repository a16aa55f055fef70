"""A file comes in: it is planned, received, and sealed. No request in sight.

Whoever takes a file in does the three in this order, in one request or in several, and sees to
it that what a plan names goes again if nothing comes of it (:func:`forget`).
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from kinto_attachment import keys
from kinto_attachment.attachments import charsets, types
from kinto_attachment.attachments.naming import key_for, name_and_type
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import (
    Attachment,
    ExpectedDigest,
    FilePart,
    StoredAttachment,
    legacy_value,
)
from kinto_attachment.settings import Policy
from kinto_attachment.storage import Foresighted, Store, StoreError, UnsafeKey
from kinto_attachment.storage.hashing import measured
from kinto_attachment.targets import Target

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a file will be called and where it will lie. Nothing is stored yet.

    :param charset: what the client has said of it.
    """

    file_id: str
    key: str
    target: Target
    filename: str
    mimetype: str
    charset: str | None
    policy: Policy


@dataclass(frozen=True)
class Received:
    """Bytes that lie in the store.

    :param key: the plan's, or the one that a store of another make has chosen.
    :param size: in bytes.
    :param content_type: the plan's type, with the charset where that is known.
    """

    key: str
    sha256: bytes
    size: int
    content_type: str


def plan(part: FilePart, head: bytes | None, target: Target, policy: Policy) -> Plan:
    """Decide name, media type and key of a file, before its first byte is stored.

    :param head: the first bytes; None where nobody looks into files.
    :raises Refused: extension or content.
    """
    filename, mimetype = name_and_type(part, target, policy, head)
    check(filename, mimetype, policy, head)
    file_id = keys.new_id(within_name=bool(policy.filename_pattern))
    key = key_for(file_id, filename, target, policy)
    charset = charsets.declared(part.mimetype, mimetype)
    return Plan(file_id, key, target, filename, mimetype, charset, policy)


def check(filename: str, mimetype: str, policy: Policy, head: bytes | None) -> None:
    """See that a file may be stored, by its name and its first bytes.

    :raises Refused: extension or content.
    """
    suffix = keys.extension(filename)
    if not policy.allows(suffix):
        allowed = ", ".join(sorted(policy.extensions or ()))
        raise Refused("extension", filename=filename, allowed=allowed)
    found = types.disguise(mimetype, suffix, policy.mimetypes, head) if head else None
    if found:
        called, content = found
        raise Refused("content_differs", filename=filename, content=content, mimetype=called)


def receive(
    plan: Plan,
    chunks: Iterable[bytes],
    store: Store,
    expected: ExpectedDigest | None = None,
    announced: int | None = None,
) -> Received:
    """Stream a file into the store: hash, limit and write in one pass.

    :param announced: bytes, of which no more will come.
    :raises Refused: size or digest.
    :raises kinto_attachment.storage.StoreError: as the store failed.
    """
    policy, look, charset = plan.policy, charsets.Look(), plan.charset
    chunks = _limited(chunks, policy.max_size_bytes)
    if charset is None and charsets.has_to_be_found(plan.mimetype):
        whole, chunks = charsets.beginning(look.at_each(chunks))
        charset = look.charset() if whole else None
    told = charsets.content_type(plan.mimetype, charset)
    writer = store.open_writer(
        plan.key, mimetype=told, filename=plan.filename, private=policy.private
    )
    try:
        if announced is not None and isinstance(writer, Foresighted):
            if writer.largest and announced > writer.largest:
                raise Refused("too_large", limit=writer.largest)
            writer.announce(announced)
        size, digest = measured(chunks, writer.write)
        if expected and digest != expected.sha256:
            raise Refused("digest_differs", header=expected.header)
        key = writer.close() or plan.key
    except BaseException:
        writer.abort()
        raise
    content_type = charsets.content_type(plan.mimetype, charset or look.charset())
    return Received(key, digest, size, content_type)


def seal(plan: Plan, received: Received, location: str, legacy_format: bool) -> StoredAttachment:
    """What the record is to say of a received file."""
    digest = received.sha256.hex()
    attachment = Attachment(plan.filename, digest, location, plan.mimetype, received.size)
    value = legacy_value(attachment, received.key) if legacy_format else asdict(attachment)
    content_type = received.content_type
    return StoredAttachment(
        plan.file_id, received.key, plan.target, content_type, attachment, value
    )


def forget(store: Store, key: str) -> None:
    """Remove what a store may have kept although it reported a failure.

    The key was made a moment ago and nobody else knows it.
    """
    try:
        store.delete(key)
    except (StoreError, UnsafeKey) as error:
        logger.warning("%s is left to gc: %s", key, error)


def _limited(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The chunks, up to the one that goes beyond ``limit`` bytes; 0 is no limit."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if limit and size > limit:
            raise Refused("too_large", limit=limit)
        yield chunk
