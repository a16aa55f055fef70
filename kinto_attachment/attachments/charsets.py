"""In which charset a text is, as far as that is known.

A record's ``mimetype`` has no charset: its readers compare it as a whole. What is known is kept in
the link, where it becomes the ``Content-Type`` of every download, and in the store. Known is what
the client said with its type, and what the bytes have shown: UTF-8 with a letter outside of ASCII
is hardly ever anything else. Of the rest nothing is claimed, and a browser guesses: better than
a wrong word, which it would believe.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain

UTF_8 = "utf-8"

LOOKED_AT = 256 * 1024
"""Bytes of a text that are read before the store is told its type: the whole of most."""

KNOWN = frozenset(
    {
        "utf-8",
        "utf8",
        "us-ascii",
        "ascii",
        "utf-16",
        "utf-16le",
        "utf-16be",
        "latin1",
        "macintosh",
        "koi8-r",
        "koi8-u",
        "ibm866",
        "gbk",
        "gb2312",
        "gb18030",
        "big5",
        "big5-hkscs",
        "euc-jp",
        "euc-kr",
        "iso-2022-jp",
        "shift_jis",
        "shift-jis",
        "sjis",
    }
)
"""Names that browsers know (WHATWG's Encoding), beside those with a number."""

_NUMBERED = re.compile(r"iso-8859-(1[0-6]?|[2-9])|windows-(874|125[0-8])|cp(874|125[0-8])")

_CHARSET = re.compile(
    r";\s*charset\s*=\s*\"?(?P<name>[a-z0-9][a-z0-9._:+-]{0,39})\"?\s*(;|$)",
    re.IGNORECASE | re.ASCII,
)


def declared(sent: str | None, mimetype: str) -> str | None:
    """The charset that a client has sent with the type of a file; None for none, or one that
    browsers do not know, as the ``binary`` that the command ``file`` prints, or as UTF-7.

    :param sent: the ``Content-Type``.
    :param mimetype: what the file is. Pictures, sound and films have no charset.
    """
    found = _CHARSET.search(sent or "")
    if not found or not mimetype.startswith(("text/", "application/")):
        return None
    name = found["name"].lower()
    return name if name in KNOWN or _NUMBERED.fullmatch(name) else None


def has_to_be_found(mimetype: str) -> bool:
    """Whether a type may have a charset that nobody has said: those that begin with text/. JSON
    is always UTF-8, and other types have none or say it themselves."""
    return mimetype.startswith("text/")


def content_type(mimetype: str, charset: str | None) -> str:
    """As it stands in a header."""
    return f"{mimetype}; charset={charset}" if charset else mimetype


class Look:
    """Looks at a text that passes by: whether it is UTF-8, and more than ASCII."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder(UTF_8)()
        self._valid = True
        self._beyond_ascii = False

    def at_each(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks, each of them looked at."""
        for chunk in chunks:
            if self._valid and not (chunk.isascii() and not self._is_within()):
                self._read(chunk)
            yield chunk

    def charset(self) -> str | None:
        """What the bytes were, once they have all passed."""
        whole = self._valid and not self._is_within()
        return UTF_8 if whole and self._beyond_ascii else None

    def _is_within(self) -> bool:
        """Whether a letter has begun whose last bytes are still to come."""
        return bool(self._decoder.getstate()[0])

    def _read(self, chunk: bytes) -> None:
        self._beyond_ascii = True
        try:
            self._decoder.decode(chunk)
        except UnicodeDecodeError:
            self._valid = False


def beginning(chunks: Iterable[bytes], size: int = LOOKED_AT) -> tuple[bool, Iterator[bytes]]:
    """Take in up to ``size`` bytes; whether that was all, and the chunks as if nothing had been
    taken."""
    iterator, taken, count = iter(chunks), list[bytes](), 0
    for chunk in iterator:
        taken.append(chunk)
        count += len(chunk)
        if count > size:
            return False, chain(taken, iterator)
    return True, iter(taken)
