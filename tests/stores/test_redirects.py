"""Downloads from a store that signs URLs: a redirect, unless the operator wants a proxy."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support import parts, storage_parts
from tests.support.parts import ATTACHMENT, sha256
from tests.support.storage_parts import Gate

MakeServer = Callable[..., parts.Server]


@pytest.fixture
def owner(make_remote_server: MakeServer, s3_url: str, bucket: str) -> parts.Client:
    settings = storage_parts.s3_settings(s3_url, bucket, extensions="any")
    owner = make_remote_server(settings).as_user()
    owner.upload(content=b"0123456789", filename="日本.html", mimetype=None, status=201)
    return owner


def test_get_is_redirected_to_a_url_that_opens_the_file_under_its_name(
    owner: parts.Client, s3_url: str
) -> None:
    answer = owner.get(ATTACHMENT, 302)

    assert answer.headers["Cache-Control"] == "private, no-cache"
    url = answer.headers["Location"]
    assert url.startswith(s3_url)
    assert "X-Amz-Expires=300" in url
    found = requests.get(url, headers={"Range": "bytes=2-4"})
    assert (found.status_code, found.content) == (206, b"234")
    assert "%E6%97%A5%E6%9C%AC.html" in found.headers["Content-Disposition"]
    assert found.headers["Content-Disposition"].startswith("attachment")


def test_head_is_answered_by_the_plugin_since_the_url_is_good_for_get_alone(
    owner: parts.Client,
) -> None:
    answer = owner.request("HEAD", ATTACHMENT, 200)

    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["ETag"] == f'"{sha256(b"0123456789")}"'


def test_an_unchanged_file_is_304_and_not_a_redirect(owner: parts.Client) -> None:
    etag = f'"{sha256(b"0123456789")}"'

    assert owner.get(ATTACHMENT, 304, If_None_Match=etag).headers["ETag"] == etag
    owner.get(ATTACHMENT, 302, If_None_Match='"another"')


def test_a_signed_link_is_redirected_too(owner: parts.Client, s3_url: str) -> None:
    url = owner.json("post", f"{ATTACHMENT}/link").json["data"]["url"]
    path = url.removeprefix("https://localhost/v1")

    answer = owner.server.as_user(None).get(path, 302)

    assert requests.get(answer.headers["Location"]).content == b"0123456789"


def test_a_store_that_can_not_sign_is_a_proxy(
    make_remote_server: MakeServer, google_bucket: str
) -> None:
    owner = make_remote_server(storage_parts.gcs_settings(google_bucket)).as_user()
    owner.upload(content=b"picture", status=201)

    assert owner.get(ATTACHMENT, 200).body == b"picture"


@pytest.mark.parametrize("private", ["true", "false"])
@pytest.mark.parametrize("size", [7, 9_000_000])
def test_a_private_file_gets_no_acl(
    make_remote_server: MakeServer,
    gated: tuple[str, Gate],
    gate: Gate,
    bucket: str,
    private: str,
    size: int,
) -> None:
    more = {"aws.acl": "public-read", "private": private}
    owner = make_remote_server(storage_parts.s3_settings(gated[0], bucket, **more)).as_user()

    owner.upload(content=bytes(size), status=201)

    sent = [headers.get("x-amz-acl") for _, headers in gate.seen]
    assert ("public-read" in sent) == (private == "false")


@pytest.mark.parametrize(
    ("headers", "operations"),
    [
        ({}, ["HEAD", "GET"]),
        ({"Range": "bytes=2-4"}, ["HEAD", "GET"]),
        ({"Range": "bytes=99-"}, ["HEAD"]),
        ({"If_None_Match": f'"{sha256(b"0123456789")}"'}, ["HEAD"]),
    ],
)
def test_the_proxy_opens_a_file_at_most_once(
    make_remote_server: MakeServer,
    gated: tuple[str, Gate],
    gate: Gate,
    bucket: str,
    headers: dict[str, str],
    operations: list[str],
) -> None:
    settings = storage_parts.s3_settings(gated[0], bucket, download="proxy")
    owner = make_remote_server(settings).as_user()
    owner.upload(content=b"0123456789", status=201)
    gate.reset()

    owner.get(ATTACHMENT, "*", **headers)

    assert [operation for operation, _ in gate.seen] == operations


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"accel_redirect": "/files/"}, "nginx serves local files only"),
        ({"private": "true", "backend": "tests.stores.third_parties.Shelf"}, "read files back"),
    ],
)
def test_what_a_store_can_not_do_stops_the_start(
    make_remote_server: MakeServer, s3_url: str, bucket: str, more: Any, sentence: str
) -> None:
    from pyramid.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError, match=sentence):
        make_remote_server(storage_parts.s3_settings(s3_url, bucket, **more))
