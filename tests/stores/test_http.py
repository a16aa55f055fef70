"""Files in a store behind a network, over HTTP."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from kinto_attachment.storage.s3.streams import SMALLEST
from kinto_attachment.testing import LARGE, noise
from tests.support import parts, storage_parts
from tests.support.parts import ATTACHMENT, RECORD, every_backend, sha256
from tests.support.storage_parts import ACCESS_KEY, SECRET_KEY, Gate

MakeServer = Callable[..., parts.Server]


@pytest.fixture(params=["s3", "gcloud"])
def remote(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of each store."""
    if request.param == "s3":
        url, bucket = (request.getfixturevalue(name) for name in ("s3_url", "bucket"))
        return storage_parts.s3_settings(url, bucket, download="proxy")
    return storage_parts.gcs_settings(request.getfixturevalue("google_bucket"))


@pytest.fixture
def s3_behind_gate(bucket: str, gated: tuple[str, Gate], gate: Gate) -> dict[str, Any]:
    more = {"aws.num_retries": "0", "aws.timeout": "5", "download": "proxy"}
    return storage_parts.s3_settings(gated[0], bucket, **more)


@every_backend()
def test_a_file_is_uploaded_read_replaced_and_deleted(
    make_remote_server: MakeServer, remote: dict[str, Any]
) -> None:
    server = make_remote_server(remote)
    owner = server.as_user()

    first = owner.upload(content=noise(LARGE), status=201)
    assert first.json["hash"] == sha256(noise(LARGE))
    assert owner.get(ATTACHMENT, status=200).body == noise(LARGE)
    server.assert_agreement()
    owner.upload(content=b"new", status=200)
    assert owner.get(ATTACHMENT, status=200).body == b"new"
    server.assert_agreement()
    owner.delete(ATTACHMENT, status=204)
    assert server.stored_keys() == set()


def test_the_length_of_a_body_tells_how_large_the_parts_of_its_file_are(
    make_remote_server: MakeServer, s3_behind_gate: dict[str, Any], gate: Gate
) -> None:
    owner = make_remote_server(s3_behind_gate).as_user()

    said = owner.upload(content=noise(2 * SMALLEST + 5), status=201).json

    assert said["hash"] == sha256(noise(2 * SMALLEST + 5))
    sizes = [int(h["content-length"]) for seen, h in gate.seen if seen.startswith("PUT part")]
    assert sorted(sizes) == [5, SMALLEST, SMALLEST]


def test_the_location_is_the_plugins_own_where_there_is_no_base_url(
    make_remote_server: MakeServer, remote: dict[str, Any]
) -> None:
    owner = make_remote_server(remote).as_user()
    location = owner.upload(content=b"picture", status=201).json["location"]

    assert location.startswith(f"{ATTACHMENT[1:]}?file=")
    assert owner.get(f"/{location}", status=200).body == b"picture"


def test_the_location_is_the_stores_where_there_is_a_base_url(
    make_remote_server: MakeServer, remote: dict[str, Any]
) -> None:
    base_url = "https://cdn.example.org/files/"
    server = make_remote_server({**remote, "kinto.attachment.base_url": base_url})
    location = server.as_user().upload(status=201).json["location"]

    assert server.stored_keys() == {location.removeprefix(base_url)}


def test_a_part_of_a_file_can_be_read(
    make_remote_server: MakeServer, remote: dict[str, Any]
) -> None:
    owner = make_remote_server(remote).as_user()
    owner.upload(content=b"0123456789", status=201)

    assert owner.get(ATTACHMENT, status=206, Range="bytes=2-4").body == b"234"
    assert owner.get(ATTACHMENT, status=206, Range="bytes=-1").body == b"9"
    owner.get(ATTACHMENT, status=416, Range="bytes=10-")
    owner.request("HEAD", ATTACHMENT, status=200)


@pytest.mark.parametrize("size", [7, LARGE])
def test_a_refused_upload_leaves_nothing(
    make_remote_server: MakeServer, remote: dict[str, Any], size: int
) -> None:
    server = make_remote_server(remote)
    owner = server.as_user()
    digest = f"sha-256=:{'A' * 43}=:"
    owner.upload(content=noise(size), status=400, Repr_Digest=digest)

    assert server.stored_keys() == set()
    owner.get(RECORD, status=404)


def test_two_servers_on_one_store_see_each_others_files(
    make_remote_server: MakeServer, remote: dict[str, Any], postgresql: str
) -> None:
    database = parts.postgresql_settings(postgresql)
    first = make_remote_server({**remote, **database})
    second = make_remote_server({**remote, **database})
    one, other = first.as_user(), second.as_user()

    one.upload(content=b"old", status=201)
    assert other.get(ATTACHMENT, status=200).body == b"old"
    other.upload(content=b"new", status=200)
    assert one.get(ATTACHMENT, status=200).body == b"new"
    one.delete(ATTACHMENT, status=204)
    assert second.stored_keys() == set()


def test_the_heartbeat_tells_whether_the_store_works(
    make_remote_server: MakeServer, s3_behind_gate: dict[str, Any], gate: Gate
) -> None:
    owner = make_remote_server(s3_behind_gate).as_user()
    assert owner.get("/__heartbeat__", status=200).json["attachments"] is True

    gate.answer = lambda *_: (403, "InvalidAccessKeyId")
    assert owner.get("/__heartbeat__", status=503).json["attachments"] is False


@pytest.mark.parametrize(
    ("status", "code", "answered"),
    [
        (403, "InvalidAccessKeyId", 503),
        (404, "NoSuchBucket", 503),
        (503, "SlowDown", 503),
        (507, "XMinioStorageFull", 507),
    ],
)
def test_a_failing_store_answers_with_retry_after_and_nothing_is_lost(
    make_remote_server: MakeServer,
    s3_behind_gate: dict[str, Any],
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: str,
    answered: int,
) -> None:
    caplog.set_level(logging.INFO)
    server = make_remote_server(s3_behind_gate)
    owner = server.as_user()
    owner.upload(content=b"old", status=201)
    before = owner.get(RECORD).json

    gate.answer = lambda *_: (status, code)
    failed = [owner.upload(content=c, status=answered) for c in (b"new", noise(LARGE))]
    failed.append(owner.get(ATTACHMENT, status="5*"))
    gate.answer = lambda *_: None

    assert all(answer.headers["Retry-After"] for answer in failed)
    assert owner.get(RECORD).json == before
    assert owner.get(ATTACHMENT, status=200).body == b"old"
    server.assert_agreement()
    said = caplog.text + "".join(answer.text for answer in failed)
    assert SECRET_KEY not in said
    assert ACCESS_KEY not in said


@pytest.mark.parametrize("unreachable", ["port_without_server", "server_that_never_answers"])
def test_a_store_that_is_away_stops_no_start(
    make_remote_server: MakeServer, unreachable: str
) -> None:
    more = {"aws.num_retries": "0", "aws.timeout": "0.2"}
    with getattr(storage_parts, unreachable)() as url:
        settings = storage_parts.s3_settings(url, "bucket", **more)
        owner = make_remote_server(settings).as_user()

        assert owner.get("/__heartbeat__", status=503).json["attachments"] is False
        assert owner.upload(status=503).headers["Retry-After"]
        owner.get(RECORD, status=404)


@pytest.mark.parametrize("size", [7, LARGE])
def test_a_store_that_does_not_answer_is_asked_once_and_not_to_clear_up(
    make_remote_server: MakeServer, size: int
) -> None:
    more = {"aws.num_retries": "0", "aws.timeout": "0.2"}
    with storage_parts.server_that_never_answers() as url:
        settings = storage_parts.s3_settings(url, "bucket", **more)
        owner = make_remote_server(settings).as_user()

        owner.upload(content=noise(size), status=503)

        assert storage_parts.connections_to(url) == 1


def test_secrets_of_the_settings_are_shown_nowhere(
    make_remote_server: MakeServer, s3_behind_gate: dict[str, Any]
) -> None:
    registry = make_remote_server(s3_behind_gate).registry

    for shown in (registry.attachments, registry.attachments.settings):
        assert SECRET_KEY not in repr(shown)
        assert ACCESS_KEY not in repr(shown)
