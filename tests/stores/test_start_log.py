"""What a server's log says at the start of files and where they go."""

import logging
from pathlib import Path
from typing import Any

import pytest
from pyramid.config import Configurator

from kinto_attachment import settings
from kinto_attachment.storage import start_log
from kinto_attachment.storage.choice import choose

S3 = {"aws.bucket_name": "pictures"}
GOOGLE = {"gcloud.bucket_name": "pictures"}
AT_S3 = "https://pictures.s3.eu-west-3.amazonaws.com/"
AT_GOOGLE = "https://storage.googleapis.com/pictures/"


def told(caplog: pytest.LogCaptureFixture, written: dict[str, Any]) -> dict[str, list[str]]:
    """Messages by level, of a start with these settings, ``attachment.`` left out."""
    raw = {f"attachment.{name}": value for name, value in written.items()}
    with caplog.at_level(logging.INFO, logger=start_log.__name__):
        choose(Configurator(settings=raw), settings.parse(raw))
    found: dict[str, list[str]] = {"INFO": [], "WARNING": []}
    for record in caplog.records:
        if record.name == start_log.__name__:
            found[record.levelname].append(record.getMessage())
    return found


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ({"base_path": "{tmp}"}, "the directory {tmp}"),
        ({"base_path": "{tmp}", "backend": "pyramid_storage.local"}, "the directory {tmp}"),
        (S3, "the S3 bucket pictures"),
        (GOOGLE, "Google's bucket pictures"),
        ({"backend": "tests.stores.third_parties.Shelf"}, "tests.stores.third_parties.Shelf"),
    ],
)
@pytest.mark.parametrize(
    ("url", "who"),
    [
        ({}, "by the plugin"),
        ({"base_url": "https://cdn.org"}, "at https://cdn.org/"),
        ({"base_url": ""}, "elsewhere, by their bare keys"),
        ({"extra.base_url": "https://cdn.org"}, "elsewhere, by their bare keys"),
    ],
)
def test_the_store_is_named_and_who_serves_its_files(
    written: dict[str, str],
    place: str,
    url: dict[str, str],
    who: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    filled = {name: value.format(tmp=tmp_path) for name, value in written.items()}

    said = told(caplog, {**filled, **url})

    (line,) = said["INFO"]
    assert line.endswith(f", and served {who}.")
    assert place.format(tmp=tmp_path) in line
    assert said["WARNING"] == []


def test_a_secret_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = {"aws.endpoint_url": "https://hidden.example.org", "aws.secret_key": "hunter2"}

    said = str(told(caplog, {**S3, **endpoint, "aws.access_key": "AKIA"}))

    assert not any(secret in said for secret in ("hidden", "hunter2", "AKIA"))


def test_the_demo_page_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (line,) = told(caplog, {"base_path": str(tmp_path), "demo": "true"})["WARNING"]

    assert "kinto.attachment.demo = true" in line
    assert "remove" in line


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ({**S3, "base_url": AT_S3}, "aws.acl = public-read"),
        ({**S3, "extra.base_url": AT_S3}, "aws.acl = public-read"),
        (
            {
                **S3,
                "aws.endpoint_url": "https://s3.example.org",
                "base_url": "https://s3.example.org/p",
            },
            "aws.acl = public-read",
        ),
        ({**GOOGLE, "base_url": AT_GOOGLE}, "gcloud.acl = publicRead"),
        ({**GOOGLE, "extra.base_url": AT_GOOGLE}, "gcloud.acl = publicRead"),
        (
            {**GOOGLE, "base_url": "https://pictures.storage.googleapis.com/"},
            "gcloud.acl = publicRead",
        ),
    ],
)
def test_files_that_are_no_longer_made_public_are_told(
    written: dict[str, str], advice: str, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = told(caplog, written)["WARNING"]

    assert advice in line


@pytest.mark.parametrize(
    "written",
    [
        S3,
        {**S3, "base_url": "https://cdn.example.org/"},
        {**S3, "base_url": "https://notamazonaws.com/"},
        {**S3, "base_url": AT_S3, "aws.acl": "public-read"},
        {**S3, "base_url": AT_S3, "aws.acl": ""},
        GOOGLE,
        {**GOOGLE, "base_url": "https://cdn.example.org/"},
        {**GOOGLE, "base_url": AT_GOOGLE, "gcloud.acl": "publicRead"},
        {**GOOGLE, "base_url": AT_GOOGLE, "gcloud.acl": ""},
        {**GOOGLE, "base_url": AT_GOOGLE, "gcloud.uniform_bucket_level_access": "true"},
    ],
)
def test_nothing_is_told_where_acls_are_settled_or_do_not_matter(
    written: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    assert told(caplog, written)["WARNING"] == []
