"""Which store a server gets, and what is said where it can't be told."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid_storage.interfaces import IFileStorage
from pyramid_storage.local import LocalFileStorage as PyramidLocalFileStorage

from kinto_attachment import settings
from kinto_attachment.storage.choice import choose
from kinto_attachment.storage.gcloud import GoogleCloudStorage
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.storage.thirdparty import ThirdPartyStorage
from tests.stores.third_parties import Shelf


def chosen(written: dict[str, Any], *included: str) -> Any:
    """The store of a server with these settings, ``attachment.`` left out."""
    raw = {k if "storage." in k else f"attachment.{k}": v for k, v in written.items()}
    config = Configurator(settings=raw)
    for name in included:
        config.include(name)
    storage = choose(config, settings.parse(raw))
    backend = getattr(storage, "backend", storage)
    assert config.registry.queryUtility(IFileStorage) is backend
    config.commit()
    return storage


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"base_path": "{tmp}"}, LocalFileStorage),
        ({"aws.bucket_name": "bucket"}, S3FileStorage),
        ({"aws.bucket": "bucket"}, S3FileStorage),
        ({"gcloud.bucket_name": "bucket"}, GoogleCloudStorage),
    ],
)
def test_the_store_follows_from_the_settings(
    tmp_path: Path, written: dict[str, str], expected: type
) -> None:
    written = {k: v.format(tmp=tmp_path) for k, v in written.items()}

    assert type(chosen(written)) is expected


@pytest.mark.parametrize(
    ("backend", "expected"),
    [
        ("pyramid_storage.local", LocalFileStorage),
        ("pyramid_storage.local.LocalFileStorage", LocalFileStorage),
        ("pyramid_storage.s3.S3FileStorage", S3FileStorage),
        ("kinto_attachment.storage.s3.S3FileStorage", S3FileStorage),
        ("pyramid_storage.gcloud", GoogleCloudStorage),
    ],
)
def test_pyramid_storages_own_backends_stand_for_ours(
    tmp_path: Path, backend: str, expected: type
) -> None:
    names = {"base_path": str(tmp_path), "aws.bucket_name": "b", "gcloud.bucket_name": "b"}

    assert type(chosen({**names, "backend": backend})) is expected


def test_a_class_of_a_third_party_is_adapted_and_reads_our_settings_as_storages() -> None:
    storage = chosen(
        {"backend": "tests.stores.third_parties.Shelf", "base_url": "https://cdn.example.org/"}
    )

    assert isinstance(storage, ThirdPartyStorage)
    assert isinstance(storage.backend, Shelf)
    assert storage.url("a") == "https://cdn.example.org/a"


def test_settings_of_pyramid_storage_come_before_ours() -> None:
    storage = chosen(
        {
            "backend": "tests.stores.third_parties.Shelf",
            "base_url": "https://ours.example.org/",
            "storage.base_url": "https://theirs.example.org/",
        }
    )

    assert storage.url("a") == "https://theirs.example.org/a"


def test_a_module_of_a_third_party_registers_itself(tmp_path: Path) -> None:
    storage = chosen({"backend": "tests.stores.third_parties", "storage.base_path": str(tmp_path)})

    assert type(storage.backend) is PyramidLocalFileStorage


def test_a_backend_that_was_included_before_wins(tmp_path: Path) -> None:
    storage = chosen(
        {"aws.bucket_name": "bucket", "storage.base_path": str(tmp_path)}, "pyramid_storage.local"
    )

    assert type(storage.backend) is PyramidLocalFileStorage


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "kinto.attachment.base_path is missing: write the directory"),
        (
            {"base_path": "/srv", "aws.bucket_name": "b"},
            "kinto.attachment.base_path = /srv: aws.bucket_name would be another store",
        ),
        (
            {"backend": "pyramid_storage.s3"},
            "kinto.attachment.aws.bucket_name is missing: kinto.attachment.backend ="
            " pyramid_storage.s3 asks for it",
        ),
        (
            {"backend": "no.such.module"},
            "kinto.attachment.backend = no.such.module: it can't be imported",
        ),
        (
            {"backend": "tests.stores.third_parties.NotABackend"},
            "NotABackend: it has neither from_settings nor includeme",
        ),
        ({"backend": "pathlib.Path"}, "pathlib.Path: it has neither"),
        (
            {"backend": "tests.stores.third_parties.Shelf", "resources.x.private": "true"},
            "kinto.attachment.resources.x.private = true: the backend can't read files back",
        ),
        (
            {"backend": "tests.stores.registers_nothing"},
            "kinto.attachment.backend = tests.stores.registers_nothing: its includeme registers"
            " no store",
        ),
        (
            {"backend": "kinto_attachment"},
            "kinto.attachment.backend = kinto_attachment: its includeme registers no store",
        ),
    ],
)
def test_a_choice_that_can_not_be_made_stops_the_start(written: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        chosen(written)

    assert said in str(caught.value)
    assert str(caught.value).endswith(".")


SCRIPT = """
import sys
sys.modules[{module!r}] = None  # As if it was not installed.
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from kinto_attachment import settings
from kinto_attachment.storage.choice import choose
raw = {{{setting!r}: "bucket"}}
try:
    choose(Configurator(settings=raw), settings.parse(raw))
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "setting", "said"),
    [
        (
            "boto3",
            "aws.bucket_name",
            "kinto.attachment.aws.bucket_name = bucket: boto3 is missing; install"
            " kinto-attachment[s3].",
        ),
        (
            "google.cloud.storage",
            "gcloud.bucket_name",
            "kinto.attachment.gcloud.bucket_name = bucket: google-cloud-storage is missing;"
            " install kinto-attachment[gcloud].",
        ),
    ],
)
def test_a_missing_library_names_the_extra_to_install(
    module: str, setting: str, said: str
) -> None:
    script = SCRIPT.format(module=module, setting=f"attachment.{setting}")
    found = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True
    )

    assert found.stdout == f"{said}\n", found.stderr
