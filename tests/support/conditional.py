"""Conditional requests and requests for ranges, with the answers that RFC 9110 asks for.

One table for whoever sends the bytes: the application, a WSGI server, nginx, a store.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from itertools import product
from time import gmtime, strftime

CONTENT = b"0123456789"
HOUR = 3600
NO_DATES = ("yesterday", "", "Sat, 99 Foo 2026 10:00:00 GMT", "0")


@dataclass(frozen=True)
class Now:
    """What there is: the file's tag, the record's, and the file's ``Last-Modified``."""

    tag: str
    version: str
    modified: int

    def tags(self) -> dict[str, tuple[bool, bool]]:
        """Values for ``If-Match`` and ``If-None-Match``; whether each names the file by the strong
        and by the weak comparison (section 8.8.3.2)."""
        return {
            f'"{self.tag}"': (True, True),
            f'W/"{self.tag}"': (False, True),
            '"another"': (False, False),
            'W/"another"': (False, False),
            "*": (True, True),
            f'"another", "{self.tag}"': (True, True),
            f'W/"{self.tag}","another"': (False, True),
            f', "one,two" ,, W/"x" , "{self.tag}",': (True, True),
            f'"{self.tag[:-1]}", "{self.tag}0", "*"': (False, False),
        }

    def dates(self) -> dict[str, bool | None]:
        """Dates in the three forms that are to be understood (section 5.6.7), and whether the file
        has changed since; None for what is no date."""
        found: dict[str, bool | None] = dict.fromkeys(NO_DATES)
        for moment in (self.modified - HOUR, self.modified, self.modified + HOUR):
            for written in forms(moment):
                found[written] = self.modified > moment
        return found

    def if_range(self) -> dict[str, bool]:
        """Values for ``If-Range``, and whether the range counts (section 13.1.5)."""
        dates = {
            written: moment == self.modified
            for moment in (self.modified - HOUR, self.modified, self.modified + HOUR)
            for written in forms(moment)
        }
        return {
            f'"{self.tag}"': True,
            f'W/"{self.tag}"': False,
            '"another"': False,
            "nonsense": False,
            **dates,
        }


def forms(moment: int) -> tuple[str, str, str]:
    """A date as of today, as RFC 850 and as asctime() write it."""
    time = gmtime(moment)
    return (
        formatdate(moment, usegmt=True),
        strftime("%A, %d-%b-%y %H:%M:%S GMT", time),
        strftime("%a %b %e %H:%M:%S %Y", time),
    )


@dataclass(frozen=True)
class Case:
    """A request, and its answer: a status, and for 206 which bytes of :data:`CONTENT`."""

    headers: Mapping[str, str]
    status: int
    part: tuple[int, int] | None = None


RANGES: dict[str, tuple[int, int] | int] = {
    "bytes=2-4": (2, 5),
    "bytes=0-0": (0, 1),
    "bytes=9-": (9, 10),
    "bytes=0-": (0, 10),
    "bytes=-3": (7, 10),
    "bytes=-10": (0, 10),
    "bytes=-500": (0, 10),
    "bytes=8-99": (8, 10),
    "BYTES=2-4": (2, 5),
    f"bytes=0-{'9' * 30}": (0, 10),
    f"bytes=-{'9' * 5000}": (0, 10),
    "bytes=-0": 416,
    "bytes=10-": 416,
    "bytes=10-20": 416,
    f"bytes={'9' * 5000}-": 416,
    "bytes=": 200,
    "bytes=-": 200,
    "bytes=4-2": 200,
    "bytes=a-b": 200,
    "bytes=1-2-3": 200,
    "bytes=--1": 200,
    "bytes=0x1-": 200,
    "bytes=\u00b2-": 200,
    "bytes 2-4": 200,
    "lines=1-2": 200,
    "nonsense": 200,
    "bytes=0-1,4-5": 200,
    "bytes=0-1, -1": 200,
    "bytes=0-0,0-0,0-0,0-0": 200,
}
"""By ``Range``: the bytes that are sent, or the status that has none. Several ranges may be
answered with the whole file, and so they are (section 14.2)."""


def ranges() -> Iterator[Case]:
    for header, found in RANGES.items():
        asked = {"Range": header}
        yield Case(asked, found) if isinstance(found, int) else Case(asked, 206, found)


def conditions(now: Now, headers: Mapping[str, str] | None = None) -> Iterator[Case]:
    """Each value of each of the four headers by itself."""
    for value, (strong, weak) in now.tags().items():
        yield Case({"If-Match": value}, 200 if strong else 412)
        yield Case({"If-None-Match": value}, 304 if weak else 200)
    yield Case({"If-Match": f'"{now.version}"'}, 200)
    yield Case({"If-Match": f'W/"{now.version}"'}, 412)
    yield Case({"If-None-Match": f'"{now.version}"'}, 200)
    for value, changed in now.dates().items():
        yield Case({"If-Unmodified-Since": value}, 412 if changed else 200)
        yield Case({"If-Modified-Since": value}, 304 if changed is False else 200)


def combinations(now: Now) -> Iterator[Case]:
    """All four at once, each of them missing, true or false: their order (section 13.2.2)."""
    earlier, _, later = (forms(now.modified + change)[0] for change in (-HOUR, 0, HOUR))
    own, other = f'"{now.tag}"', '"another"'
    for if_match, unmodified, if_none_match, modified in product(
        (None, own, other), (None, later, earlier), (None, other, own), (None, earlier, later)
    ):
        given = {
            "If-Match": if_match,
            "If-Unmodified-Since": unmodified,
            "If-None-Match": if_none_match,
            "If-Modified-Since": modified,
        }
        failed = if_match == other or (not if_match and unmodified == earlier)
        unchanged = if_none_match == own or (not if_none_match and modified == later)
        status = 412 if failed else 304 if unchanged else 200
        yield Case({name: value for name, value in given.items() if value}, status)


def with_ranges(now: Now) -> Iterator[Case]:
    """Preconditions come before a range, and ``If-Range`` after them."""
    own, other = f'"{now.tag}"', '"another"'
    for value, counts in now.if_range().items():
        yield Case({"If-Range": value}, 200)
        asked = {"If-Range": value, "Range": "bytes=2-4"}
        yield Case(asked, 206, (2, 5)) if counts else Case(asked, 200)
        asked = {"If-Range": value, "Range": "bytes=10-"}
        yield Case(asked, 416 if counts else 200)
    for wanted, status, part in (("bytes=2-4", 206, (2, 5)), ("bytes=10-", 416, None)):
        for given, holds in (
            ({"If-Match": own}, status),
            ({"If-Match": other}, 412),
            ({"If-None-Match": own}, 304),
            ({"If-None-Match": other}, status),
            ({"If-None-Match": other, "If-Range": other}, 200),
            ({"If-Match": own, "If-Range": own}, status),
        ):
            found = part if holds == status else None
            yield Case({**given, "Range": wanted}, holds, found)


@dataclass(frozen=True)
class Answer:
    """Header names in small letters.

    :param elsewhere: whether a store has sent it, whose headers are its own.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    elsewhere: bool = False


Ask = Callable[[str, Mapping[str, str]], Answer]


def wrong(ask: Ask, method: str, case: Case, now: Now, content: bytes = CONTENT) -> str | None:
    """What is wrong with the answer to a request; None where it is right."""
    answer = ask(method, case.headers)
    seen = answer.headers
    body, wanted = b"", {}
    if case.status in (200, 206):
        start, stop = case.part or (0, len(content))
        body = content[start:stop]
        wanted["content-length"] = str(len(body))
    if case.status in (200, 206, 304) and not answer.elsewhere:
        wanted |= {"etag": f'"{now.tag}"', "vary": "Origin", "cache-control": "private, no-cache"}
    if case.status == 206:
        wanted["content-range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    if case.status == 416:
        wanted["content-range"] = f"bytes */{len(content)}"
    got = {name: seen.get(name) for name in wanted}
    unlike = "content-range" in seen and "content-range" not in wanted
    shown = method == "HEAD" or case.status >= 400 or answer.body == body
    if answer.status == case.status and got == wanted and shown and not unlike:
        return None
    short = {name: value[:60] for name, value in case.headers.items()}
    return f"{method} {short}: {answer.status}, not {case.status}; {got}, not {wanted}"


def all_wrong(ask: Ask, now: Now) -> str:
    """The whole table, GET and HEAD, on a file with :data:`CONTENT`."""
    cases = [*ranges(), *conditions(now), *combinations(now), *with_ranges(now)]
    found = [wrong(ask, "GET", case, now) for case in cases]
    for case in cases:
        # There is no range with HEAD (section 14.2).
        status = 200 if case.status in (206, 416) else case.status
        found.append(wrong(ask, "HEAD", Case(case.headers, status), now))
    return "\n".join(sentence for sentence in found if sentence)


def all_wrong_of_nothing(ask: Ask, now: Now) -> str:
    """Ranges of an empty file: it has no part, and is sent as a whole."""
    found = [wrong(ask, "GET", Case(case.headers, 200), now, b"") for case in ranges()]
    return "\n".join(sentence for sentence in found if sentence)
