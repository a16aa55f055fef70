"""Google Cloud Storage: what only it does."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pyramid.exceptions import ConfigurationError

from kinto_attachment.storage import StoreFull, StoreUnavailable
from kinto_attachment.storage.gcloud import GoogleCloudStorage
from kinto_attachment.storage.network import PART
from kinto_attachment.testing import LARGE, new_key, noise, start, write
from tests.support import storage_parts
from tests.support.storage_parts import Emulator

SECRET = "hunter2"


@pytest.fixture
def make_google(google_bucket: str) -> Iterator[Callable[..., GoogleCloudStorage]]:
    """A factory of stores; settings by name, without ``gcloud.``."""
    made: list[GoogleCloudStorage] = []

    def make(**more: Any) -> GoogleCloudStorage:
        given = {"bucket_name": google_bucket, "timeout": 5, **more}
        settings = {f"gcloud.{name}": value for name, value in given.items()}
        settings["store_timeout"] = storage_parts.PATIENCE
        made.append(GoogleCloudStorage.from_settings(settings, ""))
        return made[-1]

    yield make
    for storage in made:
        storage.close()


MakeGoogle = Callable[..., GoogleCloudStorage]


@pytest.fixture
def service_account(tmp_path: Path, private_key: str) -> Iterator[str]:
    """The path of a service account's JSON file, whose server for tokens is away."""
    path = tmp_path / "account.json"
    with storage_parts.port_without_server() as url:
        path.write_text(json.dumps(storage_parts.service_account(private_key, url)))
        yield str(path)


@pytest.mark.parametrize("size", [7, LARGE])
def test_type_name_and_caching_are_stored_with_the_file(
    make_google: MakeGoogle, size: int
) -> None:
    storage, key = make_google(cache_control="max-age=60"), new_key("folder")
    writer = storage.open_writer(key, mimetype="text/html", filename="日本.html")
    writer.write(noise(size))
    writer.close()

    found = storage.get_bucket().get_blob(key)
    assert found.content_type == "text/html"
    assert found.cache_control == "max-age=60"
    assert found.content_disposition == (
        "attachment; filename=\"__.html\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.html"
    )


@pytest.mark.parametrize("size", [PART, PART + 1, 2 * PART, 2 * PART + 3])
def test_files_around_the_size_of_a_part_are_whole(make_google: MakeGoogle, size: int) -> None:
    storage = make_google()
    key = write(storage, new_key(), noise(size), step=999_999)

    assert b"".join(storage.open(key)) == noise(size)


@pytest.mark.parametrize("instead", [0, 503, 429])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_lost_answer_or_a_busy_moment_is_got_over(
    make_google: MakeGoogle, google: Emulator, number: int, instead: int
) -> None:
    """Of the session's start and each of its three parts."""
    storage, seen = make_google(), []

    def interferes(method: str, path: str) -> int | None:
        seen.append(method)
        return instead if len(seen) == number + 1 else None

    google.interferes = interferes
    key = write(storage, new_key(), noise(2 * PART + 5))

    assert len(seen) > 4
    assert b"".join(storage.open(key)) == noise(2 * PART + 5)
    assert [file.key for file in storage.files()] == [key]


@pytest.mark.parametrize("instead", [0, 503])
def test_a_small_file_gets_over_it_too(
    make_google: MakeGoogle, google: Emulator, instead: int
) -> None:
    storage, seen = make_google(), []

    def interferes(method: str, path: str) -> int | None:
        seen.append(method)
        return instead if len(seen) == 1 else None

    google.interferes = interferes
    key = write(storage, new_key())

    assert seen == ["POST", "POST"]
    assert b"".join(storage.open(key)) == b"content"


@pytest.mark.parametrize("status", [403, 410, 507])
def test_a_large_file_that_is_refused_on_the_way_leaves_nothing(
    make_google: MakeGoogle, google: Emulator, status: int
) -> None:
    storage = make_google()
    google.interferes = lambda method, _: status if method == "PUT" else None

    with pytest.raises(StoreFull if status == 507 else StoreUnavailable):
        write(storage, new_key(), noise(LARGE))

    assert list(storage.files()) == []


def test_a_writer_that_is_thrown_away_publishes_nothing(make_google: MakeGoogle) -> None:
    """Google's own writer would publish what it has got."""
    storage = make_google()
    writer = start(storage, new_key(), noise(LARGE))
    del writer

    assert list(storage.files()) == []


def test_a_file_that_is_removed_while_it_is_read_ends_in_an_error(
    make_google: MakeGoogle,
) -> None:
    storage = make_google()
    key = write(storage, new_key(), noise(LARGE))
    reader = storage.open(key)
    next(reader)
    storage.delete(key)

    with pytest.raises(Exception, match="removed while it was read"):
        next(reader)


def test_files_are_deleted_in_pages_of_many(make_google: MakeGoogle) -> None:
    storage = make_google(timeout="60")  # The emulator takes seconds for a hundred.
    keys = [write(storage, new_key("ä b"), b"") for _ in range(103)]

    storage.delete_many(iter(keys))

    assert list(storage.files()) == []


def test_no_acl_is_sent_unless_one_is_set(google_bucket: str) -> None:
    named = {"storage.gcloud.bucket_name": google_bucket}

    assert GoogleCloudStorage.from_settings(named, "storage.").acl is None


def test_an_acl_in_a_bucket_that_takes_none_stops_the_start(make_google: MakeGoogle) -> None:
    with pytest.raises(ConfigurationError, match=r"kinto\.attachment\.gcloud\.acl = publicRead"):
        make_google(acl="publicRead", uniform_bucket_level_access="true")

    assert make_google(acl="publicRead", uniform_bucket_level_access="false").acl == "publicRead"


def test_a_service_account_can_sign_urls(make_google: MakeGoogle, service_account: str) -> None:
    storage = make_google(credentials=service_account)
    url = storage.presigned_url("folder/日本.txt", "日本.txt", "text/plain", 90)
    query = parse_qs(urlsplit(url or "").query)

    assert query["X-Goog-Algorithm"] == ["GOOG4-RSA-SHA256"]
    assert query["X-Goog-Expires"] == ["90"]
    assert query["response-content-type"] == ["text/plain"]
    assert query["response-content-disposition"][0].startswith("inline; ")


def test_without_a_key_nothing_is_signed(make_google: MakeGoogle) -> None:
    assert make_google().presigned_url(new_key(), "a.txt", "text/plain", 90) is None


def everything(storage: GoogleCloudStorage) -> list[Callable[[], Any]]:
    """One call of each method that talks to the store."""
    key = new_key()
    return [
        lambda: write(storage, key),
        lambda: write(storage, key, noise(LARGE)),
        lambda: storage.open(key),
        lambda: storage.stat(key),
        lambda: list(storage.files()),
        lambda: storage.delete(key),
        lambda: storage.delete_many([key]),
        storage.probe,
    ]


def assert_unavailable(storage: GoogleCloudStorage, within: float = 5) -> None:
    for call in everything(storage):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            call()
        assert time.monotonic() - began < within
        assert SECRET not in repr(caught.value)
        assert caught.value.__cause__ is None


def test_a_missing_bucket_is_unavailable(make_google: MakeGoogle) -> None:
    assert_unavailable(make_google(bucket_name="no-such-bucket"))


def test_a_store_that_nobody_runs_is_unavailable(
    make_google: MakeGoogle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_parts.port_without_server() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        assert_unavailable(make_google(timeout=0.2), within=2)


def test_a_store_that_does_not_answer_is_unavailable_after_the_timeout(
    make_google: MakeGoogle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storage_parts.server_that_never_answers() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        assert_unavailable(make_google(timeout=0.2), within=2)


@pytest.mark.parametrize("content", [None, "{", "{}", f'{{"private_key": "{SECRET}"}}'])
def test_credentials_that_can_not_be_read_are_unavailable(
    make_google: MakeGoogle, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "account.json"
    if content is not None:
        path.write_text(content)

    assert_unavailable(make_google(credentials=str(path)))


def test_missing_credentials_are_unavailable(
    make_google: MakeGoogle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / SECRET))

    assert_unavailable(make_google())


def test_a_token_server_that_is_away_is_unavailable(
    make_google: MakeGoogle, service_account: str
) -> None:
    assert_unavailable(make_google(credentials=service_account, timeout=0.2))
