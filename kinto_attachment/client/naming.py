"""Names for downloaded files: safe on every system, and one for each record.

They come from a server that may be anybody's, and go to a disk that may be any system's.
"""

import hashlib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping

MOST_BYTES = 200
"""Of a name: systems take 255, and the unfinished file has a longer one."""

MOST_EXTENSION_BYTES = 32

MOST_FOLDERS, MOST_PATH_BYTES = 32, 1000
"""Of a path: systems take a few thousand bytes, of which the user's folder has some."""

_FORBIDDEN = set('<>:"/\\|?*')  # On Windows, with the control characters.
_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[\d¹²³]|lpt[\d¹²³])\s*(\.|$)", re.IGNORECASE
)
_DIRECTIONS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Of writing: they make a name look like another one."""


def safe(filename: str) -> str:
    """The last component of a name, as a name that is neither hidden, nor special, nor empty."""
    last = re.split(r"[/\\]", filename)[-1]
    name = "".join("_" if c in _FORBIDDEN else c for c in last if _is_shown(c))
    name = name.strip().rstrip(". ")
    if name.startswith(".") or _DEVICES.match(name):
        name = f"_{name}"
    return _fitting(name or "file")


def safe_path(path: str) -> str:
    """A relative path with ``/`` between safe names; nothing in it leads upwards.

    Of a path that is too long for some systems the last name is left.
    """
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
    made = "/".join(map(safe, parts)) or safe("")
    if len(parts) > MOST_FOLDERS or len(made.encode()) > MOST_PATH_BYTES:
        return made.rsplit("/", 1)[-1]
    return made


def with_id(name: str, record_id: str, more: str = "") -> str:
    """The name, or path, with the record's id before its extension."""
    readable = re.sub(r"[^a-zA-Z0-9_-]", "_", record_id)[: MOST_BYTES // 3]
    if readable != record_id:  # Ids are a server's: another one may read the same now.
        readable += f"-{_digest(record_id)}"
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{_fitting(last, f'-{readable}{more}')}"


def key(name: str) -> str:
    """What is equal for names that are one on a system without upper and lower case.

    Some systems pass over characters that are not seen, too.
    """
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())
    return "".join(c for c in folded if unicodedata.category(c) != "Cf")


def folders_of(name: str) -> Iterator[str]:
    """The paths of the folders that a file with this path lies in."""
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def names_for(wanted: Mapping[str, str]) -> dict[str, str]:
    """Record ids to names, from record ids to safe names or paths.

    Records that share a name all have their id in it, so none depends on the others' order. So
    has a file that is called like a folder of others.
    """
    names = dict(wanted)
    for record_id in _clashing(names):
        names[record_id] = with_id(wanted[record_id], record_id)
    # Other names may look like those that were just made, by chance or on purpose.
    left = _clashing(names)
    taken = {key(name) for record_id, name in names.items() if record_id not in left}
    taken |= {key(folder) for name in names.values() for folder in folders_of(name)}
    for record_id in sorted(left):
        names[record_id] = next(
            name for name in alternatives(wanted[record_id], record_id) if key(name) not in taken
        )
        taken.add(key(names[record_id]))
    return names


def alternatives(name: str, record_id: str) -> Iterator[str]:
    """Names for a record whose name is taken, and also the one with its id. There is no end."""
    for number in itertools.count():
        yield with_id(name, record_id, f"-{_digest(f'{number} {record_id}')}")


def _clashing(names: Mapping[str, str]) -> set[str]:
    """Ids of records whose files can't have these names, because others have them."""
    keys = {record_id: key(name) for record_id, name in names.items()}
    counts = Counter(keys.values())
    folders = {key(folder) for name in names.values() for folder in folders_of(name)}
    return {one for one, found in keys.items() if counts[found] > 1 or found in folders}


def _is_shown(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Cc", "Cs", "Zl", "Zp") and character not in _DIRECTIONS


def _fitting(name: str, suffix: str = "") -> str:
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > MOST_EXTENSION_BYTES:
        stem, extension = name, ""
    room = MOST_BYTES - len(f"{suffix}{extension}".encode())
    cut = stem.encode()[:room].decode("utf-8", "ignore")
    # Windows takes a name for another one that ends like this.
    return f"{cut}{suffix}{extension}".rstrip(". ")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
