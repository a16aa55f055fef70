"""Every client that uploads in several requests, on every kind of server: lines break, answers are
lost, files are empty."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.clients import upload_clients as clients
from tests.clients.resumable import CONTENT, Uploads, taking_uploads

Upload = Callable[[str], None]
"""Uploads to a record, and raises where it does not end well."""

SCRIPTS = {
    "tus-js": clients.uploading("first"),
    "draft-js": clients.uploading("first", clients.BY_DRAFT),
    "uppy": clients.uploading_with_uppy("first"),
}
IN_PAGES = ("tus-js", "draft-js", "uppy")
EVERY = [
    "tuspy", "tuspy-checksum", "tuspy-async", "draft-8", "draft-6",
    "node-tus-js", "node-draft-js", "page-tus-js", "page-draft-js", "page-uppy",
]  # fmt: skip


@pytest.fixture(scope="module", params=["waitress", "gunicorn", "granian"])
def uploads(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Uploads]:
    with taking_uploads(request.param, tmp_path_factory.mktemp("kinto")) as running:
        yield running


@pytest.fixture(scope="module")
def page(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("bundle")
    with clients.page_of_another_origin(chromium, folder) as page:
        yield page


@pytest.fixture(params=EVERY)
def upload(request: pytest.FixtureRequest, uploads: Uploads, tmp_path: Path) -> Callable[[], None]:
    """Uploads the content to the first record by a client; fails where that says so."""
    uploads.remove("first")
    kind, _, name = request.param.partition("-")
    if kind == "draft":
        return lambda: _says_201(clients.upload_by_draft(uploads, "first", name))
    if kind == "node":
        return lambda: _succeeds(clients.in_node(uploads, tmp_path, SCRIPTS[name]))
    if kind == "page":
        page = request.getfixturevalue("page")
        return lambda: _succeeds(clients.in_page(uploads, page, SCRIPTS[name]))
    make = clients.tuspy_async if name == "async" else clients.tuspy
    return lambda: clients.run(make(uploads, "first", upload_checksum=name == "checksum"))


def _says_201(answer: Any) -> None:
    assert (answer.status, answer.headers["upload-complete"]) == (201, "?1")


def _succeeds(said: Any) -> None:
    assert said["ended"] == "success", said


def test_the_line_breaks_and_the_client_goes_on(
    uploads: Uploads, upload: Callable[[], None]
) -> None:
    uploads.line.break_after(len(CONTENT) // 2)

    upload()

    assert uploads.line.was_broken()
    uploads.assert_has(CONTENT)


def test_the_last_answer_is_lost_and_the_client_notices_that_all_is_there(
    uploads: Uploads, upload: Callable[[], None]
) -> None:
    uploads.line.lose_answer("PATCH", 3)

    upload()

    assert uploads.line.was_broken()
    uploads.assert_has(CONTENT)
