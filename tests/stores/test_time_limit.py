"""A store that hangs holds nobody up for longer than ``store_timeout``.

Here the limit is the fact, so these tests look at a clock: each allows a multiple of it, and far
less than what the libraries' own time-outs take.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kinto_attachment.storage import StoreError, StoreSilent
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.storage.time_limit import MOST, PATIENCE, limited, patient
from tests.support import parts, storage_parts
from tests.support.parts import ATTACHMENT, COLLECTION, RECORD
from tests.support.storage_parts import Gate

MakeServer = Callable[..., parts.Server]

LIMIT = {"store_timeout": "0.2", "aws.timeout": "30", "aws.num_retries": "2"}
ENOUGH = 10.0
"""Seconds: fifty times the limit, for a busy machine; one attempt of boto3's takes 30."""


@pytest.fixture
def hung() -> Iterator[str]:
    with storage_parts.server_that_never_answers() as url:
        yield url


@pytest.fixture
def hanging(hung: str) -> S3FileStorage:
    settings = storage_parts.s3_settings(hung, "bucket", **LIMIT)
    given = {k.removeprefix("kinto.attachment."): v for k, v in settings.items() if v}
    made = S3FileStorage.from_settings(given, "")
    return made


OPERATIONS: dict[str, Callable[[Any], object]] = {
    "delete": lambda store: store.delete("a.txt"),
    "delete_many": lambda store: store.delete_many([f"{n}.txt" for n in range(2500)]),
    "stat": lambda store: store.stat("a.txt"),
    "exists": lambda store: store.exists("a.txt"),
    "mark": lambda store: store.mark(),
    "set_mark": lambda store: store.set_mark(b"mark", replace=True),
    "probe": lambda store: store.probe(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_without_a_file_ends_in_time(hanging: S3FileStorage, name: str) -> None:
    began = time.monotonic()
    with pytest.raises(StoreSilent, match=r"within 0\.2 seconds"):
        OPERATIONS[name](hanging)

    assert time.monotonic() - began < ENOUGH


def test_deletions_and_the_heartbeat_end_in_time(
    make_remote_server: MakeServer, bucket: str, gated: tuple[str, Gate], gate: Gate
) -> None:
    go_on = threading.Event()

    def hang(*_: Any) -> None:
        go_on.wait()

    server = make_remote_server(storage_parts.s3_settings(gated[0], bucket))
    store = server.registry.attachments.store
    owner = server.as_user()
    second = f"{COLLECTION}/records/second/attachment"
    for path in (ATTACHMENT, second):
        owner.upload(path, status=201)
    patience, store.time_limit, gate.answer = store.time_limit, 0.2, hang
    try:
        for path in (RECORD, second):
            began = time.monotonic()
            owner.delete(path, status="2*")
            assert time.monotonic() - began < ENOUGH
        began = time.monotonic()
        assert owner.get("/__heartbeat__", status=503).json["attachments"] is False
        assert time.monotonic() - began < ENOUGH
    finally:
        go_on.set()
        gate.reset()
        store.time_limit = patience


def test_the_heartbeat_ends_in_time_where_a_directory_hangs(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """A named pipe in the mark's place: to open it hangs, as all does on a mount that is gone."""
    files = tmp_path / "files"
    files.mkdir()
    store = {"kinto.attachment.base_path": str(files), "kinto.attachment.store_timeout": "0.2"}
    owner = make_server(store).as_user()
    for path in files.iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
    pipe = files / ".kinto-attachment-mark"
    os.mkfifo(pipe)
    try:
        began = time.monotonic()
        assert owner.get("/__heartbeat__", status=503).json["attachments"] is False
        assert time.monotonic() - began < ENOUGH / 2  # Kinto's own limit would end it at 9.
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
        pipe.unlink()


class Waiting:
    """Hangs until it is told."""

    time_limit = 0.2

    def __init__(self) -> None:
        self.go = threading.Event()
        self.started = threading.Semaphore(0)

    @limited
    def wait(self) -> str:
        self.started.release()
        self.go.wait()
        return "done"

    @limited
    def fail(self) -> None:
        raise StoreError("no")

    @limited
    def outer(self) -> str:
        return self.wait()


def test_what_an_operation_returns_and_raises_is_handed_on() -> None:
    store = Waiting()
    store.go.set()

    assert store.wait() == "done"
    assert store.outer() == "done"
    with pytest.raises(StoreError, match="no"):
        store.fail()


def test_threads_for_which_nobody_waits_are_limited_and_end() -> None:
    store = Waiting()
    before = threading.active_count()
    store.time_limit = 0.001
    for _ in range(MOST + 5):
        with pytest.raises(StoreSilent):
            store.wait()

    assert threading.active_count() <= before + MOST
    with pytest.raises(StoreError, match=r"^no$"):  # Those of another kind have their own.
        store.fail()
    store.go.set()
    store.time_limit = 60
    assert store.wait() == "done"


def test_a_command_is_patient_for_as_long_as_it_runs() -> None:
    store, without = Waiting(), object()
    store.time_limit = 0.5

    with patient(store), patient(without):
        assert store.time_limit == 0.5 * PATIENCE

    assert store.time_limit == 0.5
