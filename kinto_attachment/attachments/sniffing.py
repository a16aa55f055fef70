"""What a file is by its first bytes, as a browser would take it.

The rules are those of the WHATWG's "MIME Sniffing" standard, by the library xtractmime.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from xtractmime import extract_mime

HEAD = 1445
"""Bytes that the standard looks at, its "resource header"."""

_SAYS_NOTHING = ("text/plain", "application/octet-stream")
_RUNS = ("text/html", "text/xml")
_SCRIPTS = (b"<svg", b"<?php", b"#!")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def peek(chunks: Iterable[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first :data:`HEAD` bytes, or all there are, and the stream as if nothing was read."""
    iterator, read, size = iter(chunks), list[bytes](), 0
    for chunk in iterator:
        read.append(chunk)
        size += len(chunk)
        if size >= HEAD:
            break
    return b"".join(read)[:HEAD], chain(read, iterator)


def media_type(head: bytes) -> str | None:
    """The type that the bytes show; None where they may be anything, or are plain text."""
    seen = head.removeprefix(_BYTE_ORDER_MARK)
    if not seen.strip():
        return None  # Nothing but white space makes the library raise IndexError.
    found = extract_mime(seen).decode("ascii")
    return None if found in _SAYS_NOTHING else found


def disguised_content(mimetype: str, head: bytes) -> str | None:
    """What a file really is that is called a picture, a sound, a film, a font or a PDF, and
    is HTML, XML or a script; else None."""
    kind = mimetype.split("/", 1)[0]
    harmless = kind in ("image", "audio", "video", "font") or mimetype == "application/pdf"
    if not harmless or mimetype.endswith("xml"):  # An SVG picture is XML.
        return None
    text = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if text[:5].lower().startswith(_SCRIPTS):
        return "a script"
    # The library takes milliseconds, and all markup begins with this.
    found = media_type(head) if text.startswith(b"<") else None
    return found if found in _RUNS else None
