"""Fixtures: a real Chromium, servers of both kinds, and clients of uploads in several requests."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.clients import upload_clients
from tests.clients.pages import Elsewhere, elsewhere
from tests.clients.resumable import Uploads
from tests.clients.servers import KINDS, PATIENCE, SETTINGS
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


@pytest.fixture(scope="module")
def upload_page(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of another origin that has tus-js-client and Uppy, as sites bundle them."""
    folder = tmp_path_factory.mktemp("bundle")
    with upload_clients.page_of_another_origin(chromium, folder) as page:
        yield page


@pytest.fixture(params=upload_clients.EVERY)
def upload(
    request: pytest.FixtureRequest, uploads: Uploads, tmp_path: Path
) -> Callable[[int], None]:
    """Attaches the first so many bytes to the first record by a client; fails where the client
    tells that it did not succeed. ``uploads`` is each module's own."""
    uploads.remove("first")
    kind, _, name = request.param.partition("-")
    page = request.getfixturevalue("upload_page") if kind == "page" else None
    return upload_clients.uploading_by(kind, name, uploads, tmp_path, page)
