"""What became of one file or record."""

from dataclasses import dataclass
from typing import Any

FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """One line of what a command tells.

    :param what: the words that tell it from others, as in ``{"file": "a.txt", "id": "a"}``.
    :param status: as in ``uploaded``; ``failed`` where there is an error.
    :param size: of the file, in bytes.
    """

    what: dict[str, str]
    status: str
    size: int | None = None
    hash: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Without what is not known."""
        more = {"size": self.size, "hash": self.hash, "error": self.error}
        known = {name: value for name, value in more.items() if value is not None}
        return {**self.what, "status": self.status, **known}
