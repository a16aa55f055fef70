"""Any pyramid_storage backend works for uploads, replacements and deletions."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyramid.exceptions import ConfigurationError
from pyramid_storage.local import LocalFileStorage as PyramidLocalFileStorage
from pyramid_storage.testing import DummyFileStorage

from kinto_attachment import keys
from kinto_attachment.storage import Listable, Readable, StoreError, StoreFull, StoreUnavailable
from kinto_attachment.storage.thirdparty import IN_MEMORY, ThirdPartyStorage
from kinto_attachment.testing import new_key, noise, write
from tests.stores.third_parties import Prefixing, Renaming, Shelf, StoresAndFails
from tests.support import parts
from tests.support.parts import ATTACHMENT, RECORD

SHELF = {
    "kinto.attachment.base_path": None,
    "kinto.attachment.backend": "tests.stores.third_parties.Shelf",
}

MakeServer = Callable[..., parts.Server]


def shelf_of(server: parts.Server) -> Shelf:
    backend: Shelf = server.registry.attachments.store.backend
    return backend


# Over HTTP


def test_a_file_is_uploaded_replaced_and_deleted(make_remote_server: MakeServer) -> None:
    server = make_remote_server(SHELF)
    owner, files = server.as_user(), shelf_of(server).files

    owner.upload(content=b"old", status=201)
    assert list(files.values()) == [b"old"]
    owner.upload(content=b"new", status=200)
    assert list(files.values()) == [b"new"]
    owner.delete(ATTACHMENT, status=204)
    assert files == {}
    assert "attachment" not in owner.get(RECORD).json["data"]


def test_a_download_is_a_redirect_to_the_backends_url(make_remote_server: MakeServer) -> None:
    server = make_remote_server(SHELF)
    server.as_user().upload(content=b"x", status=201)
    (key,) = shelf_of(server).files

    answer = server.as_user().get(ATTACHMENT, status=302)

    assert answer.headers["Location"] == f"https://shelf.example.org/{key}"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    server.as_user(parts.OTHER).get(ATTACHMENT, status=403)


def test_a_backend_without_absolute_urls_can_not_be_downloaded_from(
    make_remote_server: MakeServer,
) -> None:
    server = make_remote_server({**SHELF, "storage.base_url": "/files/"})
    server.as_user().upload(content=b"x", status=201)

    server.as_user().get(ATTACHMENT, status=503)


def test_what_the_backend_lacks_is_said_at_the_start_and_by_the_capability(
    make_remote_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_remote_server(SHELF)

    capability = server.as_user().get("/").json["capabilities"]["attachments"]
    assert capability["unsupported"] == ["list", "read"]
    assert "The attachment store Shelf lacks list and read" in caplog.text


def test_a_store_that_lacks_nothing_says_nothing(owner: parts.Client) -> None:
    assert "unsupported" not in owner.get("/").json["capabilities"]["attachments"]


@pytest.mark.parametrize(
    ("error", "status"), [(KeyError("secret"), 503), (OSError(errno.ENOSPC, "full"), 507)]
)
def test_a_failing_backend_answers_an_error_and_keeps_the_old_file(
    make_remote_server: MakeServer, error: Exception, status: int
) -> None:
    server = make_remote_server(SHELF)
    owner, shelf = server.as_user(), shelf_of(server)
    owner.upload(content=b"old", status=201)
    before = owner.get(RECORD).json

    shelf.fails = error
    answer = owner.upload(content=b"new", status=status)

    assert answer.headers["Retry-After"]
    assert "secret" not in answer.text
    assert list(shelf.files.values()) == [b"old"]
    assert owner.get(RECORD).json == before
    assert owner.get("/__heartbeat__", status=503).json["attachments"] is False


def test_the_heartbeat_writes_and_deletes(make_remote_server: MakeServer) -> None:
    server = make_remote_server(SHELF)

    assert server.as_user().get("/__heartbeat__", status=200).json["attachments"] is True
    assert shelf_of(server).files == {}


def test_a_backend_is_found_under_request_storage(make_remote_server: MakeServer) -> None:
    from pyramid_storage.interfaces import IFileStorage

    server = make_remote_server(SHELF)

    assert server.registry.queryUtility(IFileStorage) is shelf_of(server)


# The adapter


@pytest.mark.parametrize("size", [0, 1, IN_MEMORY, IN_MEMORY + 1])
def test_a_backend_gets_the_whole_file_whatever_its_size(size: int) -> None:
    shelf = Shelf()
    key = write(ThirdPartyStorage(shelf), new_key("folder"), noise(size))

    assert shelf.files == {key: noise(size)}


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("日本.txt", "file.txt"),
        ("日本", "file"),
        ("a日b.txt", "ab.txt"),
        ("été.tar.gz", "t.tar.gz"),
        ("a.日本", "a"),
        ("plain-name_1.txt", "plain-name_1.txt"),
    ],
)
def test_a_name_is_ascii_and_keeps_its_extension(tmp_path: Path, asked: str, stored: str) -> None:
    """pyramid_storage's own classes would store ``日本.txt`` as ``txt``."""
    key = new_key("folder", asked)
    backend = PyramidLocalFileStorage(str(tmp_path))

    found = write(ThirdPartyStorage(backend), key)

    assert found == key.replace(asked, stored)
    assert (tmp_path / found).read_bytes() == b"content"


def test_the_backends_own_list_of_extensions_does_not_matter(tmp_path: Path) -> None:
    backend = PyramidLocalFileStorage(str(tmp_path), extensions="jpg")
    storage = ThirdPartyStorage(backend)

    for suffix in (".txt", ".EXE", ""):
        assert (tmp_path / write(storage, new_key(suffix=suffix))).exists()


def test_a_backend_may_add_to_the_key(make_remote_server: MakeServer) -> None:
    backend = "tests.stores.third_parties.Prefixing"
    server = make_remote_server({**SHELF, "kinto.attachment.backend": backend})
    owner, shelf = server.as_user(), shelf_of(server)
    assert isinstance(shelf, Prefixing)

    owner.upload(content=b"old", status=201)
    owner.upload(content=b"new", status=200)

    (key,) = shelf.files
    assert key.startswith("customer-7/")
    assert owner.get(ATTACHMENT, status=302).headers["Location"].endswith(key)
    owner.delete(ATTACHMENT, status=204)
    assert shelf.files == {}


def test_a_backend_that_drops_the_files_id_is_refused_and_nothing_is_left() -> None:
    backend = Renaming()

    with pytest.raises(StoreError, match=r"was renamed to 0\.bin"):
        write(ThirdPartyStorage(backend), new_key())

    assert backend.files == {}


def test_a_backend_offers_nothing_that_it_can_not_do() -> None:
    storage: object = ThirdPartyStorage(Shelf())

    assert not isinstance(storage, Readable)
    assert not isinstance(storage, Listable)


def test_errors_of_a_backend_are_chained_and_not_repeated() -> None:
    backend = Shelf()
    backend.fails = RuntimeError("password=hunter2")

    with pytest.raises(StoreUnavailable) as caught:
        write(ThirdPartyStorage(backend), new_key())

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is backend.fails


@pytest.mark.parametrize("name", ["photo.jpg", "日本.jpg", "photo.日本"])
def test_a_backend_that_fails_after_it_has_stored_keeps_nothing(name: str) -> None:
    backend = StoresAndFails()

    with pytest.raises(StoreUnavailable):
        write(ThirdPartyStorage(backend), f"{keys.new_id()}/{name}")

    assert backend.files == {}


def test_all_files_are_tried_before_the_first_error_is_raised() -> None:
    backend = Shelf()
    storage = ThirdPartyStorage(backend)
    kept = [write(storage, new_key()) for _ in range(2)]

    with pytest.raises(StoreError, match="1 files could not be removed"):
        storage.delete_many([kept[0], new_key(), kept[1]])

    assert backend.files == {}


def test_a_full_disk_for_temporary_files_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    writer = ThirdPartyStorage(Shelf()).open_writer(new_key(), mimetype="", filename="")

    with pytest.raises(StoreFull, match="temporary files"):
        writer.write(noise(IN_MEMORY + 1))
    writer.abort()


@pytest.mark.parametrize(
    ("backend", "missing"),
    [(DummyFileStorage(), "no method delete"), (object(), "no method url and no method delete")],
)
def test_a_backend_that_lacks_a_method_stops_the_start(backend: Any, missing: str) -> None:
    with pytest.raises(ConfigurationError, match=missing):
        ThirdPartyStorage(backend)


def test_keys_have_ids_whatever_their_name() -> None:
    assert keys.id_of_key(new_key("a", "b")) is not None


def test_nothing_is_logged_about_a_complete_store(
    make_server: Callable[..., parts.Server], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="kinto_attachment")
    make_server()

    assert "lacks" not in caplog.text
