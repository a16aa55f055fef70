"""A local store whose owner is not the user that a command runs as."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment.commands import main
from kinto_attachment.storage.local import LocalFileStorage, folders
from tests.support.parts import SETTINGS, Server, postgresql_settings
from tests.support.processes import BIN, run, write_ini

OWNER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def write(storage: LocalFileStorage, key: str) -> None:
    writer = storage.open_writer(key, mimetype="", filename="")
    writer.write(b"hello")
    writer.close()


def tree(folder: Path) -> dict[str, int]:
    """Everything below a folder, with its owner."""
    return {str(p.relative_to(folder)): p.lstat().st_uid for p in folder.rglob("*")}


@as_root
def test_what_root_makes_belongs_to_the_stores_owner(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    os.chown(files, OWNER, OWNER)
    storage = LocalFileStorage(str(files))
    write(storage, "a/b/c.txt")
    storage.set_mark(b"mark", replace=False)

    assert set(tree(files)) == {".unfinished", "a", "a/b", "a/b/c.txt", ".kinto-attachment-mark"}
    assert set(tree(files).values()) == {OWNER}


@as_root
def test_a_directory_that_root_makes_belongs_to_the_owner_of_the_one_above(tmp_path: Path) -> None:
    os.chown(tmp_path, OWNER, OWNER)
    LocalFileStorage(str(tmp_path / "one" / "files"))

    assert set(tree(tmp_path).values()) == {OWNER}


@pytest.mark.parametrize("exists", [True, False], ids=["empty directory", "no directory"])
def test_commands_that_look_make_nothing(
    on_postgresql: Callable[..., Server], postgresql: str, tmp_path: Path, exists: bool
) -> None:
    on_postgresql()
    transaction.abort()
    files = tmp_path / "files"
    if exists:
        files.mkdir()
    store = {"kinto.attachment.base_path": str(files)}
    ini = str(
        write_ini(tmp_path / "k.ini", {**SETTINGS, **postgresql_settings(postgresql), **store})
    )
    before = tree(tmp_path)

    codes = {
        " ".join(arguments): main([*arguments, "--ini", ini])
        for arguments in (["gc"], ["doctor"], ["verify"], ["gc", "--delete"])
        if exists or arguments == ["verify"]
    }
    relocate = ["relocate", "--from", "https://a.example.org/", "--to", ""]
    codes["relocate"] = main([*relocate, "--ini", ini])
    migrated = run([str(BIN / "kinto"), "migrate", "--ini", ini], tmp_path)

    assert set(codes.values()) == {0}
    assert migrated.returncode == 0
    assert {name for name in tree(tmp_path) if not name.startswith(".home")} == set(before)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_force_a_directory_is_noted_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    really = os.fsync

    def of_files_only(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", of_files_only)
    folders._note.cache_clear()
    storage = LocalFileStorage(str(tmp_path))
    caplog.set_level(logging.WARNING)
    for name in ("a.txt", "b.txt"):
        write(storage, name)

    assert {file.key for file in storage.files()} == {"a.txt", "b.txt"}
    assert len([r for r in caplog.records if "force a directory" in r.message]) == 1


def test_a_directory_that_cannot_be_forced_for_another_reason_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinto_attachment.storage import StoreUnavailable

    def broken(descriptor: int) -> Any:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    storage = LocalFileStorage(str(tmp_path))
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreUnavailable):
        write(storage, "a.txt")
    assert list(storage.files()) == []
