"""The examples of uploads in several requests, as they are written; those of pages are in
``tests/clients/``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.docs.test_documents import ORIGIN, PHOTO, Reader
from tests.support import parts, processes
from tests.support.documents import ALICE, RECORD, example, ini
from tests.support.processes import Kinto


@pytest.fixture(scope="module")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    folder = tmp_path_factory.mktemp("kinto")
    settings = processes.basic_settings(folder, parts.MEMORY)
    with processes.running_kinto(
        folder, settings | ini(example("uploads-settings"), folder)
    ) as run:
        yield run


@pytest.fixture
def reader(kinto: Kinto, tmp_path: Path) -> Reader:
    requests.delete(f"{kinto.url}/buckets", auth=ALICE)
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    return Reader(kinto, tmp_path)


def test_the_capability_is_asked(reader: Reader) -> None:
    assert '"tus"' in reader.types(example("ask-for-uploads"))


@pytest.mark.parametrize(
    ("begin", "go_on"),
    [
        pytest.param(example("tus-begin"), example("tus-go-on"), id="tus"),
        pytest.param(example("draft-begin"), example("draft-go-on"), id="draft"),
    ],
)
def test_curl_begins_an_upload_and_goes_on_with_it(reader: Reader, begin: str, go_on: str) -> None:
    reader.types(f"{begin}\necho $UPLOAD > upload.txt")
    assert requests.get(f"{reader.kinto.url}{RECORD}", auth=ALICE).status_code in (403, 404)

    said = reader.types(f"TUS='Tus-Resumable: 1.0.0'\nUPLOAD=$(cat upload.txt)\n{tus_type(go_on)}")

    assert json.loads(said) == reader.record()["attachment"]
    reader.has_attached()


def tus_type(script: str) -> str:
    return f"BYTES='Content-Type: application/offset+octet-stream'\n{script}"


def test_tuspy_uploads_and_forgets_it_then(reader: Reader) -> None:
    script = example("tuspy").replace(ORIGIN, reader.kinto.origin)
    cut = script.replace("8 * 1024 * 1024", "2000").replace(".upload()", ".upload(stop_at=2000)")
    broken = cut[: cut.index("uploader.url_storage")]
    for program in (broken, script):
        done = processes.run([sys.executable, "-c", program], reader.folder)
        assert done.returncode == 0, done.stderr

    reader.has_attached()
    assert requests.get(f"{reader.kinto.url}{RECORD}", auth=ALICE).json()["data"]["attachment"]
    notes = json.loads((reader.folder / "first.json").read_text() or "{}")
    assert [row for rows in notes.values() for row in rows] == []
