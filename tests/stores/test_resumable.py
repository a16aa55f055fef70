"""Files that come in several requests, to every store that can keep them."""

import contextlib
import hashlib
import os
import random
import subprocess
import sys
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import moto.s3.models
import pytest

from kinto_attachment.storage import (
    FIRST_BYTES,
    Finished,
    OffsetDiffers,
    Progress,
    Resumable,
    State,
    StoreError,
    Superseded,
    UnsafeKey,
    UploadGone,
    tails,
)
from kinto_attachment.storage.gcloud.uploads import GoogleUploads
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.local import uploads as local_uploads
from kinto_attachment.storage.network import PART
from kinto_attachment.storage.s3.uploads import S3Uploads
from kinto_attachment.storage.unfinished import UPLOADS
from kinto_attachment.testing import new_key, noise, write
from tests.stores.places import UNIT, Bucket, Directory, GoogleBucket, Place, carried
from tests.support.storage_parts import Emulator, Gate

EDGES = (0, 1, UNIT - 1, UNIT, UNIT + 1, 3 * UNIT, 5 * UNIT + 7)

Begin = Callable[..., State]


@pytest.fixture(scope="module")
def bucket_place(gated: tuple[str, Gate], s3: Any) -> Iterator[Bucket]:
    made = Bucket(gated[0], s3)
    yield made
    made.close()


@pytest.fixture(scope="module")
def google_place(google: Emulator) -> Iterator[GoogleBucket]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", google.url)
        made = GoogleBucket(google.make_bucket())
        yield made
        made.close()


@pytest.fixture(params=["local", "s3", "gcloud"])
def place(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Place]:
    """Each store in turn, with units of a few KiB."""
    monkeypatch.setattr(local_uploads, "PIECE", UNIT)
    monkeypatch.setattr(local_uploads, "SAVE_EVERY", 0)
    monkeypatch.setattr(S3Uploads, "unit", UNIT)
    monkeypatch.setattr(S3Uploads, "piece", UNIT)
    monkeypatch.setattr(GoogleUploads, "unit", UNIT)
    monkeypatch.setattr(GoogleUploads, "piece", 2 * UNIT)
    monkeypatch.setattr(tails, "SUM_EVERY", 0)
    monkeypatch.setattr(moto.s3.models, "S3_UPLOAD_PART_MIN_SIZE", 1)
    if request.param == "local":
        yield Directory(tmp_path)
        return
    name = {"s3": "bucket_place", "gcloud": "google_place"}[request.param]
    made: Bucket | GoogleBucket = request.getfixturevalue(name)
    if isinstance(made, GoogleBucket):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("google").url)
    yield made
    made.clear()


def begin(place: Place, key: str | None = None) -> State:
    key = key or new_key("folder", "name.txt")
    upload_id = str(uuid.uuid4())
    state = place.uploads.begin(upload_id, key, mimetype="text/plain", filename="name.txt")
    return carried(state)


def always() -> bool:
    return True


def append(place: Place, state: State, offset: int, *chunks: bytes) -> int:
    """By a node that knows of the upload what its state says."""
    return place.uploads.append(carried(state), offset, chunks, always)


def chunked(content: bytes, size: int) -> Iterator[bytes]:
    for position in range(0, len(content), size):
        yield content[position : position + size]


def received(key: str, content: bytes) -> Finished:
    return Finished(key, hashlib.sha256(content).digest(), len(content))


def gone_after(*chunks: bytes) -> Iterator[bytes]:
    """A client who sends this, and goes away."""
    yield from chunks
    raise ConnectionResetError("the client has gone")


# From the beginning to the end


@pytest.mark.parametrize("size", EDGES)
def test_a_file_that_comes_at_once_is_published(place: Place, size: int) -> None:
    state = begin(place)
    assert place.uploads.progress(state) == Progress(0, 0)
    offset = append(place, state, 0, *chunked(noise(size), 999))

    assert offset == size
    assert place.uploads.progress(state) == Progress(size, size)
    assert place.files() == []
    assert place.uploads.finish(state, size) == received(state["key"], noise(size))
    assert place.content(state["key"]) == noise(size)
    assert place.files() == [state["key"]]


@pytest.mark.parametrize("seed", range(6))
def test_a_file_that_comes_in_random_pieces_is_whole(place: Place, seed: int) -> None:
    """Each by another node; some break off, and what had come counts."""
    chance = random.Random(seed)
    content = noise(chance.choice([*EDGES[4:], chance.randrange(8 * UNIT)]))
    cuts = sorted(chance.randrange(len(content) + 1) for _ in range(chance.randrange(12)))
    state, offset = begin(place), 0
    with place.counting() as read:
        for stop in [*cuts, len(content)]:
            chunks = list(chunked(content[offset:stop], chance.randrange(1, UNIT)))
            if chance.random() < 0.3:
                with pytest.raises(ConnectionResetError):
                    place.uploads.append(state, offset, gone_after(*chunks), always)
            else:
                assert append(place, state, offset, *chunks) == stop
            offset = stop
            assert place.uploads.progress(carried(state)) == Progress(offset, offset)
        found = place.uploads.finish(carried(state), len(content))

        # What waited in a tail is read once, and nothing else is.
        assert len({name for name, _ in read}) == len(read)
        assert not any(state["key"] in name for name, _ in read)
        assert read == [] or not isinstance(place, Directory)
    assert found == received(state["key"], content)
    assert place.content(state["key"]) == content
    place.uploads.discard(carried(state))
    assert place.leftovers() == []


def test_what_came_before_the_client_went_counts(place: Place) -> None:
    state = begin(place)
    with pytest.raises(ConnectionResetError):
        place.uploads.append(state, 0, gone_after(b"abc", b"", noise(UNIT), b"de"), always)

    assert place.uploads.progress(state) == Progress(UNIT + 5, UNIT + 5)
    append(place, state, UNIT + 5, b"f")
    content = b"abc" + noise(UNIT) + b"def"
    assert place.uploads.finish(state, UNIT + 6) == received(state["key"], content)


def test_nothing_at_all_may_come(place: Place) -> None:
    state = begin(place)
    for sent in ((), (b"",), (b"", b"")):
        assert append(place, state, 0, *sent) == 0
    append(place, state, 0, b"x")
    assert append(place, state, 1) == 1
    with pytest.raises(ConnectionResetError):
        place.uploads.append(state, 1, gone_after(), always)

    assert place.uploads.finish(state, 1) == received(state["key"], b"x")


def test_many_small_requests_fill_a_unit(place: Place) -> None:
    state = begin(place)
    for n in range(20):
        append(place, state, n * 1000, noise(20_000)[n * 1000 : (n + 1) * 1000])

    assert place.uploads.finish(state, 20_000) == received(state["key"], noise(20_000))


def test_all_parts_of_s3_but_the_last_are_of_one_size(place: Place) -> None:
    """Clones of it want that."""
    if not isinstance(place, Bucket):
        pytest.skip("it has no parts")
    state, start = begin(place), 0
    for size in (1, UNIT - 1, 3 * UNIT + 5, UNIT, 7, 2 * UNIT):
        append(place, state, start, noise(start + size)[start:])
        start += size

    where = {"Bucket": place.store().bucket_name, "Key": state["key"]}
    parts = place.store().s3_client.list_parts(**where, UploadId=state["multipart"])["Parts"]
    assert [part["Size"] for part in parts] == [UNIT] * (start // UNIT)
    assert place.uploads.finish(state, start) == received(state["key"], noise(start))


def test_an_upload_is_resumable_and_its_limit_is_told(place: Place) -> None:
    store = place.store()

    assert isinstance(store, Resumable)
    assert store.uploads.largest is None or store.uploads.largest >= 10_000 * UNIT


@pytest.mark.parametrize("upload_id", ["", ".", "..", "a/b", "../a", "a.b", "é", "a" * 129])
def test_an_id_that_could_lead_elsewhere_is_refused(place: Place, upload_id: str) -> None:
    with pytest.raises(UnsafeKey):
        place.uploads.begin(upload_id, new_key(), mimetype="", filename="")
    with pytest.raises(UnsafeKey):
        place.uploads.begin("good", "../bad", mimetype="", filename="")

    assert place.leftovers() == []


# Offsets


@pytest.mark.parametrize("has", [0, 5, UNIT, UNIT + 5])
@pytest.mark.parametrize("beside", [-1, 1, UNIT])
def test_bytes_for_another_place_are_refused(place: Place, has: int, beside: int) -> None:
    state = begin(place)
    append(place, state, 0, noise(has))

    with pytest.raises(OffsetDiffers) as refused:
        append(place, state, has + beside, b"wrong")
    with pytest.raises(OffsetDiffers):
        place.uploads.finish(state, has + beside)

    assert refused.value.offset == has
    assert place.uploads.progress(state) == Progress(has, has)
    assert place.files() == []
    assert place.uploads.finish(state, has) == received(state["key"], noise(has))


def test_an_acknowledged_offset_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one that was only asked for, as after a kill of who has written."""
    synced: list[int] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    uploads = LocalFileStorage(str(tmp_path), fsync=True).uploads
    state = uploads.begin("id", new_key(), mimetype="", filename="")
    monkeypatch.setattr(os, "fsync", noted)
    uploads.append(state, 0, [noise(12_345)], always)
    assert set(synced) == {12_345}
    synced.clear()
    uploads.progress(state)
    assert synced == [12_345]


# Two writers


def interrupted(first: Iterable[bytes], act: Callable[[], Any], then: bytes) -> Iterator[bytes]:
    """A client that hangs after some chunks; meanwhile something happens."""
    yield from first
    act()
    yield from chunked(then, 1000)


@pytest.mark.parametrize("late", [1, UNIT + 3, 4 * UNIT])
@pytest.mark.parametrize("early", [0, 10, UNIT, 2 * UNIT + 10])
@pytest.mark.parametrize("has", [0, 10, UNIT])
def test_late_bytes_of_an_overtaken_writer_change_nothing(
    place: Place, has: int, early: int, late: int
) -> None:
    """He hangs in the middle of his body while another node goes on: neither waits."""
    state, epoch, seen = begin(place), [1], []
    append(place, state, 0, noise(has))

    def overtake() -> None:
        epoch[0] = 2
        seen.append(place.uploads.progress(state).offset)
        assert append(place, state, seen[0], b"new", noise(UNIT)) == seen[0] + 3 + UNIT

    body = interrupted([noise(early)], overtake, b"z" * late)
    with pytest.raises((Superseded, OffsetDiffers)):
        place.uploads.append(state, has, body, lambda: epoch[0] == 1)

    whole = seen[0] + 3 + UNIT
    assert place.uploads.progress(state) == Progress(whole, whole)
    content = (noise(has) + noise(early))[: seen[0]] + b"new" + noise(UNIT)
    assert place.uploads.finish(state, whole) == received(state["key"], content)
    assert place.content(state["key"]) == content


@pytest.mark.parametrize("late", [1, UNIT + 3, 4 * UNIT])
@pytest.mark.parametrize("early", [10, UNIT, 2 * UNIT + 10])
def test_after_an_offset_was_told_nothing_is_added_to_it(
    place: Place, early: int, late: int
) -> None:
    """Whoever asks overtakes; he finds the offset at which he goes on."""
    state, epoch, told = begin(place), [1], []

    def ask() -> None:
        epoch[0] = 2
        told.append(place.uploads.progress(state))

    body = interrupted([noise(early)], ask, b"z" * late)
    with pytest.raises(Superseded):
        place.uploads.append(state, 0, body, lambda: epoch[0] == 1)

    assert [place.uploads.progress(state)] == told
    assert told[0].hashed == told[0].offset


@pytest.mark.parametrize("late", [1, UNIT - 30, UNIT, 3 * UNIT + 3])
@pytest.mark.parametrize("new", [1, UNIT - 30, 2 * UNIT])
def test_two_whom_no_fence_keeps_apart_can_not_spoil_a_file(
    place: Place, new: int, late: int
) -> None:
    """Both ask the fence before the other one comes. They send different bytes, as no client
    would; still the file has the digest that is told, and no offset goes back."""
    state, told = begin(place), []
    append(place, state, 0, b"begun")

    def overtake() -> None:
        told.append(append(place, state, 5, b"n" * new))

    with contextlib.suppress(OffsetDiffers, StoreError):
        body = interrupted([b"early"], overtake, b"z" * late)
        told.append(place.uploads.append(state, 5, body, always))

    offset = place.uploads.progress(state).offset
    assert offset >= max(told)
    offset = append(place, state, offset, noise(UNIT))
    found = place.uploads.finish(state, offset)
    content = place.content(state["key"])
    assert found == received(state["key"], content)
    assert content.startswith(b"begun")
    assert len(content) == offset
    if isinstance(place, Directory):  # There nothing is ever on its way.
        assert content[5:].startswith(b"n" * new)


@pytest.mark.parametrize("allowed", range(3))
def test_the_fence_is_asked_before_each_piece(place: Place, allowed: int) -> None:
    state = begin(place)
    asked: list[int] = []

    def fence() -> bool:
        asked.append(len(asked))
        return len(asked) <= allowed

    with pytest.raises(Superseded):
        place.uploads.append(state, 0, chunked(noise(9 * UNIT), UNIT), fence)

    assert len(asked) == allowed + 1
    piece = 2 * UNIT if isinstance(place, GoogleBucket) else UNIT
    assert place.uploads.progress(state).offset == allowed * piece


def test_a_writer_who_comes_after_the_end_changes_nothing(place: Place) -> None:
    state = begin(place)
    append(place, state, 0, b"abc")

    def end() -> None:
        assert place.uploads.finish(state, 4) == received(state["key"], b"abcd")

    append(place, state, 3, b"d")
    with pytest.raises((Superseded, OffsetDiffers, StoreError)):
        place.uploads.append(state, 4, interrupted([], end, noise(3 * UNIT)), always)

    assert place.content(state["key"]) == b"abcd"
    assert place.uploads.finish(state, 4) == received(state["key"], b"abcd")


# The end


@pytest.mark.parametrize("size", EDGES)
def test_a_file_is_finished_as_often_as_one_asks(place: Place, size: int) -> None:
    """As after a crash between the file and its record."""
    state = begin(place)
    append(place, state, 0, noise(size))
    expected = received(state["key"], noise(size))

    assert place.uploads.finish(state, size) == expected
    assert place.uploads.progress(carried(state)) == Progress(size, size, published=True)
    with place.counting() as read:
        assert place.uploads.finish(carried(state), size) == expected
    assert read == []
    with pytest.raises(OffsetDiffers):
        place.uploads.finish(state, size + 1)
    with pytest.raises(OffsetDiffers):
        append(place, state, size, b"more")
    place.uploads.discard(state)

    assert place.leftovers() == []
    assert place.content(state["key"]) == noise(size)


@pytest.mark.parametrize("size", EDGES)
def test_a_file_of_somebody_else_is_never_written_over(place: Place, size: int) -> None:
    state = begin(place)
    append(place, state, 0, noise(size))
    write(place.store(), state["key"], b"first")

    # The emulator keeps the last bytes of the first time, and refuses them the second time.
    for _ in range(1 if isinstance(place, GoogleBucket) else 2):
        with pytest.raises(FileExistsError):
            place.uploads.finish(state, size)

    assert place.content(state["key"]) == b"first"
    place.uploads.discard(state)
    assert place.leftovers() == []
    assert place.content(state["key"]) == b"first"


@pytest.mark.parametrize("size", [0, 10])
def test_a_finish_that_was_killed_before_it_renamed_is_repeated(tmp_path: Path, size: int) -> None:
    """It has taken the name by an empty file."""
    place = Directory(tmp_path)
    state = begin(place)
    append(place, state, 0, noise(size))
    write(place.store(), state["key"], b"")

    assert place.uploads.finish(state, size) == received(state["key"], noise(size))
    assert place.content(state["key"]) == noise(size)


@pytest.mark.parametrize("size", [0, 10, UNIT, 2 * UNIT + 1])
def test_an_upload_that_is_discarded_is_gone(place: Place, size: int) -> None:
    state = begin(place)
    append(place, state, 0, noise(size))
    place.uploads.discard(state)
    place.uploads.discard(state)

    assert place.leftovers() == []
    for use in (
        lambda: place.uploads.progress(state),
        lambda: append(place, state, size, b"more"),
        lambda: place.uploads.first_bytes(state, 1),
        lambda: place.uploads.finish(state, size),
    ):
        with pytest.raises(UploadGone):
            use()
    assert place.files() == []


def test_a_writer_whose_upload_is_discarded_leaves_nothing(place: Place) -> None:
    state, living = begin(place), [True]

    def discard() -> None:
        living.clear()
        place.uploads.discard(state)

    body = interrupted([noise(UNIT + 1)], discard, noise(2 * UNIT))
    with pytest.raises((Superseded, UploadGone, OffsetDiffers, StoreError)):
        place.uploads.append(state, 0, body, lambda: bool(living))

    assert place.leftovers() == []
    assert place.files() == []


# What it begins with


@pytest.mark.parametrize("size", [0, 1, 10, 5000, FIRST_BYTES])
def test_the_first_bytes_can_be_read(place: Place, size: int) -> None:
    state, content = begin(place), noise(5000)
    for stop in (0, 3, 4, 3000, 5000):
        start = place.uploads.progress(state).offset
        append(place, state, start, content[start:stop])
        assert place.uploads.first_bytes(state, size) == content[:stop][:size]
    place.uploads.finish(state, 5000)

    assert place.uploads.first_bytes(state, size) == content[:size]


# What is left


def long_from_now() -> float:
    return time.time() + 3600


def test_only_what_is_old_and_nobody_goes_on_with_is_removed(place: Place) -> None:
    living, dead, empty = begin(place), begin(place), begin(place)
    for state in (living, dead):
        append(place, state, 0, noise(2 * UNIT + 9))
    finished = begin(place)
    append(place, finished, 0, b"done")
    place.uploads.finish(finished, 4)

    def is_living(upload_id: str) -> bool:
        return upload_id == living["id"]

    assert place.uploads.remove_abandoned(0, is_living) == 0
    removed = place.uploads.remove_abandoned(long_from_now(), is_living)

    # Google has nothing of an upload to which nothing has come.
    assert removed == (2 if isinstance(place, GoogleBucket) else 3)
    assert place.uploads.remove_abandoned(long_from_now(), is_living) == 0
    assert all(living["id"] in left or living["key"] in left for left in place.leftovers())
    assert place.uploads.progress(living) == Progress(2 * UNIT + 9, 2 * UNIT + 9)
    assert place.content(finished["key"]) == b"done"
    if not isinstance(place, GoogleBucket):
        for state in (dead, empty):
            with pytest.raises(UploadGone):
                place.uploads.progress(state)
    place.uploads.discard(living)
    assert place.leftovers() == []


def test_uploads_that_go_on_are_no_unfinished_files_of_one_request(place: Place) -> None:
    state = begin(place)
    append(place, state, 0, noise(2 * UNIT + 9))

    assert place.store().remove_unfinished(long_from_now()) == 0
    assert place.uploads.progress(state) == Progress(2 * UNIT + 9, 2 * UNIT + 9)


def test_removing_where_there_was_never_an_upload(place: Place) -> None:
    assert place.uploads.remove_abandoned(long_from_now(), lambda _: False) == 0


# Kills


def test_no_kill_takes_back_what_was_acknowledged(place: Place) -> None:
    """In another process, at lines of ours from the first to the last. All of an upload's
    requests are ended by it, and by the two nodes that go on; nothing is left behind."""
    every = {"local": 9, "s3": 127, "gcloud": 127}[place.kind]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.stores.dying", place.kind, place.where, str(every)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 10


# Memory


def test_memory_holds_no_more_than_a_part(place: Place) -> None:
    """With the real units, in a process of its own."""
    program = [sys.executable, "-m", "tests.stores.sending", place.kind, place.where]
    ran = subprocess.run(program, check=True, capture_output=True, text=True)

    assert int(ran.stdout) < {"local": 4, "s3": 16, "gcloud": 20}[place.kind] * 1024**2


def test_a_digest_of_bytes_that_a_power_cut_took_is_not_believed(tmp_path: Path) -> None:
    place = Directory(tmp_path)
    state = begin(place)
    append(place, state, 0, noise(1000))
    os.truncate(tmp_path / UPLOADS / state["id"], 400)

    assert place.uploads.progress(state) == Progress(400, 0)
    content = noise(400) + b"other"
    append(place, state, 400, b"other")
    assert place.uploads.finish(state, 405) == received(state["key"], content)


@pytest.mark.parametrize("damage", [b"", b"x", b"\xff" * 200, b"A" * 5000])
def test_a_damaged_digest_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    place = Directory(tmp_path)
    state = begin(place)
    append(place, state, 0, noise(1000))
    (tmp_path / UPLOADS / f"{state['id']}.state").write_bytes(damage)

    assert place.uploads.progress(state) == Progress(1000, 0)
    append(place, state, 1000, b"x")
    assert place.uploads.progress(state) == Progress(1001, 1001)
    assert place.uploads.finish(state, 1001) == received(state["key"], noise(1000) + b"x")


# Where SHA-256 can't go on


def test_without_libcrypto_the_file_is_read_once_at_its_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("storage.sha256", "storage.tails", "storage.local.uploads"):
        monkeypatch.setattr(f"kinto_attachment.{module}.can_go_on", lambda: False)
    state, content = begin(place), noise(3 * UNIT + 5)
    for stop in (100, 2 * UNIT, len(content)):
        start = place.uploads.progress(state).offset
        append(place, state, start, content[start:stop])
        assert place.uploads.progress(state) == Progress(stop, 0)

    for _ in range(2):
        assert place.uploads.finish(state, len(content)) == received(state["key"], content)
    place.uploads.discard(state)
    assert place.leftovers() == []


@pytest.mark.parametrize("name", ["bucket_place", "google_place"])
def test_a_client_that_sends_nothing_yet_costs_no_part(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = request.getfixturevalue(name)
    if isinstance(place, GoogleBucket):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", request.getfixturevalue("google").url)
    state, held = begin(place), []

    def stalls() -> Iterator[bytes]:
        held.append(tracemalloc.get_traced_memory()[0])
        yield b"begun"

    append(place, state, 0, b"libraries are loaded")
    tracemalloc.start()
    try:
        place.uploads.append(carried(state), 20, stalls(), always)
    finally:
        tracemalloc.stop()

    assert held[0] < PART // 2
    place.clear()
