"""The wheel where nothing else is: what somebody has after ``pip install kinto-attachment``."""

import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.support import processes
from tests.dist.conftest import pip_run

ALICE = ("alice", "secret")
ATTACHMENT = "/v1/buckets/default/collections/letters/records/first/attachment"


@pytest.fixture(scope="session")
def programs(once: Callable[[str, Callable[[Path], object]], Path], wheel: Path) -> Path:
    """The folder with the programs of an environment that has the wheel and what it asks for.

    The newest of that, as a user gets it: constraints.txt is for the tests' own environment.
    """

    def install(folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
        pip_run([*pip, "install", "-qq", "--disable-pip-version-check", str(wheel)], folder)

    return once("empty", install) / "bin"


def test_serve_takes_a_file_and_gives_it_back(programs: Path, tmp_path: Path) -> None:
    serve = [str(programs / "kinto-attachment"), "serve", "--port", "0"]

    with processes.answering(serve, tmp_path) as origin:
        form = {"attachment": ("letter.txt", b"Dear Bob", "text/plain")}
        url = origin + ATTACHMENT
        sent = requests.post(url, files=form, auth=ALICE, timeout=30)
        read = requests.get(url, auth=ALICE, timeout=30)

    assert sent.status_code == 201, sent.text
    assert sent.json()["filename"] == "letter.txt"
    assert (read.status_code, read.content) == (200, b"Dear Bob")


def test_the_page_to_try_it_on_has_all_its_files(programs: Path, tmp_path: Path) -> None:
    serve = [str(programs / "kinto-attachment"), "serve", "--port", "0"]

    with processes.answering(serve, tmp_path) as origin:
        page = requests.get(f"{origin}/v1/attachments/", timeout=30)
        scripts = ("api.js", "demo.js", "send.js", "tus.js", "unfinished.js")
        names = (*scripts, "demo.css", "icon.svg")
        files = [requests.get(f"{page.url}{name}", timeout=30) for name in names]

    assert [file.status_code for file in (page, *files)] == [200] * 8


def test_it_is_the_wheel_alone_that_runs(programs: Path, tmp_path: Path) -> None:
    look = """
import importlib.metadata, importlib.util
print(importlib.util.find_spec("kinto_attachment").origin)
print(*(found.name.lower() for found in importlib.metadata.distributions()))
"""
    done = processes.run([str(programs / "python"), "-c", look], tmp_path)

    origin, installed = done.stdout.splitlines()
    assert Path(origin).is_relative_to(programs.parent)
    assert "kinto" in installed.split()
    assert not {"pytest", "boto3", "webtest"} & set(installed.split())
