"""Fixtures: a real Chromium, and servers of both kinds."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.clients.pages import Elsewhere, elsewhere
from tests.clients.servers import KINDS, SETTINGS
from tests.support.processes import Kinto
from tests.support.streaming import server

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--mute-audio",
    "--no-sandbox",  # Root, as in a container, may not have one.
]
PATIENCE = 60_000
"""Milliseconds that an element may take to appear; most take some ten."""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is not installed: what a browser does can't be tried"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=KINDS)
def kinto(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kinto]:
    """A server as clients meet it, once on waitress and once on gunicorn."""
    with server(request.param, tmp_path_factory.mktemp("kinto"), **SETTINGS) as running:
        yield running


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """An empty page of a browser that remembers nothing."""
    with chromium.new_context() as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()


@pytest.fixture
def another_origin() -> Iterator[Elsewhere]:
    """Pages that are not Kinto's."""
    with elsewhere() as running:
        yield running
