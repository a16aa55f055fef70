"""``Range``: which bytes of a file a client wants (RFC 9110, section 14)."""

import re

_BYTES = re.compile(r"[ \t]*bytes[ \t]*=(.*)", re.IGNORECASE | re.ASCII | re.DOTALL)
_SPEC = re.compile(r"([0-9]*)-([0-9]*)", re.ASCII)

DIGITS = 18
"""Of a position that a file may have. Longer ones lie behind every end; Python would refuse to
read them, or take long for it."""


_PLAIN = re.compile(rf"bytes=[0-9]{{0,{DIGITS}}}-[0-9]{{0,{DIGITS}}}", re.ASCII)


class Unsatisfiable(Exception):
    """No byte of the file is in the range: 416."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte, and the one after the last, that ``header`` asks for.

    :param size: of the file, in bytes.
    :returns: None where the whole file is the answer: without the header, where it is not
        understood (section 14.2), for several ranges, and for an empty file, which has no part.
    :raises Unsatisfiable: as :class:`Unsatisfiable` says.
    """
    asked = _BYTES.fullmatch(header or "")
    specs = [spec.strip(" \t") for spec in asked[1].split(",")] if asked else []
    specs = [spec for spec in specs if spec]  # Empty elements of a list count for nothing.
    spec = _SPEC.fullmatch(specs[0]) if len(specs) == 1 else None
    if spec is None or not size or spec[0] == "-":
        return None
    first, last = _position(spec[1]), _position(spec[2])
    if first is None:
        return _suffix(last or 0, size)
    if last is not None and last < first:
        return None
    if first >= size:
        raise Unsatisfiable
    return first, size if last is None else min(last + 1, size)


def is_plain(header: str | None, size: int) -> bool:
    """Whether others understand a range as we do: none at all, or one that is written as most
    clients write it and lies in the file."""
    if header is None:
        return True
    try:
        return _PLAIN.fullmatch(header) is not None and wanted(header, size) is not None
    except Unsatisfiable:
        return False


def _suffix(length: int, size: int) -> tuple[int, int]:
    """The last bytes; all of them where the file is shorter (section 14.1.2)."""
    if not length:
        raise Unsatisfiable
    return max(0, size - length), size


def _position(digits: str) -> int | None:
    if not digits:
        return None
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= DIGITS else 10**DIGITS
