"""Name, media type and key of a new file."""

import mimetypes
from datetime import UTC, datetime

from kinto_attachment import keys
from kinto_attachment.attachments import sniffing
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.settings import Policy
from kinto_attachment.targets import Target

GENERIC = "application/octet-stream"
BLOB = "blob"
"""What browsers call a file that a script has made (XMLHttpRequest's FormData): it is no name."""


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
    if filename in ("", BLOB):
        kind = said or sniffing.media_type(head or b"") or ""
        suffix = mimetypes.guess_extension(kind) or ""
        if suffix or not filename:
            filename = keys.client_filename(target.record_id + suffix)
    suffix = keys.extension(filename)
    guess = mimetypes.guess_type(f"x{suffix}")[0]
    if head is None:
        found = said or guess
    else:
        by_name = guess if guess != GENERIC else None
        found = by_name or sniffing.media_type(head) or said
    return filename, policy.mimetypes.get(suffix) or found or GENERIC


def key_for(file_id: str, filename: str, target: Target, policy: Policy) -> str:
    """The key of a new file, after the collection's ``folder``, ``randomize`` and
    ``filename_pattern``. A pattern names the file also where ``randomize`` is on."""
    suffix = keys.extension(filename)
    name: str | None = keys.safe_name(filename)
    if policy.filename_pattern:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        raw = policy.filename_pattern.format(filename=name, datetime=now, rid=target.record_id)
        name = keys.safe_name(raw if raw.lower().endswith(suffix) else raw + suffix)
    elif policy.randomize:
        name = None
    folder = policy.folder.format(bucket_id=target.bucket_id, collection_id=target.collection_id)
    return keys.build(file_id, folder, name, suffix)


def is_media_type(text: str) -> bool:
    """Whether ``text`` is a type and a subtype, in lower case, without parameters."""
    kind, slash, rest = text.partition("/")
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-")
    return bool(kind and slash and rest) and set(kind + rest) <= allowed
