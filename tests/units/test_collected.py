"""What pytest finds of the tests when it is told no names."""

import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent


def test_no_folder_of_tests_is_left_out(request: pytest.FixtureRequest) -> None:
    patterns = request.config.getini("norecursedirs")
    folders = {path.parent for path in TESTS.rglob("test_*.py")}
    names = {name for folder in folders for name in folder.relative_to(TESTS).parts}

    assert {"dist", "http", "units"} <= names
    assert [n for n in names for p in patterns if fnmatch.fnmatch(n, p)] == []
