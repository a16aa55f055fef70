"""Every store fulfils the contract."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from pyramid_storage.local import LocalFileStorage as PyramidLocalFileStorage

from kinto_attachment.storage import Storage
from kinto_attachment.storage.gcloud import GoogleCloudStorage
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.storage.thirdparty import ThirdPartyStorage
from kinto_attachment.testing import StorageContract
from tests.storage.memory import MemoryStorage


class TestMemory(StorageContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()


class TestLocal(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalFileStorage:
        return LocalFileStorage(str(tmp_path / "files"))


class TestS3(StorageContract):
    @pytest.fixture
    def storage(self, make_s3: Callable[..., S3FileStorage], s3_url: str) -> S3FileStorage:
        return make_s3(endpoint_url=s3_url)

    def long_ago(self) -> float:
        return datetime(2010, 1, 1).timestamp()  # moto begins all uploads in November 2010.


class TestGoogle(StorageContract):
    @pytest.fixture
    def storage(self, google_storage: GoogleCloudStorage) -> GoogleCloudStorage:
        return google_storage


class TestPyramidLocal(StorageContract):
    """pyramid_storage's own class: it can't be read or listed, but its directory can."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> ThirdPartyStorage:
        return ThirdPartyStorage(PyramidLocalFileStorage(str(tmp_path), "https://x.example.org/"))

    def content(self, storage: Storage, key: str) -> bytes:
        return (self._folder(storage) / key).read_bytes()

    def listing(self, storage: Storage) -> set[str]:
        folder = self._folder(storage)
        return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}

    @staticmethod
    def _folder(storage: Storage) -> Path:
        assert isinstance(storage, ThirdPartyStorage)
        return Path(storage.backend.base_path)
