"""Where a file lies in the store: ids, names and keys.

A key always carries the id of its link (rows/links.py): as the name of the file
(``folder/<id>.jpg``), as the folder around a readable name (``folder/<id>/photo.jpg``), or within
a name that an operator's ``filename_pattern`` has made (``folder/first-<id>.jpg``).

A little above 200 lines: names, ids and keys are made of each other.
"""

import hashlib
import os.path
import re
import secrets
import unicodedata
import uuid
from collections.abc import Iterable

MAX_FILENAME_BYTES = 255
"""Of a record's ``filename``, in UTF-8, so that it has at most 255 characters, too."""

MAX_NAME_BYTES = 180
MAX_EXTENSION_BYTES = 32
MAX_FOLDER_BYTES = 700
"""As much as a key leaves beside an id, a name and its extension."""
MAX_KEY_BYTES = 1024
"""S3's limit, and Google's."""

RESERVED = (".unfinished/", ".kinto-attachment-")
"""What keys of files do not begin with: the stores' own."""

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
_TURNING = {"\u061c", *map(chr, (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
"""Unicode's controls of direction: with them ``photo<U+202E>gpj.exe`` reads ``photoexe.jpg``."""

_DEVICES = {"con", "prn", "aux", "nul"} | {f"{p}{n}" for p in ("com", "lpt") for n in range(10)}


def _check(head: str, within_name: bool) -> str:
    salt = b"kinto-attachment name " if within_name else b"kinto-attachment "
    return hashlib.sha256(salt + head.encode("ascii")).hexdigest()[:10]


def new_id(within_name: bool = False) -> str:
    """A fresh file id: a UUID of version 8 (RFC 9562) of 82 random bits and a 40-bit check.

    The check is what lets ``__flush__`` and ``gc`` tell a file that this plugin stored from
    anybody else's file with a UUID for a name.

    :param within_name: whether other characters may stand around it in the file's name. It has
        another check then, so that somebody's ``copy-of-<id>.jpg`` of an ordinary file is not
        taken for one of ours.
    """
    raw = secrets.token_hex(11)
    variant = "89ab"[int(raw[16], 16) % 4]
    head = f"{raw[:12]}8{raw[13:16]}{variant}{raw[17:]}"
    return str(uuid.UUID(head + _check(head, within_name)))


def is_id(text: str) -> bool:
    """Whether ``text`` is an id that :func:`new_id` made."""
    return _has_check(text, False) or _has_check(text, True)


def id_in_location(location: object) -> str | None:
    """The file id that a record's ``location`` carries, or None."""
    if not isinstance(location, str):
        return None
    found = [match for match in _ID.findall(location) if is_id(match)]
    return found[-1] if found else None


def id_of_key(key: str) -> str | None:
    """The file id of a key of ours, or None where somebody else's file lies under it."""
    parts = key.split("/")
    candidates = [parts[-1].split(".", 1)[0], *parts[-2:-1]]
    alone = next((part for part in candidates if is_id(part)), None)
    within = (found for found in _ID.findall(parts[-1]) if _has_check(found, True))
    return alone or next(within, None)


def is_ours(key: str) -> bool:
    """Whether the key is one that this plugin has made."""
    return id_of_key(key) is not None


def is_id_or_made(text: str) -> bool:
    """Whether ``text`` has the form of what :func:`file_id` gives."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def file_id(key: str) -> str:
    """The id of the file under ``key``, whoever stored it: the one that the key carries, else
    one that is made from the key, so that it is always the same. The latter is no key's name.
    """
    made = hashlib.sha256(b"kinto-attachment " + key.encode("utf-8", "surrogateescape"))
    return id_of_key(key) or str(uuid.UUID(bytes=made.digest()[:16]))


def unsafe_reason(key: str) -> str | None:
    """Why ``key`` may not be used in a store, or None where it may."""
    if not key or key.startswith("/") or key.endswith("/"):
        return "it must be a relative path"
    if key.startswith(RESERVED):
        return "it is reserved"
    if len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        return "it is too long"
    if "\\" in key or any(unicodedata.category(c) in ("Cc", "Cs") for c in key):
        return "it has a forbidden character"
    if any(part in ("", ".", "..") for part in key.split("/")):
        return "it has an empty, '.' or '..' segment"
    return None


def client_filename(sent: str | None) -> str:
    """The name as the client sent it: last path component, without what nobody sees in it (control
    characters, line separators, controls of direction), and no longer than
    :data:`MAX_FILENAME_BYTES`. A name that is cut keeps its extension."""
    last = re.split(r"[/\\]", sent or "")[-1]
    name = "".join(c for c in last if c not in _TURNING and unicodedata.category(c) not in _UNSEEN)
    name = _with_its_extension(name.strip())
    return "" if set(name) <= {"."} else name


def _with_its_extension(name: str) -> str:
    """Before anything looks at it whose time grows faster than the name."""
    if len(name.encode("utf-8")) <= MAX_FILENAME_BYTES:
        return name
    stem, dotted = os.path.splitext(name)
    weight = len(dotted.encode("utf-8"))
    if weight > MAX_EXTENSION_BYTES + len("."):
        stem, dotted, weight = name, "", 0
    return _cut(stem, MAX_FILENAME_BYTES - weight).rstrip() + dotted


def extension(filename: str) -> str:
    """The lower-case extension with its dot (``.jpg``), or an empty string."""
    stem, dotted = os.path.splitext(unicodedata.normalize("NFC", filename))
    kept = "".join(c for c in dotted.lower() if _is_letter(c) or c in "-_")
    letters = unicodedata.normalize("NFC", kept)
    if not stem or not letters or len(letters.encode("utf-8")) > MAX_EXTENSION_BYTES:
        return ""
    return f".{letters}"


def safe_name(filename: str) -> str:
    """A name that every store can hold and that still reads like ``filename``.

    Letters and digits of any alphabet are kept; anything else but ``.``, ``-`` and ``_``
    becomes ``_``. The extension is the one that :func:`extension` gives. Never empty, never
    hidden, never a device name, at most :data:`MAX_NAME_BYTES` bytes of UTF-8.
    """
    filename = altered(filename)
    suffix = extension(filename)
    composed = unicodedata.normalize("NFC", filename)
    stem = os.path.splitext(composed)[0] if suffix else composed
    stem = "".join(c if _is_letter(c) or c in ".-_" else "_" for c in stem)
    stem = re.sub(r"_{2,}", "_", stem).lstrip("._")
    if unicodedata.normalize("NFKC", stem).split(".", 1)[0].lower() in _DEVICES:
        stem = f"_{stem}"
    stem = _cut(stem, MAX_NAME_BYTES - len(suffix.encode("utf-8"))).rstrip(".")
    return (stem if stem.strip("._-") else "file") + suffix


def build(file_id: str, folder: str, name: str | None, suffix: str) -> str:
    """The key of a new file.

    :param folder: folder in the store, without slashes at its ends; may be empty.
    :param name: readable name; None for a file that is named by its id. One that has the id
        within it needs no folder of its own.
    :param suffix: extension with its dot, used where there is no name.
    """
    folder = bounded(altered(folder))
    tail: Iterable[str] = (file_id + suffix,) if name is None else (file_id, name)
    if name and id_of_key(name) == file_id:
        tail = (name,)
    return "/".join(part for part in (folder, *tail) if part)


def safe_name_with_id(text: str, file_id: str) -> str:
    """:func:`safe_name` of a text that has the file's own id in it, which stays as it is."""
    return safe_name(text).replace(altered(file_id), file_id)


def altered(text: str) -> str:
    """Without anything that looks like an id of ours: that of a key is where we have put it, not
    what a client has called his file, or an operator's folder is called after."""
    return _ID.sub(lambda found: found[0].replace("-", "_"), text)


def bounded(folder: str) -> str:
    """A folder that leaves room for the rest of a key, however long the ids are in it.

    Kinto takes ids of any length, stores don't. What is too long is cut, and ends in a digest of
    the whole, so that two that begin in the same way are still two.
    """
    parts = [_shortened(part, MAX_NAME_BYTES) for part in folder.split("/")]
    whole = "/".join(parts)
    return (
        whole
        if len(whole.encode("utf-8")) <= MAX_FOLDER_BYTES
        else _shortened(folder, MAX_NAME_BYTES)
    )


def _shortened(text: str, size: int) -> str:
    if len(text.encode("utf-8")) <= size:
        return text
    digest = hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
    return f"{_cut(text, size - len(digest) - 1).replace('/', '_')}-{digest}"


def _has_check(text: str, within_name: bool) -> bool:
    if not _ID.fullmatch(text):
        return False
    digits = text.replace("-", "")
    return digits[22:] == _check(digits[:22], within_name)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"


def _cut(text: str, size: int) -> str:
    return text.encode("utf-8")[:size].decode("utf-8", "ignore")
