"""Every store fulfils the contract."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from pyramid_storage.local import LocalFileStorage as PyramidLocalFileStorage

from kinto_attachment.storage import Store
from kinto_attachment.storage.gcloud import GoogleCloudStorage
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.storage.thirdparty import ThirdPartyStorage
from kinto_attachment.testing import StoreContract
from tests.stores.memory import MemoryStorage


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStorage:
        return MemoryStorage()


class TestLocal(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalFileStorage:
        return LocalFileStorage(str(tmp_path / "files"))


class TestS3(StoreContract):
    @pytest.fixture
    def store(self, make_s3: Callable[..., S3FileStorage], s3_url: str) -> S3FileStorage:
        return make_s3(endpoint_url=s3_url)

    def long_ago(self) -> float:
        return datetime(2010, 1, 1).timestamp()  # moto begins all uploads in November 2010.


class TestGoogle(StoreContract):
    @pytest.fixture
    def store(self, google_storage: GoogleCloudStorage) -> GoogleCloudStorage:
        return google_storage


class TestPyramidLocal(StoreContract):
    """pyramid_storage's own class: it can't be read or listed, but its directory can."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> ThirdPartyStorage:
        return ThirdPartyStorage(PyramidLocalFileStorage(str(tmp_path), "https://x.example.org/"))

    def content(self, store: Store, key: str) -> bytes:
        return (self._folder(store) / key).read_bytes()

    def listing(self, store: Store) -> set[str]:
        folder = self._folder(store)
        return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}

    @staticmethod
    def _folder(store: Store) -> Path:
        assert isinstance(store, ThirdPartyStorage)
        return Path(store.backend.base_path)
