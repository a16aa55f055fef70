"""Fixtures: the services, once for all tests; a bucket and a store for each."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kinto_attachment.storage.gcloud import GoogleCloudStorage
from kinto_attachment.storage.s3 import S3FileStorage
from tests.support import parts, storage_parts
from tests.support.storage_parts import Emulator, Gate

MakeS3 = Callable[..., S3FileStorage]


@pytest.fixture(scope="session")
def gated() -> Iterator[tuple[str, Gate]]:
    with storage_parts.gated_moto() as found:
        yield found


@pytest.fixture
def gate(gated: tuple[str, Gate]) -> Iterator[Gate]:
    """What stands before the S3 of :func:`make_s3`; open, and its book empty."""
    gate = gated[1]
    gate.reset()
    yield gate
    gate.reset()


@pytest.fixture
def make_s3(bucket: str, gated: tuple[str, Gate]) -> Iterator[MakeS3]:
    """A factory of stores behind the gate; settings by name, without ``aws.``."""
    made: list[S3FileStorage] = []

    def make(**more: Any) -> S3FileStorage:
        given = {
            "bucket_name": bucket,
            "endpoint_url": gated[0],
            "access_key": storage_parts.ACCESS_KEY,
            "secret_key": storage_parts.SECRET_KEY,
            "region": "us-east-1",
            "num_retries": 0,
            **more,
        }
        settings = {f"aws.{name}": value for name, value in given.items()}
        settings["store_timeout"] = storage_parts.PATIENCE
        made.append(S3FileStorage.from_settings(settings, ""))
        return made[-1]

    yield make
    for storage in made:
        storage.close()


@pytest.fixture(scope="session")
def google() -> Iterator[Emulator]:
    with storage_parts.google_emulator() as emulator:
        yield emulator


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


@pytest.fixture
def google_bucket(google: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, in an emulator that Google's library finds."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
    yield google.make_bucket()
    google.interferes = lambda *_: None


@pytest.fixture
def google_storage(google_bucket: str) -> Iterator[GoogleCloudStorage]:
    storage = GoogleCloudStorage.from_settings(
        {"gcloud.bucket_name": google_bucket, "store_timeout": storage_parts.PATIENCE}, ""
    )
    yield storage
    storage.close()


@pytest.fixture
def make_remote_server(backend: dict[str, str]) -> Iterator[Callable[..., parts.Server]]:
    """A factory of applications whose files lie elsewhere than on this disk."""
    made: list[parts.Server] = []

    def make(own: dict[str, Any]) -> parts.Server:
        made.append(parts.Server({**parts.SETTINGS, **backend, **own}))
        if len(made) == 1:
            made[0].forget_records()
        made[-1].as_user().make_collection()
        return made[-1]

    yield make
    for server in made:
        server.close()
