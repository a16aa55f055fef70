"""S3: what is sent, what is made of the answers, and how often."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError

from kinto_attachment import keys, settings
from kinto_attachment.storage import StoreError, StoreFull, StoreUnavailable
from kinto_attachment.storage.choice import choose
from kinto_attachment.storage.network import PART
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.testing import LARGE, new_key, noise, start, write
from tests.support import storage_parts
from tests.support.storage_parts import ACCESS_KEY, SECRET_KEY, Gate

MakeS3 = Callable[..., S3FileStorage]


def uploads_under_way(s3: Any, bucket: str) -> list[Any]:
    return s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def content_of(storage: S3FileStorage, key: str) -> bytes:
    return b"".join(storage.open(key))


def sent(gate: Gate, operation: str) -> list[dict[str, str]]:
    return [headers for seen, headers in gate.seen if seen == operation]


# What is sent


@pytest.mark.parametrize(("size", "operation"), [(7, "PUT"), (LARGE, "POST uploads")])
def test_no_acl_is_sent_unless_one_is_set(
    make_s3: MakeS3, gate: Gate, size: int, operation: str
) -> None:
    write(make_s3(), new_key(), noise(size))
    write(make_s3(acl="bucket-owner-full-control"), new_key(), noise(size))

    without, with_acl = sent(gate, operation)
    assert "x-amz-acl" not in without
    assert with_acl["x-amz-acl"] == "bucket-owner-full-control"


def test_a_configuration_of_pyramid_storage_has_no_acl_by_default() -> None:
    assert S3FileStorage.from_settings({"storage.aws.bucket_name": "b"}, "storage.").acl is None


@pytest.mark.parametrize(
    ("base_url", "private", "cached"),
    [
        ("https://cdn.org/", False, True),
        ("", False, True),
        (None, False, False),
        ("", True, False),
    ],
)
@pytest.mark.parametrize(("size", "operation"), [(7, "PUT"), (LARGE, "POST uploads")])
def test_caches_may_keep_what_is_read_in_the_store_itself_unless_it_is_private(
    gated: tuple[str, Gate],
    gate: Gate,
    bucket: str,
    size: int,
    operation: str,
    base_url: str | None,
    private: bool,
    cached: bool,
) -> None:
    written = {"aws.bucket_name": bucket, "aws.endpoint_url": gated[0], "base_url": base_url}
    access = {
        "aws.access_key": ACCESS_KEY,
        "aws.secret_key": SECRET_KEY,
        "aws.region": "us-east-1",
    }
    given = {k: v for k, v in {**written, **access}.items() if v is not None}
    config = Configurator(settings={f"attachment.{name}": value for name, value in given.items()})
    storage = choose(config, settings.parse(config.get_settings()))

    writer = storage.open_writer(new_key(), mimetype="", filename="", private=private)
    writer.write(noise(size))
    writer.close()

    (headers,) = sent(gate, operation)
    default = "public, max-age=31536000, immutable" if cached else None
    assert headers.get("cache-control") == default
    storage.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [7, LARGE])
def test_type_and_name_are_stored_with_the_file(
    make_s3: MakeS3, gate: Gate, s3: Any, bucket: str, size: int
) -> None:
    storage, key = make_s3(), new_key()
    writer = storage.open_writer(key, mimetype="text/plain", filename='日本".txt')
    writer.write(noise(size))
    writer.close()

    found = s3.head_object(Bucket=bucket, Key=key)
    assert found["ContentType"] == "text/plain"
    assert found["ContentDisposition"] == (
        "inline; filename=\"___.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC%22.txt"
    )


def test_every_request_is_signed_by_version_4_and_has_no_checksum_trailer(
    make_s3: MakeS3, gate: Gate
) -> None:
    storage = make_s3()
    key = write(storage, new_key(), noise(LARGE))
    content_of(storage, key)
    storage.stat(key)
    list(storage.files())
    storage.delete(key)
    storage.probe()

    assert len(gate.seen) > 8
    for operation, headers in gate.seen:
        assert headers["authorization"].startswith(f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/")
        assert "x-amz-trailer" not in headers, operation
        assert not any(name.startswith("x-amz-checksum-") for name in headers), operation


@pytest.mark.parametrize("size", [7, LARGE])
def test_a_file_is_created_on_condition_that_its_key_is_free(
    make_s3: MakeS3, gate: Gate, size: int
) -> None:
    write(make_s3(), new_key(), noise(size))

    operation = "PUT" if size < PART else "POST uploadId"
    assert [headers["if-none-match"] for headers in sent(gate, operation)] == ["*"]


@pytest.mark.parametrize(
    ("size", "requests_sent"),
    [
        (0, ["PUT"]),
        (PART, ["PUT"]),
        (PART + 1, ["POST uploads", *["PUT partNumber uploadId"] * 2, "POST uploadId"]),
        (2 * PART, ["POST uploads", *["PUT partNumber uploadId"] * 2, "POST uploadId"]),
    ],
)
def test_a_file_of_one_part_is_one_request(
    make_s3: MakeS3, gate: Gate, size: int, requests_sent: list[str]
) -> None:
    write(make_s3(), new_key(), noise(size), step=1024 * 1024)

    assert [operation for operation, _ in gate.seen] == requests_sent


def test_all_parts_but_the_last_have_the_same_size(make_s3: MakeS3, gate: Gate) -> None:
    write(make_s3(), new_key(), noise(2 * PART + 5), step=999_999)

    parts = [int(h["content-length"]) for h in sent(gate, "PUT partNumber uploadId")]
    assert sorted(parts) == [5, PART, PART]


# Stores that are not Amazon's


@pytest.fixture
def unconditional(gate: Gate) -> Gate:
    """An S3 that knows no conditional writes, as Backblaze B2 says it."""

    def answer(_: str, headers: dict[str, str]) -> tuple[int, str] | None:
        return (501, "NotImplemented") if "if-none-match" in headers else None

    gate.answer = answer
    return gate


@pytest.mark.parametrize("size", [7, LARGE])
def test_a_store_without_conditional_writes_is_asked_before(
    make_s3: MakeS3, unconditional: Gate, size: int
) -> None:
    storage = make_s3()
    key = write(storage, new_key(), noise(size))

    assert content_of(storage, key) == noise(size)
    with pytest.raises(FileExistsError):
        write(storage, key, noise(size + 1))
    assert content_of(storage, key) == noise(size)


def test_conditional_writes_are_tried_once_and_not_for_each_file(
    make_s3: MakeS3, unconditional: Gate
) -> None:
    storage = make_s3()
    for _ in range(3):
        write(storage, new_key())

    assert len([1 for headers in sent(unconditional, "PUT") if "if-none-match" in headers]) == 1


@pytest.mark.parametrize("status", [400, 501])
def test_files_are_deleted_one_by_one_where_many_at_once_are_refused(
    make_s3: MakeS3, gate: Gate, status: int
) -> None:
    gate.answer = lambda operation, _: (status, "No") if operation == "POST delete" else None
    storage = make_s3()
    doomed = [write(storage, new_key()) for _ in range(3)]

    storage.delete_many([new_key(), *doomed])

    assert list(storage.files()) == []


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"host": "s3.example.org"}, "https://s3.example.org"),
        ({"host": "s3.example.org", "port": 9000}, "https://s3.example.org:9000"),
        ({"host": "h", "is_secure": "false", "port": "1"}, "http://h:1"),
        ({"endpoint_url": "https://a", "host": "b"}, "https://a"),
    ],
)
def test_pyramid_storages_host_and_port_make_an_endpoint(given: dict[str, Any], url: str) -> None:
    settings = {f"storage.aws.{name}": value for name, value in given.items()}
    storage = S3FileStorage.from_settings(
        {"storage.aws.bucket_name": "bucket", **settings}, "storage."
    )

    assert storage.s3_client.meta.endpoint_url == url
    storage.close()


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ({}, "bucket.s3.amazonaws.com"),
        ({"use_path_style": "true"}, "s3.amazonaws.com"),
        ({"endpoint_url": "https://s3.example.org"}, "s3.example.org"),
        (
            {"endpoint_url": "https://s3.example.org", "use_path_style": "false"},
            "bucket.s3.example.org",
        ),
    ],
)
def test_the_bucket_is_in_the_path_where_the_store_is_not_amazons(
    given: dict[str, Any], host: str
) -> None:
    given = {"bucket_name": "bucket", "access_key": "a", "secret_key": "b", **given}
    storage = S3FileStorage.from_settings({f"aws.{k}": v for k, v in given.items()}, "")
    url = storage.presigned_url("key", "name", "text/plain", 60)

    assert urlsplit(url or "").hostname == host
    storage.close()


# Answers that get lost


@pytest.mark.parametrize(
    ("size", "operation"),
    [
        (7, "PUT"),
        (LARGE, "POST uploads"),
        (LARGE, "PUT partNumber uploadId"),
        (LARGE, "POST uploadId"),
    ],
)
def test_a_lost_answer_is_no_conflict(
    make_s3: MakeS3, gate: Gate, size: int, operation: str
) -> None:
    """boto3 repeats the request, and then meets its own file."""
    lost: list[str] = []

    def loses(seen: str) -> bool:
        if lost or seen != operation:
            return False
        lost.append(seen)
        return True

    gate.loses_answer = loses
    storage = make_s3(num_retries=1)
    key = write(storage, new_key(), noise(size))

    assert lost == [operation]
    assert content_of(storage, key) == noise(size)


def test_an_upload_that_is_unknown_because_it_was_completed_is_a_success(
    make_s3: MakeS3, gate: Gate
) -> None:
    """Amazon forgets an upload that is complete; moto remembers it."""

    def times() -> int:
        return len(sent(gate, "POST uploadId"))

    gate.loses_answer = lambda operation: operation == "POST uploadId" and times() == 1
    gate.answer = lambda operation, _: (
        (404, "NoSuchUpload") if operation == "POST uploadId" and times() == 2 else None
    )
    storage = make_s3(num_retries=1)
    key = write(storage, new_key(), noise(LARGE))

    assert times() == 2
    assert content_of(storage, key) == noise(LARGE)


def test_an_upload_that_somebody_aborted_is_an_error(
    make_s3: MakeS3, s3: Any, bucket: str
) -> None:
    storage = make_s3()
    writer = start(storage, new_key(), noise(LARGE))
    (found,) = uploads_under_way(s3, bucket)
    s3.abort_multipart_upload(Bucket=bucket, Key=found["Key"], UploadId=found["UploadId"])

    with pytest.raises(StoreUnavailable):
        writer.close()
    assert list(storage.files()) == []


@pytest.mark.parametrize("operation", ["PUT partNumber uploadId", "POST uploadId"])
@pytest.mark.parametrize("status", [403, 500, 507])
def test_a_failing_large_file_leaves_no_parts(
    make_s3: MakeS3, gate: Gate, s3: Any, bucket: str, operation: str, status: int
) -> None:
    gate.answer = lambda seen, _: (status, "No") if seen == operation else None
    storage = make_s3()
    writer = storage.open_writer(new_key(), mimetype="", filename="")

    with pytest.raises(StoreFull if status == 507 else StoreUnavailable):  # noqa: PT012
        for _ in range(2):
            writer.write(noise(PART))
        writer.close()
    writer.abort()

    assert uploads_under_way(s3, bucket) == []
    assert list(storage.files()) == []


def test_abort_leaves_no_parts(make_s3: MakeS3, s3: Any, bucket: str) -> None:
    writer = start(make_s3(), new_key(), noise(2 * PART))
    assert len(uploads_under_way(s3, bucket)) == 1
    writer.abort()

    assert uploads_under_way(s3, bucket) == []


def test_abort_never_raises_and_tells_the_log_what_is_left(
    make_s3: MakeS3, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    writer = start(make_s3(), new_key(), noise(2 * PART))
    gate.answer = lambda *_: (503, "SlowDown")
    writer.abort()

    assert "An unfinished upload is left in the store" in caplog.text


def test_only_old_uploads_of_our_own_are_removed(make_s3: MakeS3, s3: Any, bucket: str) -> None:
    storage, ours = make_s3(), new_key("folder")
    for key in (ours, "somebody/elses.zip"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)

    # moto begins all uploads in November 2010.
    assert storage.remove_unfinished(datetime(2010, 1, 1).timestamp()) == 0
    assert storage.remove_unfinished(time.time()) == 1
    assert [found["Key"] for found in uploads_under_way(s3, bucket)] == ["somebody/elses.zip"]


# Many files


def test_more_files_than_one_page_are_listed_and_deleted_by_pages(
    make_s3: MakeS3, gate: Gate, s3: Any, bucket: str
) -> None:
    keys = [new_key("folder") for _ in range(1003)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    storage = make_s3()

    assert {file.key for file in storage.files()} == set(keys)
    assert len(gate.seen) == 2
    gate.seen.clear()
    storage.delete_many(iter(keys))

    assert [operation for operation, _ in gate.seen] == ["POST delete"] * 2
    assert list(storage.files()) == []


def test_files_that_can_not_be_deleted_are_told_after_all_others_are_gone(
    make_s3: MakeS3, gate: Gate
) -> None:
    storage = make_s3()
    keys = [write(storage, new_key()) for _ in range(3)]

    def answer(operation: str, _: dict[str, str]) -> tuple[int, str] | None:
        if operation == "POST delete":
            return 501, "NotImplemented"
        deletes = [seen for seen, _ in gate.seen if seen == "DELETE"]
        return (403, "AccessDenied") if operation == "DELETE" and len(deletes) == 1 else None

    gate.answer = answer
    with pytest.raises(StoreError, match=f"^1 files could not be removed, first {keys[0]} "):
        storage.delete_many(keys)

    assert [file.key for file in storage.files()] == [keys[0]]


def test_folders_that_a_console_makes_and_probes_are_no_files(
    make_s3: MakeS3, s3: Any, bucket: str
) -> None:
    for key in ("folder/", "a//b", ".kinto-attachment-probe/left"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")

    assert list(make_s3().files()) == []


# Threads


def test_eight_threads_share_one_client(make_s3: MakeS3) -> None:
    storage, seen = make_s3(), set()

    def work(number: int) -> None:
        key = write(storage, new_key(), noise(1000 + number))
        assert content_of(storage, key) == noise(1000 + number)
        seen.add(id(storage.s3_client))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(64)))

    assert len(seen) == 1
    assert len(list(storage.files())) == 64


def test_a_store_that_was_closed_opens_again(make_s3: MakeS3) -> None:
    storage = make_s3()
    key = write(storage, new_key())
    storage.close()
    storage.close()

    assert content_of(storage, key) == b"content"


# Presigned URLs


def test_a_presigned_url_opens_the_file_under_its_name_and_type(
    make_s3: MakeS3, gate: Gate
) -> None:
    storage = make_s3()
    key = write(storage, new_key("ä b"), b"0123456789")
    url = storage.presigned_url(key, "日本.html", "text/html", 90)
    assert url
    answer = requests.get(url, headers={"Range": "bytes=2-4"}, timeout=10)

    assert answer.content == b"234"
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Expires"] == ["90"]
    assert SECRET_KEY not in url


# What is wrong with the store


def everything(storage: S3FileStorage) -> list[Callable[[], Any]]:
    """One call of each method that talks to the store."""
    key = new_key()
    return [
        lambda: write(storage, key),
        lambda: write(storage, key, noise(LARGE)),
        lambda: storage.open(key),
        lambda: storage.open(key, 3, 3),
        lambda: storage.stat(key),
        lambda: list(storage.files()),
        lambda: storage.delete(key),
        lambda: storage.delete_many([key]),
        lambda: storage.remove_unfinished(time.time()),
        storage.probe,
    ]


def assert_unavailable(storage: S3FileStorage) -> None:
    for call in everything(storage):
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert SECRET_KEY not in repr(caught.value)
        assert ACCESS_KEY not in repr(caught.value)
        assert caught.value.__cause__ is None


def test_a_missing_bucket_is_unavailable(make_s3: MakeS3) -> None:
    assert_unavailable(make_s3(bucket_name="no-such-bucket"))


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "InvalidAccessKeyId"), (403, "SignatureDoesNotMatch"), (403, "AccessDenied")],
)
def test_wrong_credentials_are_unavailable_and_not_told(
    make_s3: MakeS3, gate: Gate, status: int, code: str
) -> None:
    gate.answer = lambda *_: (status, code)

    assert_unavailable(make_s3())


def test_missing_credentials_are_unavailable(make_s3: MakeS3) -> None:
    assert_unavailable(make_s3(access_key=None, secret_key=None))


@pytest.mark.parametrize("half", ["access_key", "secret_key"])
def test_half_of_the_credentials_stop_the_start(make_s3: MakeS3, half: str) -> None:
    with pytest.raises(ConfigurationError, match="belong together") as caught:
        make_s3(**{half: ""})

    assert SECRET_KEY not in str(caught.value)


def test_a_store_that_nobody_runs_is_unavailable(make_s3: MakeS3) -> None:
    with storage_parts.port_without_server() as url:
        assert_unavailable(make_s3(endpoint_url=url))


def test_a_store_that_does_not_answer_is_unavailable_after_the_timeout(make_s3: MakeS3) -> None:
    with storage_parts.server_that_never_answers() as url:
        assert_unavailable(make_s3(endpoint_url=url, timeout=0.1))


def test_an_endpoint_that_is_no_url_is_unavailable(make_s3: MakeS3) -> None:
    assert_unavailable(make_s3(endpoint_url="not a url"))


@pytest.mark.parametrize("code", ["QuotaExceeded", "XMinioStorageFull"])
def test_a_full_store_says_so(make_s3: MakeS3, gate: Gate, code: str) -> None:
    gate.answer = lambda *_: (403, code)

    with pytest.raises(StoreFull):
        write(make_s3(), new_key())


def test_a_failing_request_is_repeated_as_often_as_configured(make_s3: MakeS3, gate: Gate) -> None:
    gate.answer = lambda *_: (503, "SlowDown")
    for retries in (0, 2):
        gate.seen.clear()
        with pytest.raises(StoreUnavailable):
            list(make_s3(num_retries=retries).files())
        assert len(gate.seen) == retries + 1


def test_secrets_are_in_no_repr_and_no_log(
    make_s3: MakeS3, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    storage = make_s3()
    write(storage, new_key())
    gate.answer = lambda *_: (403, "InvalidAccessKeyId")
    with pytest.raises(StoreUnavailable):
        storage.probe()
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("kinto_attachment")]

    assert SECRET_KEY not in repr(vars(storage))
    assert ACCESS_KEY not in repr(vars(storage))
    assert SECRET_KEY not in "".join(ours)


# pyramid_storage's own methods


def test_pyramid_storages_methods_work_more_than_once(make_s3: MakeS3, tmp_path: Any) -> None:
    storage = make_s3(acl=None)
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"photo")
    first, second = (storage.save_filename(str(path), folder="album") for _ in range(2))

    assert (first, second) == ("album/photo.jpg", "album/photo-1.jpg")
    assert storage.exists(first)
    assert content_of(storage, second) == b"photo"
    storage.delete(first)
    assert not storage.exists(first)


def test_a_random_name_of_others_is_not_taken_for_a_file_of_ours(
    make_s3: MakeS3, tmp_path: Path
) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(b"others'")

    key = make_s3().save_filename(str(path), randomize=True)

    assert keys.id_of_key(key) is None
