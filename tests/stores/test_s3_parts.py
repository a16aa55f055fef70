"""Parts of one file that are on their way to S3 at once."""

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kinto_attachment.storage import StoreError
from kinto_attachment.storage.network import PART
from kinto_attachment.storage.s3 import streams
from kinto_attachment.storage.s3.lanes import Lanes
from kinto_attachment.storage.s3.streams import LARGEST, MAX_PARTS, MIB, SMALLEST, S3Writer
from kinto_attachment.testing import new_key, noise, write
from tests.stores.test_s3 import MakeS3, content_of, uploads_under_way
from tests.support import storage_parts
from tests.support.parts import ATTACHMENT, Server
from tests.support.storage_parts import Gate

A_PART = "PUT partNumber uploadId"
WITHIN = 60
"""Seconds that a thread may wait for others here."""


def write_all(writer: S3Writer, content: bytes) -> None:
    for position in range(0, len(content), MIB):
        writer.write(content[position : position + MIB])
    writer.close()


class Together:
    """Lets parts through only when so many of them are here."""

    def __init__(self, gate: Gate, number: int) -> None:
        self._meeting = threading.Barrier(number, timeout=WITHIN)
        self._lock = threading.Lock()
        self.here = self.most = 0
        gate.answer = self._answer

    def _answer(self, operation: str, _: dict[str, str]) -> None:
        if operation != A_PART:
            return
        with self._lock:
            self.here += 1
            self.most = max(self.most, self.here)
        self._meeting.wait()
        with self._lock:
            self.here -= 1


@pytest.mark.parametrize(
    ("concurrency", "part", "at_once"),
    [(1, SMALLEST, 1), (2, SMALLEST, 2), (None, SMALLEST, 6), (None, None, 3)],
)
def test_so_many_parts_are_sent_at_once_and_no_more(
    make_s3: MakeS3, gate: Gate, concurrency: int | None, part: int | None, at_once: int
) -> None:
    own = {"upload_concurrency": concurrency} if concurrency else {}
    storage, content = make_s3(**own), noise(2 * at_once * (part or PART))
    together = Together(gate, at_once)
    storage.lanes.now = storage.lanes.most  # As it has learnt.
    writer = storage.open_writer(key := new_key(), mimetype="", filename="")
    if part:
        writer.announce(len(content))

    write_all(writer, content)

    assert together.most == at_once
    gate.reset()
    assert content_of(storage, key) == content


def test_parts_that_arrive_in_another_order_make_the_same_file(
    make_s3: MakeS3, gate: Gate
) -> None:
    storage, content = make_s3(), noise(3 * SMALLEST + 5)
    storage.lanes.now = 4
    writer = storage.open_writer(key := new_key(), mimetype="", filename="")
    writer.announce(len(content))
    last, arrived = threading.Event(), []

    def answer(operation: str, headers: dict[str, str]) -> None:
        if operation == A_PART and headers["content-length"] != "5":
            assert last.wait(WITHIN)
        elif operation == A_PART:
            last.set()
        if operation == A_PART:
            arrived.append(headers["content-length"])

    gate.answer = answer
    write_all(writer, content)

    assert arrived[0] == "5"
    gate.reset()
    assert content_of(storage, key) == content


@pytest.mark.parametrize("refused", [0, 1, 3, 4])
def test_nothing_is_left_of_a_file_of_which_one_part_was_refused(
    make_s3: MakeS3, gate: Gate, s3: Any, bucket: str, refused: int
) -> None:
    """Others are on their way meanwhile: what arrived after the end would stay for ever."""
    storage, lock, seen = make_s3(), threading.Lock(), [0]

    def answer(operation: str, _: dict[str, str]) -> tuple[int, str] | None:
        if operation != A_PART:
            return None
        with lock:
            seen[0] += 1
            return (403, "AccessDenied") if seen[0] == refused + 1 else None

    gate.answer = answer
    writer = storage.open_writer(new_key(), mimetype="", filename="")
    with pytest.raises(StoreError, match="AccessDenied"):
        write_all(writer, noise(5 * PART))
    writer.abort()

    gate.reset()
    assert list(storage.files()) == []
    assert uploads_under_way(s3, bucket) == []


def test_a_writer_that_is_given_up_waits_for_its_parts(
    make_s3: MakeS3, gate: Gate, s3: Any, bucket: str
) -> None:
    storage, lock = make_s3(), threading.Lock()
    order: list[str] = []

    def answer(operation: str, _: dict[str, str]) -> None:
        with lock:
            order.append(operation)

    gate.answer = answer
    writer = storage.open_writer(new_key(), mimetype="", filename="")
    writer.write(noise(4 * PART))

    writer.abort()

    assert order[-1] == "DELETE uploadId"
    assert uploads_under_way(s3, bucket) == []


@pytest.mark.parametrize(
    ("size", "part"),
    [
        (0, PART),
        (PART, PART),
        (PART + 1, SMALLEST),
        (MAX_PARTS * SMALLEST, SMALLEST),
        (MAX_PARTS * SMALLEST + 1, SMALLEST + MIB),
        (MAX_PARTS * LARGEST, LARGEST),
    ],
)
def test_parts_are_as_large_as_the_length_that_was_announced_asks_for(
    make_s3: MakeS3, size: int, part: int
) -> None:
    writer = make_s3().open_writer(new_key(), mimetype="", filename="")

    writer.announce(size)

    assert writer.part == part
    assert size <= MAX_PARTS * writer.part


def test_a_length_that_would_not_fit_is_refused_at_once(
    make_remote_server: Callable[..., Server], bucket: str, gated: tuple[str, Gate], gate: Gate
) -> None:
    settings = storage_parts.s3_settings(gated[0], bucket)
    owner = make_remote_server(settings).as_user()
    owner.upload(status=201)
    gate.reset()
    environ = {
        "CONTENT_LENGTH": str(MAX_PARTS * LARGEST + 1),
        "CONTENT_TYPE": "image/png",
        "wsgi.input": io.BytesIO(noise(MIB)),
    }

    refused = owner.request("PUT", f"{ATTACHMENT}?filename=a.png", 413, environ=environ)

    assert refused.json["details"]["reason"] == "too_large"
    assert not [seen for seen, _ in gate.seen if seen.startswith(("PUT", "POST"))]


def test_where_no_thread_is_to_be_had_parts_are_sent_one_by_one(
    make_s3: MakeS3, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    storage, content = make_s3(), noise(2 * PART + 5)
    monkeypatch.setattr(streams, "Thread", type("Refused", (threading.Thread,), {"start": refuse}))

    key = write(storage, new_key(), content, step=1_000_000)

    assert content_of(storage, key) == content


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], 1),
        ([0.1], 2),
        ([0.1] * 20, 8),
        ([0.1, *[2.0] * 20], 2),  # As many as the line bears.
        ([*[0.1] * 20, 5.0], 4),
        ([*[0.1] * 20, *[5.0] * 9], 1),
        ([float("inf")], 1),
        ([5.0, 5.0, 0.1], 2),
    ],
)
def test_fewer_parts_are_sent_at_once_where_the_line_is_slow(
    seconds: list[float], expected: int
) -> None:
    lanes = Lanes(8, timeout=10.0)

    for one in seconds:
        lanes.took(one)

    assert lanes.now == expected


def test_no_more_parts_are_sent_at_once_than_was_asked_for() -> None:
    lanes = Lanes(1, timeout=10.0)
    assert lanes.now == 1

    lanes.took(0.1)

    assert lanes.now == 1


def test_a_part_that_is_under_way_keeps_no_process_from_ending(
    make_s3: MakeS3, gate: Gate
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def answer(operation: str, _: dict[str, str]) -> None:
        if operation == A_PART:
            arrived.set()
            assert go_on.wait(WITHIN)

    gate.answer = answer
    writer = make_s3().open_writer(new_key(), mimetype="", filename="")
    before = set(threading.enumerate())
    writer.write(noise(2 * PART))
    assert arrived.wait(WITHIN)

    ours = {t for t in threading.enumerate() if "_send_now" in t.name} - before

    assert ours
    assert all(thread.daemon for thread in ours)
    go_on.set()
    writer.abort()
