"""``make tests-wheel`` tests what it promises to: the installed wheel, and not the sources."""

import importlib.metadata
import json
import sysconfig
from pathlib import Path

import kinto_attachment


def test_the_package_is_imported_from_where_pip_installs() -> None:
    installed = Path(sysconfig.get_path("purelib"))
    assert Path(kinto_attachment.__file__) == installed / "kinto_attachment" / "__init__.py"


def test_it_was_installed_from_a_wheel() -> None:
    """And not in the editable way, which leaves the modules among the sources."""
    distribution = importlib.metadata.distribution("kinto-attachment")
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")

    assert origin["url"].endswith(".whl")
    assert "dir_info" not in origin


def test_the_sources_are_not_beside_the_tests() -> None:
    tests = Path(__file__).resolve().parents[1]
    assert not (tests.parent / "kinto_attachment").exists()
