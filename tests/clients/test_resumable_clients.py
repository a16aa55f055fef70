"""Every client that uploads in several requests, on every kind of server."""

from collections.abc import Callable, Iterator

import pytest

from tests.clients.resumable import CONTENT, Uploads, taking_uploads


@pytest.fixture(scope="module", params=["waitress", "gunicorn", "granian"])
def uploads(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Uploads]:
    with taking_uploads(request.param, tmp_path_factory.mktemp("kinto")) as running:
        yield running


def test_the_line_breaks_and_the_client_goes_on(
    uploads: Uploads, upload: Callable[[int], None]
) -> None:
    uploads.line.break_after(len(CONTENT) // 2)

    upload(len(CONTENT))

    assert uploads.line.was_broken()
    uploads.assert_has(CONTENT)


def test_the_last_answer_is_lost_and_the_client_notices_that_all_is_there(
    uploads: Uploads, upload: Callable[[int], None]
) -> None:
    uploads.line.lose_answer("PATCH", 3)

    upload(len(CONTENT))

    assert uploads.line.was_broken()
    uploads.assert_has(CONTENT)


def test_an_empty_file_comes(uploads: Uploads, upload: Callable[[int], None]) -> None:
    upload(0)

    uploads.assert_has(b"")
