"""Names for downloaded files: safe on every system, and one for each record."""

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

MOST_BYTES = 200
"""Of a name: systems take 255, and the unfinished file has a longer one."""

MOST_EXTENSION_BYTES = 32

_FORBIDDEN = set('<>:"/\\|?*')  # On Windows, with the control characters.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe(filename: str) -> str:
    """The last component of a name, as a name that is neither hidden, nor special, nor empty."""
    last = re.split(r"[/\\]", filename)[-1]
    kept = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cs"))
    name = "".join("_" if c in _FORBIDDEN else c for c in kept).strip().rstrip(". ")
    if name.startswith(".") or _DEVICES.match(name):
        name = f"_{name}"
    return _fitting(name or "file")


def with_id(filename: str, record_id: str, more: str = "") -> str:
    """The name with the record's id before its extension."""
    if len(record_id) > MOST_BYTES // 3:
        record_id = record_id[: MOST_BYTES // 3] + _digest(record_id)
    return _fitting(safe(filename), f"-{record_id}{more}")


def key(name: str) -> str:
    """What is equal for names that are one on a system without upper and lower case."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def names_for(filenames: Mapping[str, str]) -> dict[str, str]:
    """Record ids to names, from record ids to filenames.

    Records that share a filename all have their id in it, so none depends on the others' order.
    """
    names = {record_id: safe(filename) for record_id, filename in filenames.items()}
    for more in (lambda _: "", _digest):  # Ids may differ in upper and lower case alone.
        counts = Counter(map(key, names.values()))
        for record_id, name in names.items():
            if counts[key(name)] > 1:
                names[record_id] = with_id(filenames[record_id], record_id, more(record_id))
    return names


def _fitting(name: str, suffix: str = "") -> str:
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > MOST_EXTENSION_BYTES:
        stem, extension = name, ""
    room = MOST_BYTES - len(f"{suffix}{extension}".encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + suffix + extension


def _digest(text: str) -> str:
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
