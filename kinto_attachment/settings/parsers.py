"""How the values of settings are read: one function for each type, used by settings/table.py.

A little above 200 lines: they are read as one list.
"""

import math
import re
import string
from collections.abc import Mapping
from typing import Any

from kinto_attachment import keys, media_types
from kinto_attachment.media_types import GROUPS

PUBLISHED_TYPES = {e: media_types.TYPES[e] for e in (".geojson", ".pem")}
"""Types that 8.x and 9.x gave whatever the client said, unless the operator said otherwise."""


_HOST = r"(\[[0-9A-Fa-f:.]+\]|[^]/?#@:\s\\[]+)(:[0-9]{1,5})?"
_BASE_URL = re.compile(rf"(https?:)?//{_HOST}(/[^?#\s\\]*)?", re.IGNORECASE)


class Malformed(ValueError):
    """A value that its parser does not take; the message says what is accepted."""


def text(value: Any) -> str:
    """A string. Kinto turns values that look like JSON into numbers before we see them."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int):
        raise Malformed('a text; put one that looks like JSON in double quotes: "…"')
    return str(value).strip()


def boolean(value: Any) -> bool:
    """``true`` or ``false``."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False, "": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise Malformed("true or false") from None


def whole_number(value: Any) -> int:
    """A whole number that is not negative."""
    if not re.fullmatch(r"[0-9]{1,18}", str(value).strip()):
        raise Malformed("a whole number, 0 or more, without a unit")
    return int(value)


def at_least_1(value: Any) -> int:
    """A whole number above 0."""
    try:
        number = whole_number(value)
    except Malformed:
        number = 0
    if not number:
        raise Malformed("a whole number, 1 or more, without a unit")
    return number


def port(value: Any) -> int:
    """A TCP port."""
    try:
        number = at_least_1(value)
    except Malformed:
        number = 2**16
    if number >= 2**16:
        raise Malformed("a whole number, from 1 to 65535")
    return number


def retention(value: Any) -> float:
    """Seconds: 0 for ``false``, without end for ``true``, else like ``90d`` or ``12h``."""
    units = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
    written = re.fullmatch(r"([1-9][0-9]{0,5})\s*([hdw])", str(value).strip().lower())
    if written:
        return int(written[1]) * units[written[2]]
    try:
        return math.inf if boolean(value) else 0.0
    except Malformed:
        raise Malformed("true, false, or for how long: 12h, 90d, 52w") from None


def directory(value: Any) -> str:
    """A path of this machine. ``~`` is the shell's: it would become a directory called so."""
    path = text(value)
    if path.startswith("~"):
        raise Malformed("the whole path, without '~'")
    return path


def folder(value: Any) -> str:
    """A relative folder; ``{bucket_id}`` and ``{collection_id}`` are filled in."""
    path = text(value)
    path = path.removesuffix("/") if path != "/" else path
    _only_fields(path, {"bucket_id", "collection_id"})
    if (path and keys.unsafe_reason(path)) or path.split("/")[0].startswith("."):
        raise Malformed("a relative folder without '..' and without a slash or a dot before it")
    _check_length(path.format(bucket_id="", collection_id=""))
    return path


def filename_pattern(value: Any) -> str:
    """A file name; ``{filename}``, ``{datetime}`` and ``{rid}`` are filled in."""
    pattern = text(value)
    _only_fields(pattern, {"filename", "datetime", "rid"})
    if "/" in pattern:
        raise Malformed("a name without a folder: use the setting 'folder' for that")
    _check_length(pattern.format(filename="", datetime="", rid=""))
    return pattern


def extensions(value: Any) -> frozenset[str] | None:
    """Extensions and groups joined by ``+``; None stands for any."""
    names = {name.strip().lower().lstrip(".") for name in text(value).split("+")}
    if not all(name in GROUPS or keys.extension(f"x.{name}") == f".{name}" for name in names):
        raise Malformed(f"extensions and groups ({', '.join(sorted(GROUPS))}) joined by '+'")
    if "any" in names:
        return None
    return frozenset(ext for name in names for ext in GROUPS.get(name, (name,)))


def mimetypes(value: Any) -> Mapping[str, str]:
    """Media types by extension, beside the :data:`PUBLISHED_TYPES`."""
    found = dict(PUBLISHED_TYPES)
    for pair in filter(None, (item.strip() for item in text(value).split(";"))):
        suffix, _, mimetype = (part.strip() for part in pair.partition(":"))
        known = suffix and suffix.lower() == keys.extension(f"x{suffix}")
        if not (known and re.fullmatch(r"[\w.+-]+/[\w.+-]+", mimetype, re.ASCII)):
            raise Malformed("pairs like .ext:type/subtype joined by ';'")
        found[suffix.lower()] = mimetype
    return found


def base_url(value: Any) -> str:
    """A URL that ends in a slash, or nothing. One that begins with ``//`` has the scheme of the
    page that it stands in (RFC 3986, 4.2)."""
    url = text(value)
    if url and not _BASE_URL.fullmatch(url):
        raise Malformed(
            "the whole URL, like https://cdn.example.org/files/, without user, password and query,"
            " or nothing"
        )
    return url if not url or url.endswith("/") else f"{url}/"


def endpoint_url(value: Any) -> str | None:
    """An http or https URL without user and password, or nothing."""
    url = text(value)
    if url and not re.fullmatch(r"https?://[^/?#@\s]+(/[^?#@\s]*)?", url):
        raise Malformed("a URL like https://s3.example.org:9000, without user and password")
    return url or None


def seconds(value: Any) -> float:
    """A time-out: a number above 0."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", str(value).strip()) or not float(value):
        raise Malformed("a number of seconds above 0, without a unit")
    return float(value)


def canned_acl(value: Any) -> str:
    """The name of a ready-made ACL; nothing, on purpose, where it is empty."""
    name = text(value)
    if not re.fullmatch(r"[A-Za-z-]*", name):
        raise Malformed("the name of a canned ACL, like private or public-read")
    return name


def download(value: Any) -> str:
    """``redirect`` or ``proxy``."""
    word = text(value)
    if word not in ("redirect", "proxy"):
        raise Malformed("redirect or proxy")
    return word


def accel_redirect(value: Any) -> str | None:
    """A path that begins and ends with a slash, or nothing."""
    path = text(value)
    if path and not re.fullmatch(r"/([\w.~-]+/)*", path, re.ASCII):
        raise Malformed("a path that begins and ends with a slash, like /files/")
    return path or None


def _check_length(written: str) -> None:
    """What ids and names bring is shortened (keys.bounded); what an operator writes is kept, or
    refused."""
    longest = max(len(part.encode("utf-8")) for part in written.split("/"))
    if longest > keys.MAX_NAME_BYTES or len(written.encode("utf-8")) > keys.MAX_FOLDER_BYTES:
        raise Malformed(
            f"no more than {keys.MAX_NAME_BYTES} bytes between two slashes, and"
            f" {keys.MAX_FOLDER_BYTES} in all"
        )


def _only_fields(template: str, known: set[str]) -> None:
    wanted = ", ".join(f"{{{name}}}" for name in sorted(known))
    try:
        used = [parsed[1:] for parsed in string.Formatter().parse(template)]
    except ValueError:
        raise Malformed(f"balanced braces, around {wanted}") from None
    for name, spec, conversion in used:
        if name is not None and (name not in known or spec or conversion):
            raise Malformed(f"a text with {wanted} and no other name in braces")
