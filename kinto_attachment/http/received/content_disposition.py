"""``Content-Disposition`` as clients write it, and a file's name in the encoding that it has.

RFC 6266 for headers, RFC 7578 for the parts of a form. What browsers, and libraries of the last
twenty years, really send is taken, as long as it means one thing only.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from multipart import content_disposition_unquote

from kinto_attachment.attachments.refusals import Refused

_PARAMETER = re.compile(r';[ \t]*([\w-]+\*?)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)', re.ASCII)
_EXTENDED = re.compile(
    r"(utf-8|iso-8859-1)'[^']*'((?:[\w.!#$&+^`|~-]|%[0-9a-f]{2})+)",
    re.IGNORECASE | re.ASCII,
)

CODECS = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "windows-31j": "cp932",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    "windows-874": "cp874",
    "latin1": "cp1252",
    "iso-8859-1": "cp1252",  # As browsers read it.
    **{f"windows-125{n}": f"cp125{n}" for n in range(9)},
    **{f"iso-8859-{n}": f"iso8859_{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)},
}
"""Encodings in which a browser sends a form, as it names them, and Python's codecs for them. No
others: some of Python's take time that grows faster than the text."""


@dataclass(frozen=True)
class Disposition:
    """What a ``Content-Disposition`` says.

    :param name: of the part of a form; empty where there is none.
    :param filename: None where there is none; empty where a file input was left empty.
    :param readable: whether the header's encoding is known. Where it is not, the name of the file
        is nonsense.
    """

    name: str
    filename: str | None
    readable: bool

    def known_filename(self) -> str | None:
        """The file's name. Raises :class:`Refused` where its encoding is not known."""
        if self.filename is not None and not self.readable:
            raise Refused("undecodable_name")
        return self.filename


def read(header: str, charsets: Iterable[str | None] = ()) -> Disposition:
    """The name of a part and of its file.

    ``filename*``, which says its encoding, comes before ``filename`` (RFC 6266, section 4.3). One
    that can't be read is passed over, as RFC 8187 asks for. In quotes, where it does not belong,
    it is taken as well: it can mean nothing else.

    :param header: its bytes as WSGI hands them over: one character for each (PEP 3333).
    :param charsets: names of encodings to try where the header is no UTF-8.
    """
    text = _decoded(header, charsets)
    found = {
        key.lower(): value.strip()
        for key, value in _PARAMETER.findall(header if text is None else text)
    }
    name = content_disposition_unquote(found.get("name", ""))
    extended = _extended(found.get("filename*", ""))
    if extended is not None:
        return Disposition(name, extended, True)
    filename = found.get("filename")
    if filename is not None:
        filename = content_disposition_unquote(filename, filename=True)
    return Disposition(name, filename, text is not None)


def _decoded(header: str, charsets: Iterable[str | None]) -> str | None:
    """The text of a header; None where nobody says in which encoding it is."""
    if header.isascii():
        return header
    try:
        raw = header.encode("latin-1")
    except UnicodeEncodeError:
        return header  # Somebody has decoded it already.
    for codec in ("utf-8", *(CODECS.get((name or "").strip().lower()) for name in charsets)):
        if codec is not None:
            try:
                return raw.decode(codec)
            except UnicodeDecodeError:
                continue
    return None


def _extended(value: str) -> str | None:
    written = _EXTENDED.fullmatch(value.strip('"'))
    if written is None:
        return None
    try:
        return unquote(written[2], written[1], "strict")
    except UnicodeDecodeError:
        return None
