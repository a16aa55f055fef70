"""What is said of a line of the ini that can't be used: how it reads, and what was meant."""

import difflib
from typing import Any

from kinto_attachment.settings.table import ALIASES, BY_KEY, DROPPED, Setting

PREFIX = "attachment."
RESOURCES = "resources."


def find(name: str) -> Setting | None:
    """The row of a setting, by its own name or another spelling of that."""
    return BY_KEY.get(ALIASES.get(name, name))


def line(name: str, value: Any) -> str:
    """Name and value as the ini has them.

    The value is left out where it is a secret, and where nobody knows the setting: a secret may
    stand behind a misspelt name. What stands before an ``@`` may be a URL's password.
    """
    last = name.rsplit(".", 1)[-1] if name.startswith(RESOURCES) else name
    setting = find(last)
    if setting is None or setting.secret:
        return f"kinto.{PREFIX}{name} = (not shown)"
    _, at, shown = str(value).rpartition("@")
    return f"kinto.{PREFIX}{name} = {'(not shown)' if at else ''}{at}{shown}"


def advice(name: str) -> str:
    """What to do about a line whose setting does not exist."""
    meant = _resource_meant(name) or _meant(name, (*BY_KEY, *ALIASES))
    return DROPPED.get(name, f"write kinto.{PREFIX}{meant}" if meant else "remove it")


def is_meant_for_us(prefix: str, name: str) -> bool:
    """Whether a line of another prefix, as ``attachments.max_size``, has ours misspelt."""
    theirs = prefix == PREFIX.rstrip(".") or not _meant(prefix, (PREFIX.rstrip("."),), 0.8)
    return not theirs and (find(name) is not None or name.startswith(RESOURCES))


def _resource_meant(name: str) -> str | None:
    """As ``resource.films.max_size``: names of buckets and collections stay as they are."""
    first, *place, last = name.split(".") if "." in name else (name, "")
    if len(place) not in (1, 2) or not _meant(first, ("resources",), 0.8):
        return None
    known = [key for key, row in BY_KEY.items() if row.per_resource]
    known += [alias for alias, key in ALIASES.items() if key in known]
    meant = _meant(last, known)
    return ".".join(("resources", *place, meant)) if meant else None


def _meant(written: str, known: Any, cutoff: float = 0.6) -> str | None:
    found = difflib.get_close_matches(written.lower(), known, n=1, cutoff=cutoff)
    return found[0] if found else None
