"""What goes wrong with a record, or on the way, is told by every client as what it is."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from tusclient.exceptions import TusCommunicationError

from tests.clients.resumable import CONTENT, Uploads, of_a_bucket, taking_uploads
from tests.support import failing_records

NEVER = 1000
"""Times that a record can't be written: more than any client tries."""
STRICT = {"type": "object", "required": ["title"]}


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    folder = tmp_path_factory.mktemp("kinto")
    shutil.copy(failing_records.__file__, folder)
    more = {
        "includes": "kinto.plugins.default_bucket kinto_attachment failing_records",
        "failing_records": str(folder / "failures"),
        "experimental_collection_schema_validation": "true",
        "attachment__max_uploads_per_user": "1000",
    }
    with taking_uploads("gunicorn", folder, **more) as running:
        yield of_a_bucket(running)


def test_a_record_that_can_be_written_soon_is_waited_for(
    uploads: Uploads, upload: Callable[[int], None]
) -> None:
    uploads.fail(2)

    upload(len(CONTENT))

    uploads.assert_has(CONTENT, alone=False)


def test_a_record_that_cannot_be_written_is_no_success(
    uploads: Uploads, upload: Callable[[int], None]
) -> None:
    uploads.fail(NEVER)
    try:
        with pytest.raises((TusCommunicationError, AssertionError), match="503"):
            upload(len(CONTENT))
    finally:
        uploads.fail(0)
    uploads.assert_has_none("first")

    upload(len(CONTENT))

    uploads.assert_has(CONTENT, alone=False)


def test_a_record_that_is_refused_is_no_success(
    uploads: Uploads, upload: Callable[[int], None]
) -> None:
    uploads.set_schema(STRICT)
    try:
        with pytest.raises((TusCommunicationError, AssertionError), match=r"400|410"):
            upload(len(CONTENT))
        uploads.assert_has_none("first")
    finally:
        uploads.set_schema({})
