"""Preconditions of a download (RFC 9110, section 13).

Those of a write, which are Kinto's own, are in preconditions.py.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"|([^\s",]+)')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Verdict(Enum):
    """What becomes of a request; the value is the status."""

    SERVE = 200
    UNCHANGED = 304
    FAILED = 412


@dataclass(frozen=True)
class Conditions:
    """What a GET or HEAD asks for, and what there is now.

    :param headers: of the request.
    :param tag: the file's entity tag, without quotes; a strong one.
    :param version: the record's, which an ``If-Match`` may name as well: whoever has just
        written the record has no other.
    :param modified: when the file was last modified, in seconds since 1970; None where nobody
        knows, and dates are ignored (sections 13.1.3 and 13.1.4).
    """

    headers: Mapping[str, str]
    tag: str
    version: str
    modified: int | None

    def verdict(self) -> Verdict:
        """In the order of section 13.2.2."""
        headers = self.headers
        if "If-Match" in headers:
            if not self.matched():
                return Verdict.FAILED
        elif self._modified_since("If-Unmodified-Since") is True:
            return Verdict.FAILED
        if "If-None-Match" in headers:
            if _names(headers["If-None-Match"], (self.tag,), weak=True):
                return Verdict.UNCHANGED
        elif self._modified_since("If-Modified-Since") is False:
            return Verdict.UNCHANGED
        return Verdict.SERVE

    def matched(self) -> bool:
        """Whether there is an ``If-Match``, and it names what is there."""
        asked = self.headers.get("If-Match")
        return asked is not None and _names(asked, (self.tag, self.version), weak=False)

    def range_counts(self) -> bool:
        """Whether a ``Range`` is looked at: not where ``If-Range`` names another version.

        A date has to be the very one of ``Last-Modified``; a weak tag never counts (section
        13.1.5).
        """
        asked = self.headers.get("If-Range")
        if asked is None:
            return True
        if '"' in asked:
            return _names(asked, (self.tag,), weak=False)
        return self.modified is not None and _date(asked) == self.modified

    def _modified_since(self, header: str) -> bool | None:
        """None where the header is missing or no date, or nothing can be said."""
        since = _date(self.headers.get(header))
        if since is None or self.modified is None:
            return None
        return self.modified > since


def _names(header: str, tags: Collection[str], weak: bool) -> bool:
    """Whether one of the entity tags of a header is one of ours.

    :param weak: whether a weak one counts too (section 8.8.3.2).
    """
    if header.strip() == "*":
        return True
    for is_weak, quoted, bare in _TAG.findall(header):
        if (quoted or bare) in tags and (weak or not is_weak):
            return True
    return False


def _date(header: str | None) -> int | None:
    """A date in seconds since 1970; None for what is no date, which section 13.1 has ignored."""
    if not header:
        return None
    try:
        found = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int((found - _EPOCH).total_seconds())
