"""Fixtures of the commands that work on a collection of a running server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.front import front
from tests.commands.syncing import SERVER_SETTINGS, Album
from tests.support import parts, processes
from tests.support.processes import Kinto


@pytest.fixture(scope="session")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    folder = tmp_path_factory.mktemp("kinto")
    settings = processes.basic_settings(folder, parts.MEMORY) | SERVER_SETTINGS
    with processes.running_kinto(folder, settings) as running:
        yield running


@pytest.fixture
def album(kinto: Kinto, tmp_path: Path) -> Iterator[Album]:
    """A collection that no other test has."""
    with front(kinto.origin) as before:
        yield Album(kinto, before, tmp_path / "files")
