"""Name, media type and key of a new file."""

from datetime import UTC, datetime

from kinto_attachment import keys, media_types
from kinto_attachment.attachments import sniffing, types
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.settings import Policy
from kinto_attachment.targets import Target

BLOB = "blob"
"""What browsers call a file that a script has made (XMLHttpRequest's FormData): it is no name."""


def name_and_type(
    part: FilePart, target: Target, policy: Policy, head: bytes | None
) -> tuple[str, str]:
    """The client's name, and the file's type; each completed from the other.

    :param head: the first bytes of the file; None where nobody looks into it.
    """
    filename = keys.client_filename(part.filename)
    said = types.said_by_client(part.mimetype)
    if filename in ("", BLOB):
        kind = said or sniffing.media_type(head or b"") or ""
        suffix = media_types.extension_of(kind)
        if suffix or not filename:
            filename = keys.client_filename(target.record_id + suffix)
    suffix = keys.extension(filename)
    return filename, types.decide(said, suffix, policy.mimetypes, head)


def key_for(file_id: str, filename: str, target: Target, policy: Policy) -> str:
    """The key of a new file, after the collection's ``folder``, ``randomize`` and
    ``filename_pattern``.

    Where ``randomize`` is on, ``{filename}`` in the pattern is the file's id with the extension,
    as in 9.x: such a name is unique by itself, and has no folder of its own.
    """
    suffix = keys.extension(filename)
    name = None if policy.randomize else keys.safe_name(filename)
    if policy.filename_pattern:
        now = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
        inner = file_id + suffix if name is None else name
        raw = policy.filename_pattern.format(filename=inner, datetime=now, rid=target.record_id)
        raw = raw if raw.lower().endswith(suffix) else raw + suffix
        name = keys.safe_name_with_id(raw, file_id)
    folder = policy.folder.format(bucket_id=target.bucket_id, collection_id=target.collection_id)
    return keys.build(file_id, folder, name, suffix)
