"""URLs that are signed for Amazon's S3 name the host of the bucket's own region."""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from kinto_attachment.storage.s3 import S3FileStorage
from tests.support import parts
from tests.support.parts import ATTACHMENT
from tests.support.storage_parts import s3_settings

NO_REGION = "kinto.attachment.aws.region is not set"


def storage(**given: str) -> S3FileStorage:
    keys = {"aws.access_key": "AKIDEXAMPLE", "aws.secret_key": "secret"}
    more = {name.replace("__", "."): value for name, value in given.items()}
    return S3FileStorage.from_settings({"aws.bucket_name": "files", **keys, **more}, "")


@pytest.mark.parametrize("region", ["eu-west-3", "us-east-1", "us-gov-west-1", "ap-southeast-5"])
@pytest.mark.parametrize(
    ("bucket", "style", "expected"),
    [
        ("kinto-files", "", "https://kinto-files.s3.{}.amazonaws.com/a%20b.txt"),
        ("kinto-files", "false", "https://kinto-files.s3.{}.amazonaws.com/a%20b.txt"),
        ("kinto-files", "true", "https://s3.{}.amazonaws.com/kinto-files/a%20b.txt"),
        # No certificate of Amazon's has dots in front.
        ("kinto.files", "", "https://s3.{}.amazonaws.com/kinto.files/a%20b.txt"),
    ],
)
def test_a_url_is_signed_for_the_host_of_the_region(
    region: str, bucket: str, style: str, expected: str
) -> None:
    store = storage(aws__bucket_name=bucket, aws__region=region, aws__use_path_style=style)

    url = urlsplit(str(store.presigned_url("a b.txt", "a.txt", "text/plain", 300)))

    assert f"{url.scheme}://{url.netloc}{url.path}" == expected.format(region)
    assert f"%2F{region}%2Fs3" in url.query
    store.close()


def test_the_start_says_it_where_the_region_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        storage()
    assert NO_REGION in caplog.text


@pytest.mark.parametrize("given", ["setting", "environment", "endpoint"])
def test_nothing_is_said_where_the_region_is_known_or_means_nothing(
    given: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given == "environment":
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    named = {"setting": {"aws__region": "eu-west-3"}, "environment": {}}
    with caplog.at_level(logging.WARNING):
        storage(**named.get(given, {"aws__endpoint_url": "http://127.0.0.1:1"}))
    assert caplog.text == ""


def test_a_store_that_is_not_amazons_keeps_its_bucket_in_the_path(
    make_remote_server: Callable[..., parts.Server], s3_url: str, bucket: str
) -> None:
    owner = make_remote_server(s3_settings(s3_url, bucket)).as_user()
    owner.upload(content=b"0123456789", status=201)

    assert owner.get(ATTACHMENT, 302).headers["Location"].startswith(f"{s3_url}/{bucket}/")
