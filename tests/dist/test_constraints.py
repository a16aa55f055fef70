"""constraints.txt: the versions that the tests run with."""

import re
import tomllib

from tests.dist.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PINS = [line for line in LINES if not line.startswith("#")]


def name_of(requirement: str) -> str:
    """The name as pip compares it: ``-``, ``_``, ``.`` and capitals make no difference."""
    found = re.match(r"[\w.-]*\w", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_everything_that_the_project_asks_for_has_its_version() -> None:
    """Where this fails, something new is asked for: ``make constraints``."""
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    asked = {name_of(requirement) for requirements in lists for requirement in requirements}

    assert asked - {name_of(pin) for pin in PINS} == {"kinto-attachment"}


def test_every_line_is_a_name_and_one_version() -> None:
    """No address of an index, and no file of the machine that wrote it."""
    assert [pin for pin in PINS if not re.fullmatch(r"[\w.-]+==[\w.+!]+", pin)] == []
