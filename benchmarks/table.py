"""The table that the measures fill."""

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple


class Row(NamedTuple):
    """One line: what the published plugin needs, what ours does, and what is wanted.

    ``note``: why it falls short, where it does.
    """

    name: str
    published: str
    ours: str
    wanted: str
    reached: bool | None
    note: str = ""


HEAD = ("Measure", "Published 8.0.0", "This plugin", "Wanted", "Reached")


def markdown(rows: Iterable[Row]) -> str:
    """The table with its date and versions, to read or to paste."""
    lines = [_when(), "", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines)


def rst(rows: Iterable[Row]) -> str:
    """The same as docs/figures.rst has it."""
    lines = [_when(), "", ".. list-table::", "   :name: figures", "   :header-rows: 1", ""]
    for cells in (HEAD, *(_cells(row) for row in rows)):
        lines += [f"   {'* -' if number == 0 else '  -'} {c}" for number, c in enumerate(cells)]
    return "\n".join(lines)


def _when() -> str:
    names = ("kinto", "multipart", "waitress", "gunicorn")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {versions}"


def _cells(row: Row) -> tuple[str, ...]:
    mark = {True: "yes", False: "**no**", None: "-"}[row.reached]
    return (*row[:4], f"{mark}: {row.note}" if row.note else mark)
