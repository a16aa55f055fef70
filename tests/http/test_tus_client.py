"""tuspy, the Python client of tus, against a real server."""

import base64
import io
from typing import Any

import pytest
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed

from kinto_attachment.testing import noise
from tests.support.parts import MEMORY
from tests.support.processes import basic_settings, running_kinto

AUTH = ("owner", "secret")
RECORDS = "/buckets/default/collections/album/records"
SECRET = {"Authorization": f"Basic {base64.b64encode(':'.join(AUTH).encode()).decode()}"}
CONTENT = noise(1_000_000)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("kinto")
    settings = basic_settings(folder, MEMORY)
    settings |= {"kinto.attachment.uploads": "true", "kinto.attachment.extensions": "any"}
    with running_kinto(folder, settings) as kinto:
        yield kinto.url


def uploader(server: str, record: str, headers: dict[str, str], **options: Any) -> Any:
    client = TusClient(
        f"{server}{RECORDS}/{record}/attachment/uploads", headers={**SECRET, **headers}
    )
    named = {"metadata": {"filename": "a.bin"}, "chunk_size": 300_000, **options}
    return client.uploader(file_stream=io.BytesIO(CONTENT), **named)


@pytest.mark.parametrize("options", [{}, {"upload_checksum": True}, {"metadata": {}}], ids=str)
def test_tuspy_uploads_in_pieces_and_goes_on(url: str, options: dict[str, Any]) -> None:
    first = uploader(url, "first", {}, **options)
    first.upload(stop_at=600_000)

    again = uploader(url, "first", {}, url=first.url, **options)
    assert again.offset == 600_000
    again.upload()

    answer = requests.get(f"{url}{RECORDS}/first/attachment", auth=AUTH, timeout=30)
    assert answer.content == CONTENT


def test_tuspy_is_told_that_a_record_is_refused(url: str) -> None:
    refused = uploader(url, "second", {"If-None-Match": "*"})
    refused.upload(stop_at=900_000)
    record = f"{url}{RECORDS}/second"
    requests.put(record, json={"data": {"title": "meanwhile"}}, auth=AUTH, timeout=30)

    with pytest.raises(TusUploadFailed):
        refused.upload()

    found = requests.get(record, auth=AUTH, timeout=30).json()["data"]
    assert "attachment" not in found
    assert requests.head(refused.url, auth=AUTH, timeout=30).status_code == 410
