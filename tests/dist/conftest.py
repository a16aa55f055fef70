"""The archives that a release has, built from a copy of the checkout."""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEFTOVERS = ("*.egg-info", "*.py[cod]", "__pycache__", ".git", ".venv*", ".tox", ".*_cache")
FOLDERS_OF_MAKE = ("build", "dist", "htmlcov", "serve-data")


def copy_of_the_checkout(to: Path) -> Path:
    """What a fresh clone has: the build sees nothing old, and changes nothing of ours."""
    shutil.copytree(ROOT, to, ignore=_left_out)
    return to


def build(checkout: Path, *arguments: str) -> Path:
    """Build as ``make dist`` does; returns the folder with the archives.

    In an environment of its own, which pip fills from its cache or from the network.
    """
    command = [sys.executable, "-m", "build", "--quiet", "--outdir", "dist", *arguments, "."]
    pip_run(command, checkout)
    return checkout / "dist"


def pip_run(command: list[str], folder: Path) -> None:
    """Run what calls pip, in the user's own environment: that may have settings for pip."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder of all processes among which pytest-xdist divides the tests."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def once(shared: Path) -> Callable[[str, Callable[[Path], object]], Path]:
    """Have a folder filled by whoever is first; the others wait for it."""

    def fill(name: str, how: Callable[[Path], object]) -> Path:
        folder, finished = shared / name, shared / f"{name}.finished"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                how(folder)
                finished.touch()
        return folder

    return fill


@pytest.fixture(scope="session")
def archives(once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The source archive, and the wheel that is built from it."""
    checkout = once("release", lambda folder: build(copy_of_the_checkout(folder)))
    return checkout / "dist"


@pytest.fixture(scope="session")
def wheel(archives: Path) -> Path:
    (found,) = archives.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def source_archive(archives: Path) -> Path:
    (found,) = archives.glob("*.tar.gz")
    return found


def _left_out(folder: str, names: list[str]) -> set[str]:
    found = shutil.ignore_patterns(*LEFTOVERS)(folder, names)
    return found | (set(FOLDERS_OF_MAKE) & set(names) if Path(folder) == ROOT else set())
