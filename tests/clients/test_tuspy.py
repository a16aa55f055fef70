"""tuspy: what it remembers, and what it is told."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage

from tests.clients import upload_clients as clients
from tests.clients.resumable import CONTENT, PIECE, Uploads, taking_uploads


class Kept(io.BytesIO):
    """A stream that tuspy does not close once it has looked at its beginning, and needs again;
    files that it opens by itself it never closes."""

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    with taking_uploads("gunicorn", tmp_path_factory.mktemp("kinto")) as running:
        yield running


@pytest.fixture
def uploads(running: Uploads) -> Uploads:
    for record in ("first", "second"):
        running.remove(record)
    return running


def test_it_goes_on_with_what_it_remembers_of_each_record(
    uploads: Uploads, tmp_path: Path
) -> None:
    """It knows a file by its first bytes alone, so each record has a storage of its own."""
    for record in ("first", "second"):
        storage: Any = FileStorage(str(tmp_path / record))  # type: ignore[no-untyped-call]
        remembering: dict[str, Any] = {"store_url": True, "url_storage": storage}
        begun = clients.tuspy(uploads, record, file_stream=Kept(CONTENT), **remembering)
        begun.upload(stop_at=PIECE)

        again = clients.tuspy(uploads, record, file_stream=Kept(CONTENT), **remembering)
        assert (again.url, again.offset) == (begun.url, PIECE)
        again.upload()
        storage.close()

        uploads.assert_has(CONTENT, record)


def test_a_file_that_the_record_has_no_more_is_no_success(uploads: Uploads) -> None:
    done = clients.tuspy(uploads, "first")
    done.upload()
    assert clients.tuspy(uploads, "first", url=done.url).offset == len(CONTENT)
    uploads.ask("PUT", uploads.attachment_url("first"), data=b"another").raise_for_status()

    with pytest.raises(TusCommunicationError, match="404"):
        clients.tuspy(uploads, "first", url=done.url)


def test_a_password_that_expires_meanwhile_keeps_the_upload(uploads: Uploads) -> None:
    begun = clients.tuspy(uploads, "first", retries=0)
    begun.upload(stop_at=PIECE)
    begun.client.headers["Authorization"] = "Bearer expired"
    with pytest.raises(TusCommunicationError) as refused:
        begun.upload()
    assert refused.value.status_code == 401

    again = clients.tuspy(uploads, "first", url=begun.url)

    assert again.offset == PIECE
    again.upload()
    uploads.assert_has(CONTENT)
