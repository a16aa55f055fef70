"""The media type of a new file: whose word counts."""

from collections.abc import Mapping

from kinto_attachment import media_types
from kinto_attachment.attachments import sniffing

_UNSPECIFIC = {
    media_types.GENERIC,
    "binary/octet-stream",
    "application/unknown",
    "application/x-unknown",
    "application/x-download",
    "application/force-download",
}
"""What programs say that do not know what they send."""

_LETTERS = set("abcdefghijklmnopqrstuvwxyz0123456789!#$&^_.+-")


def is_media_type(text: str) -> bool:
    """Whether ``text`` is a type and a subtype, in lower case, without parameters."""
    kind, slash, rest = text.partition("/")
    return bool(kind and slash and rest) and set(kind + rest) <= _LETTERS


def said_by_client(content_type: str | None) -> str | None:
    """The type in a ``Content-Type``, where it says something of a file."""
    sent = (content_type or "").split(";")[0].strip().lower()
    specific = is_media_type(sent) and sent not in _UNSPECIFIC
    return sent if specific and not sent.startswith("multipart/") else None


def by_extension(suffix: str, operators: Mapping[str, str]) -> str | None:
    """The type of files with this extension (``.jpg``): the operator's, or that of our table."""
    return operators.get(suffix) or media_types.of_extension(suffix)


def decide(said: str | None, suffix: str, operators: Mapping[str, str], head: bytes | None) -> str:
    """The type that a file is to have.

    The operator's ``mimetypes`` count first, then the client's word, then the extension, then
    the content. A type that a browser would run counts only where the extension says the same:
    files may be served by a CDN, or by the store itself, under no policy of ours.

    :param said: the client's word, as :func:`said_by_client` gives it.
    :param head: the first bytes; None where nobody looks into files.
    """
    if suffix in operators:
        return operators[suffix]
    by_name = media_types.of_extension(suffix)
    for found in (said, by_name, sniffing.media_type(head or b"")):
        if found and _is_confirmed(found, by_name):
            return found
    return media_types.GENERIC


def disguise(
    mimetype: str, suffix: str, operators: Mapping[str, str], head: bytes
) -> tuple[str, str] | None:
    """What a file is called, by its type or by its extension, and what it really is; None where
    it is no HTML, XML or script that is called a picture or the like."""
    for called in (mimetype, by_extension(suffix, operators)):
        content = sniffing.disguised_content(called, head) if called else None
        if called and content:
            return called, content
    return None


def _is_confirmed(mimetype: str, by_name: str | None) -> bool:
    active = media_types.active_kind(mimetype)
    return active is None or media_types.active_kind(by_name or "") == active
