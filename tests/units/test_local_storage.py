"""Files in a local directory: whole or not at all, never over another, never outside."""

import io
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyramid.exceptions import ConfigurationError
from pyramid_storage.exceptions import FileNotAllowed
from pyramid_storage.interfaces import IFileStorage

from kinto_attachment import keys, settings
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.storage import (
    CHUNK_SIZE,
    Store,
    StoredFile,
    StoreError,
    StoreUnavailable,
    UnsafeKey,
)
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.targets import Target
from tests.support.parts import ATTACHMENT, Client, take_in

ROOT = Path(__file__).parents[2]
UNSAFE = [
    "",
    "/",
    "..",
    "../outside.txt",
    "a/../../outside.txt",
    "/etc/kinto-attachment-outside.txt",
    "a/",
    "./a",
    "a//b",
    "..\\outside.txt",
    "a\0b",
    ".unfinished",
    ".unfinished/a",
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(params=[True, False], ids=["fsync", "no fsync"])
def storage(request: pytest.FixtureRequest, files: Path) -> LocalFileStorage:
    return LocalFileStorage(str(files), "https://cdn.example.org/", fsync=request.param)


def put(storage: LocalFileStorage, key: str, content: bytes = b"content") -> None:
    writer = storage.open_writer(key, mimetype="text/plain", filename="a.txt")
    writer.write(content)
    writer.close()


def tree(folder: Path) -> dict[str, bytes | None]:
    """All that lies below a directory, but for the folder of unfinished files itself."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if path.name != ".unfinished"
    }


# Writing


def test_a_file_is_written_and_read(storage: LocalFileStorage, files: Path) -> None:
    put(storage, "album/x/a.txt", b"first")

    assert (files / "album/x/a.txt").read_bytes() == b"first"
    assert b"".join(storage.open("album/x/a.txt")) == b"first"
    assert storage.exists("album/x/a.txt")
    assert list((files / ".unfinished").iterdir()) == []


def test_the_store_is_what_kinto_and_pyramid_storage_ask_for(storage: LocalFileStorage) -> None:
    assert isinstance(storage, Store)
    assert IFileStorage.providedBy(storage)
    assert storage.url("album/a.txt") == "https://cdn.example.org/album/a.txt"


def test_a_file_is_not_seen_before_it_is_closed(storage: LocalFileStorage, files: Path) -> None:
    writer = storage.open_writer("album/a.txt", mimetype="", filename="")
    writer.write(b"content")

    assert list(storage.files()) == []
    assert not (files / "album").exists()
    with pytest.raises(FileNotFoundError):
        storage.stat("album/a.txt")

    writer.close()
    assert [file.key for file in storage.files()] == ["album/a.txt"]


def test_abort_leaves_nothing(storage: LocalFileStorage, files: Path) -> None:
    writer = storage.open_writer("album/a.txt", mimetype="", filename="")
    writer.write(b"content")

    writer.abort()
    writer.abort()

    assert tree(files) == {}


def test_abort_after_close_keeps_the_file(storage: LocalFileStorage, files: Path) -> None:
    writer = storage.open_writer("a.txt", mimetype="", filename="")
    writer.write(b"content")
    writer.close()

    writer.abort()

    assert tree(files) == {"a.txt": b"content"}


def test_an_existing_file_is_never_replaced(storage: LocalFileStorage, files: Path) -> None:
    put(storage, "album/a.txt", b"old")

    with pytest.raises(FileExistsError):
        put(storage, "album/a.txt", b"new")

    assert tree(files) == {"album": None, "album/a.txt": b"old"}


def test_a_folder_is_never_replaced(storage: LocalFileStorage, files: Path) -> None:
    put(storage, "album/a.txt", b"old")

    with pytest.raises(FileExistsError):
        put(storage, "album", b"new")

    assert tree(files) == {"album": None, "album/a.txt": b"old"}


def test_a_symbolic_link_is_never_written_through(
    storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    (files / "link.txt").symlink_to(tmp_path / "outside.txt")

    with pytest.raises(FileExistsError):
        put(storage, "link.txt")

    assert not (tmp_path / "outside.txt").exists()
    assert list((files / ".unfinished").iterdir()) == []


def test_of_many_writers_of_one_key_exactly_one_wins(
    storage: LocalFileStorage, files: Path
) -> None:
    count = 8
    start, outcomes = threading.Barrier(count), dict.fromkeys(range(count), "")

    def write(number: int) -> None:
        writer = storage.open_writer("album/a.txt", mimetype="", filename="")
        writer.write(str(number).encode() * 1000)
        start.wait()
        try:
            writer.close()
            outcomes[number] = "stored"
        except FileExistsError:
            outcomes[number] = "taken"

    threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    won = [number for number, outcome in outcomes.items() if outcome == "stored"]
    assert len(won) == 1
    assert sorted(outcomes.values()) == ["stored"] + ["taken"] * (count - 1)
    assert tree(files) == {"album": None, "album/a.txt": str(won[0]).encode() * 1000}


@pytest.mark.parametrize("key", UNSAFE, ids=ascii)
@pytest.mark.parametrize("method", ["open_writer", "open", "stat", "delete", "exists", "path"])
def test_an_unsafe_key_touches_nothing(
    key: str, method: str, storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.txt").write_bytes(b"theirs")
    put(storage, "a.txt")
    before = tree(tmp_path)
    more = {"mimetype": "", "filename": ""} if method == "open_writer" else {}

    with pytest.raises(UnsafeKey):
        getattr(storage, method)(key, **more)

    assert tree(tmp_path) == before
    assert not Path("/etc/kinto-attachment-outside.txt").exists()
    assert list((files / ".unfinished").iterdir()) == []


def test_a_name_that_the_disk_cannot_hold_leaves_nothing(
    storage: LocalFileStorage, files: Path
) -> None:
    with pytest.raises(StoreUnavailable):
        put(storage, "album/new/" + "x" * 300)

    assert tree(files) == {}


def test_a_failed_upload_leaves_nothing(storage: LocalFileStorage, files: Path) -> None:
    parsed = settings.parse({"attachment.max_size_bytes": 10, "attachment.folder": "album"})

    with pytest.raises(Refused):
        take_in(
            FilePart("a.txt", None, [b"12345", b"67890", b"1"]),
            Target("b", "c", "r"),
            parsed,
            storage,
        )

    assert tree(files) == {}


@pytest.mark.parametrize("fsync", [True, False])
def test_a_file_and_its_new_folders_are_forced_to_disk_unless_switched_off(
    fsync: bool, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalFileStorage(str(files), fsync=fsync)
    forced: list[int] = []
    really = os.fsync

    def recording(descriptor: int) -> None:
        forced.append(os.fstat(descriptor).st_ino)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    put(storage, "album/new/a.txt")

    made = [files / "album/new/a.txt", files / "album/new", files / "album", files]
    assert set(forced) == ({path.stat().st_ino for path in made} if fsync else set())
    assert (files / "album/new/a.txt").read_bytes() == b"content"
    if fsync:
        assert forced[0] == (files / "album/new/a.txt").stat().st_ino


# A full disk: a real limit of the operating system, in a process of its own

FULL = """
import json, resource, sys
from kinto_attachment import settings
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.targets import Target
from tests.support.parts import take_in

what, folder = sys.argv[1:]
storage = LocalFileStorage(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit := 0 if what == "probe" else 1024 * 1024,) * 2)
chunks = [b"x" * 1_500_000]  # The system takes the first MiB of it: a short write.
try:
    if what == "probe":
        storage.probe()
    elif what == "store":
        part, target = FilePart("a.txt", None, chunks), Target("b", "c", "r")
        take_in(part, target, settings.parse({"attachment.folder": "new"}), storage)
    elif what == "save":
        with open(f"{folder}/../large.txt", "rb") as large:
            storage.save_file(large, "a.txt", folder="new")
    elif what == "fits":
        storage.open_writer("a.txt", mimetype="", filename="").close()
    print(json.dumps("no error"))
except BaseException as error:
    print(json.dumps([type(error).__name__, type(error).__mro__[1].__name__]))
"""


def on_a_full_disk(what: str, files: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", FULL, what, str(files)],
        cwd=ROOT,
        # Coverage could not write its own file in there.
        env={name: value for name, value in os.environ.items() if "COV" not in name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ResourceWarning" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["store", "save", "probe"])
def test_a_full_disk_is_told_and_leaves_nothing(what: str, tmp_path: Path) -> None:
    (tmp_path / "large.txt").write_bytes(b"x" * 1_500_000)
    files = tmp_path / "files"

    assert on_a_full_disk(what, files) == ["StoreFull", "StoreError"]
    assert tree(files) == {}


def test_a_small_file_fits_on_a_nearly_full_disk(files: Path) -> None:
    assert on_a_full_disk("fits", files) == "no error"
    assert tree(files) == {"a.txt": b""}


# Reading


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, None, slice(0, None)),
        (0, 5, slice(0, 5)),
        (3, 4, slice(3, 4)),
        (5, None, slice(5, None)),
        (0, 0, slice(0, 0)),
        (5, 3, slice(0, 0)),
        (CHUNK_SIZE - 1, CHUNK_SIZE + 1, slice(CHUNK_SIZE - 1, CHUNK_SIZE + 1)),
        (10**9, None, slice(0, 0)),
        (7, 10**9, slice(7, None)),
    ],
)
def test_a_range_is_read(
    start: int, stop: int | None, expected: slice, storage: LocalFileStorage
) -> None:
    content = bytes(range(256)) * (3 * CHUNK_SIZE // 256) + b"end"
    put(storage, "a.bin", content)

    chunks = list(storage.open("a.bin", start, stop))

    assert b"".join(chunks) == content[expected]
    assert all(0 < len(chunk) <= CHUNK_SIZE for chunk in chunks)


def test_a_reader_may_be_closed_early_and_twice(storage: LocalFileStorage) -> None:
    put(storage, "a.bin", b"x" * CHUNK_SIZE * 2)
    reader = storage.open("a.bin")

    assert len(next(reader)) == CHUNK_SIZE
    reader.close()
    reader.close()


def test_a_file_that_is_removed_while_it_is_read_is_read_to_its_end(
    storage: LocalFileStorage,
) -> None:
    put(storage, "a.bin", b"x" * CHUNK_SIZE * 2)
    reader = storage.open("a.bin")

    assert storage.delete("a.bin")

    assert sum(len(chunk) for chunk in reader) == CHUNK_SIZE * 2


def test_stat_says_size_and_time(storage: LocalFileStorage, files: Path) -> None:
    put(storage, "album/a.txt")
    os.utime(files / "album/a.txt", (1, 1_000_000))

    assert storage.stat("album/a.txt") == StoredFile("album/a.txt", 7, 1_000_000)
    assert list(storage.files()) == [StoredFile("album/a.txt", 7, 1_000_000)]


@pytest.mark.parametrize("key", ["missing.txt", "album/missing.txt", "no/such/folder.txt"])
def test_a_missing_file_is_not_found(key: str, storage: LocalFileStorage) -> None:
    put(storage, "album/a.txt")

    with pytest.raises(FileNotFoundError):
        storage.stat(key)
    with pytest.raises(FileNotFoundError):
        storage.open(key)
    assert storage.delete(key) is False


@pytest.mark.parametrize("key", ["album", "album/a.txt/deeper.txt"])
def test_neither_a_folder_nor_what_is_below_a_file_is_a_file(
    key: str, storage: LocalFileStorage, files: Path
) -> None:
    put(storage, "album/a.txt")

    with pytest.raises(FileNotFoundError):
        storage.stat(key)
    with pytest.raises(FileNotFoundError):
        storage.open(key)
    assert storage.delete(key) is False
    assert tree(files) == {"album": None, "album/a.txt": b"content"}


def test_files_are_listed_without_links_and_unfinished_ones(
    storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    put(storage, "a.txt")
    put(storage, "b/c/日本.txt")
    put(storage, "b/.unfinished/d.txt")
    storage.open_writer("later.txt", mimetype="", filename="").abort()
    unfinished = storage.open_writer("unfinished.txt", mimetype="", filename="")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.txt").write_bytes(b"secret")
    (files / "folder").symlink_to(tmp_path / "outside")
    (files / "link.txt").symlink_to(tmp_path / "outside/secret.txt")

    found = {file.key for file in storage.files()}

    unfinished.abort()
    assert found == {"a.txt", "b/c/日本.txt", "b/.unfinished/d.txt"}


# Removing


def test_delete_removes_the_folder_of_the_id_and_no_other(
    storage: LocalFileStorage, files: Path
) -> None:
    ours = keys.new_id()
    put(storage, f"album/{ours}/photo.jpg")

    assert storage.delete(f"album/{ours}/photo.jpg") is True

    assert tree(files) == {"album": None}
    assert storage.delete(f"album/{ours}/photo.jpg") is False


def test_delete_leaves_a_folder_that_is_not_named_by_an_id(
    storage: LocalFileStorage, files: Path
) -> None:
    theirs = str(uuid.uuid4())
    put(storage, f"{theirs}/photo.jpg")

    assert storage.delete(f"{theirs}/photo.jpg") is True

    assert tree(files) == {theirs: None}


def test_delete_leaves_what_else_lies_in_the_folder_of_an_id(
    storage: LocalFileStorage, files: Path
) -> None:
    ours = keys.new_id()
    put(storage, f"{ours}/photo.jpg")
    (files / ours / "stranger.txt").write_bytes(b"theirs")

    assert storage.delete(f"{ours}/photo.jpg") is True

    assert tree(files) == {ours: None, f"{ours}/stranger.txt": b"theirs"}


def test_many_files_are_removed_and_missing_ones_passed_over(
    storage: LocalFileStorage, files: Path
) -> None:
    for key in ("a.txt", "b.txt", "c.txt"):
        put(storage, key)

    storage.delete_many(["a.txt", "missing.txt", "b.txt"])

    assert tree(files) == {"c.txt": b"content"}


def test_all_files_are_tried_before_a_failure_is_told(
    storage: LocalFileStorage, files: Path
) -> None:
    for key in ("a.txt", "b.txt"):
        put(storage, key)

    with pytest.raises(StoreError, match="1 files could not be removed"):
        storage.delete_many(["a.txt", "x" * 300, "b.txt"])

    assert tree(files) == {}


def test_an_unsafe_key_does_not_save_the_other_files(
    storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.txt").write_bytes(b"theirs")
    put(storage, "a.txt")
    put(storage, "b.txt")

    with pytest.raises((StoreError, UnsafeKey)):
        storage.delete_many(["a.txt", "../outside.txt", "b.txt"])

    assert tree(tmp_path) == {"files": None, "outside.txt": b"theirs"}


def test_only_old_unfinished_files_are_removed(storage: LocalFileStorage, files: Path) -> None:
    put(storage, "a.txt")
    os.utime(files / "a.txt", (1, 1))
    writers = [storage.open_writer("b.txt", mimetype="", filename="") for _ in range(3)]
    old, *_ = (files / ".unfinished").iterdir()
    os.utime(old, (1000, 1000))

    assert storage.remove_unfinished(before=1000) == 0
    assert storage.remove_unfinished(before=1001) == 1
    assert storage.remove_unfinished(before=1001) == 0

    assert not old.exists()
    assert len(list((files / ".unfinished").iterdir())) == 2
    for writer in writers:
        writer.abort()
    assert tree(files) == {"a.txt": b"content"}


# The directory


def test_the_probe_leaves_nothing(storage: LocalFileStorage, files: Path) -> None:
    storage.probe()

    assert tree(files) == {}


@pytest.mark.parametrize("what", ["probe", "files", "remove_unfinished"])
def test_a_directory_that_is_gone_is_an_unavailable_store(
    what: str, storage: LocalFileStorage, files: Path
) -> None:
    """As when its disk is no longer mounted."""
    (files / ".unfinished").rmdir()
    files.rmdir()

    act: dict[str, Callable[[], object]] = {
        "probe": storage.probe,
        "files": lambda: list(storage.files()),
        "remove_unfinished": lambda: storage.remove_unfinished(0),
    }
    with pytest.raises(StoreUnavailable):
        act[what]()


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_directory_that_cannot_be_made_stops_the_start(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"theirs")
    wanted = str(tmp_path / path)

    with pytest.raises(ConfigurationError) as caught:
        LocalFileStorage(wanted)

    assert str(caught.value).startswith(f"kinto.attachment.base_path = {wanted}: ")
    assert tree(tmp_path) == {"file": b"theirs"}


def test_a_relative_directory_stays_where_it_was_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = LocalFileStorage("files", fsync=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    put(storage, "a.txt")

    assert tree(tmp_path / "files") == {"a.txt": b"content"}


# Other users of request.storage


class Uploaded:
    """What pyramid_storage calls an fs: a name and a file."""

    def __init__(self, filename: str, content: bytes = b"content") -> None:
        self.filename, self.file = filename, io.BytesIO(content)


def test_others_save_a_file_under_its_name(storage: LocalFileStorage, files: Path) -> None:
    upload = Uploaded("photo.jpg", b"x" * (CHUNK_SIZE + 1))
    upload.file.seek(3)

    key = storage.save(upload, folder="theirs")

    assert key == "theirs/photo.jpg"
    assert tree(files) == {"theirs": None, key: b"x" * (CHUNK_SIZE + 1)}


def test_others_never_replace_a_file(storage: LocalFileStorage, files: Path) -> None:
    saved = [storage.save(Uploaded("a.txt", content)) for content in (b"1", b"2", b"3")]

    assert saved == ["a.txt", "a-1.txt", "a-2.txt"]
    assert tree(files) == {"a.txt": b"1", "a-1.txt": b"2", "a-2.txt": b"3"}


def test_a_random_name_keeps_the_extension(storage: LocalFileStorage, files: Path) -> None:
    saved = {storage.save(Uploaded("photo.jpg"), randomize=True) for _ in range(3)}

    assert len(saved) == 3
    assert all(key.endswith(".jpg") and "photo" not in key for key in saved)
    assert set(tree(files)) == saved


def test_a_random_name_of_others_is_not_taken_for_a_file_of_ours(
    storage: LocalFileStorage,
) -> None:
    """Else ``__flush__`` and ``gc`` would remove what the plugin did not store."""
    assert keys.id_of_key(storage.save(Uploaded("photo.jpg"), randomize=True)) is None


@pytest.mark.parametrize("filename", ["../../photo.jpg", "/etc/photo.jpg", "a/b/photo.jpg"])
def test_others_cannot_leave_the_store_by_a_name(
    filename: str, storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    assert storage.save(Uploaded(filename)) == "photo.jpg"
    assert tree(tmp_path) == {"files": None, "files/photo.jpg": b"content"}


@pytest.mark.parametrize("folder", ["..", "../outside", "a/../..", ".unfinished", "a\0b"])
def test_others_cannot_leave_the_store_by_a_folder(
    folder: str, storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnsafeKey):
        storage.save(Uploaded("photo.jpg"), folder=folder)

    assert tree(tmp_path) == {"files": None}
    assert list((files / ".unfinished").iterdir()) == []


def test_others_are_refused_an_extension(storage: LocalFileStorage, files: Path) -> None:
    with pytest.raises(FileNotAllowed):
        storage.save(Uploaded("run.exe"))
    with pytest.raises(FileNotAllowed):
        storage.save(Uploaded("photo.jpg"), extensions=("txt",))

    assert tree(files) == {}
    assert storage.save(Uploaded("run.exe"), extensions=("exe",)) == "run.exe"
    assert storage.save(Uploaded("any.xyz"), extensions=()) == "any.xyz"


def test_others_save_a_file_by_its_path(
    storage: LocalFileStorage, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"content")

    assert storage.save_filename(str(tmp_path / "photo.jpg"), folder="x") == "x/photo.jpg"
    assert tree(files) == {"x": None, "x/photo.jpg": b"content"}


def test_a_source_that_cannot_be_read_leaves_nothing(
    storage: LocalFileStorage, files: Path
) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("unreadable")

    with pytest.raises(OSError, match="unreadable"):
        storage.save_file(Broken(), "photo.jpg")

    assert tree(files) == {}


def test_a_store_that_cannot_be_written_is_503_and_heartbeat_says_so(owner: Client) -> None:
    owner.upload(content=b"old")
    assert owner.server.files is not None
    unfinished = owner.server.files / ".unfinished"
    unfinished.rmdir()
    unfinished.write_bytes(b"a file where the folder should be")

    answer = owner.upload(status=503)

    assert "Retry-After" in answer.headers
    assert str(owner.server.files) not in answer.text
    assert owner.get("/__heartbeat__", 503).json["attachments"] is False
    unfinished.unlink()
    unfinished.mkdir()
    assert owner.get(ATTACHMENT).body == b"old"
    owner.server.assert_agreement()
