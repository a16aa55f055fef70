"""The contract of a store, as a test class: whoever writes a backend can run it with pytest.

.. code-block:: python

    from kinto_attachment.testing import StoreContract

    class TestMyStorage(StoreContract):
        @pytest.fixture
        def store(self):
            yield MyStorage(...)  # An empty one for each test.

For pytest to explain what differs, call ``pytest.register_assert_rewrite`` with this module's
name before it is imported.

What a store can do besides, it tells by the methods that it has: ``open`` and ``stat``
(``Readable``), ``files`` (``Listable``), ``presigned_url`` (``Presigning``), and those of
``Marked``. Who has one method of such a group must have all of it.

Keys are made as the plugin makes them. A backend that only has ``save``, ``url`` and ``delete``
is run as ``ThirdPartyStorage(MyBackend(...))``: tests of what it lacks are skipped,
unless :meth:`StoreContract.content` and :meth:`StoreContract.listing` find another way.

One file, although long, since third parties read it as one list of duties.
"""

import contextlib
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import shake_128

import pytest
from pyramid_storage.interfaces import IFileStorage

from kinto_attachment import keys
from kinto_attachment.storage import (
    Listable,
    Presigning,
    Readable,
    Store,
    UnsafeKey,
    Writer,
)
from kinto_attachment.storage.interface import POWERS

LARGE = 9 * 1024 * 1024 + 17
"""Bytes: more than one part of a multipart upload, and no round number."""

CLOCKS = 300
"""Seconds that the clocks of the store and of this machine may differ."""

UNSAFE = ("", "/", "/etc/passwd", "../a", "a/../../b", "a//b", "a/./b", "a/", "a\0b", "a\\..\\b")


def new_key(folder: str = "", name: str | None = None, suffix: str = ".bin") -> str:
    """A key as the plugin makes them."""
    return keys.build(keys.new_id(), folder, name, suffix)


@functools.cache
def noise(size: int) -> bytes:
    """Bytes of every value that compress badly, and are the same each time."""
    return shake_128(b"noise").digest(size)


def write(store: Store, key: str, content: bytes = b"content", step: int = 100_000) -> str:
    """Store a file in pieces of ``step`` bytes; returns the key that it has got."""
    writer = start(store, key, content, step)
    return writer.close() or key


def start(store: Store, key: str, content: bytes, step: int = 100_000) -> Writer:
    """A writer that has been given all bytes of a file, and is not closed."""
    writer = store.open_writer(key, mimetype="text/plain", filename="notes.txt")
    for position in range(0, len(content), step):
        writer.write(content[position : position + step])
    return writer


def readable(store: Store) -> Readable:
    """The store itself; skips the test where it can't be read."""
    if not isinstance(store, Readable):
        pytest.skip("this store can't read files")
    return store


class StoreContract:
    """Duties of every store. Subclass it, and give a fixture ``store``."""

    def content(self, store: Store, key: str) -> bytes:
        """The bytes of a file. Override it where the store can't be read."""
        with contextlib.closing(readable(store).open(key)) as reader:
            return b"".join(reader)

    def listing(self, store: Store) -> set[str]:
        """The keys in the store. Override it where the store can't list them."""
        if not isinstance(store, Listable):
            pytest.skip("this store can't list files")
        found = [file.key for file in store.files()]
        assert len(found) == len(set(found)), "a file is listed twice"
        return set(found)

    def read(self, store: Store, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """A range of a file."""
        with contextlib.closing(readable(store).open(key, start, stop)) as reader:
            return b"".join(reader)

    def is_missing(self, store: Store, key: str) -> bool:
        """Whether a file is not there, by whatever way the store can tell."""
        if not isinstance(store, Readable):
            return key not in self.listing(store)
        try:
            store.stat(key)
        except FileNotFoundError:
            return True
        return False

    def long_ago(self) -> float:
        """A time before the test, in seconds since 1970. Override it for a service whose
        clock stands still."""
        return time.time() - CLOCKS

    # What it is

    def test_it_is_a_store_for_us_and_for_pyramid_storage(self, store: Store) -> None:
        assert isinstance(store, Store)
        backend = getattr(store, "backend", store)
        assert IFileStorage.providedBy(backend) or hasattr(backend, "save")

    @pytest.mark.parametrize("power", POWERS, ids=lambda power: power.__name__)
    def test_what_it_offers_it_offers_as_a_whole(self, store: Store, power: type[object]) -> None:
        if any(hasattr(store, name) for name in POWERS[power]):
            assert isinstance(store, power)

    def test_its_public_attributes_can_be_looked_at(self, store: Store) -> None:
        # Kinto's metrics do that to every public name, properties included.
        for name in dir(store):
            if not name.startswith("_"):
                getattr(store, name)

    def test_url_is_a_text_that_ends_with_the_name(self, store: Store) -> None:
        key = write(store, new_key("folder"))

        assert str(store.url(key)).endswith(key.rpartition("/")[2])

    # Writing

    @pytest.mark.parametrize("size", [0, 1, 100_000, 300_001], ids=str)
    def test_a_file_is_read_back_as_it_was_written(self, store: Store, size: int) -> None:
        key = write(store, new_key(), noise(size))

        assert self.content(store, key) == noise(size)

    @pytest.mark.parametrize("size", [8 * 1024 * 1024, LARGE], ids=str)
    def test_a_large_file_is_read_back_as_it_was_written(self, store: Store, size: int) -> None:
        key = write(store, new_key(), noise(size), step=256 * 1024)

        assert self.content(store, key) == noise(size)

    def test_a_piece_may_be_of_any_size_and_empty(self, store: Store) -> None:
        key = new_key()
        writer = store.open_writer(key, mimetype="", filename="")
        for piece in (b"", b"a", b"", noise(LARGE), b"z"):
            writer.write(piece)
        key = writer.close() or key

        assert self.content(store, key) == b"a" + noise(LARGE) + b"z"

    @pytest.mark.parametrize("name", [None, "日本.txt", "a.b-c_d.tar.gz", "ÄÖ.jpg", "file"])
    @pytest.mark.parametrize("folder", ["", "one/two", "with space", "100%+&=~'@", "アルバム"])
    def test_every_key_of_the_plugin_can_be_used(
        self, store: Store, folder: str, name: str | None
    ) -> None:
        key = write(store, new_key(folder, name), b"here")

        assert self.content(store, key) == b"here"
        assert self.listing(store) == {key}
        assert store.delete(key) is True
        assert self.is_missing(store, key)

    def test_a_key_keeps_its_id(self, store: Store) -> None:
        asked = new_key("folder", "日本.txt")

        assert keys.id_of_key(write(store, asked)) == keys.id_of_key(asked)

    @pytest.mark.parametrize("size", [7, LARGE], ids=str)
    def test_a_file_is_not_there_before_it_is_closed(self, store: Store, size: int) -> None:
        key = new_key()
        writer = start(store, key, noise(size))

        assert self.is_missing(store, key)
        assert self.listing(store) == set()
        writer.abort()

    @pytest.mark.parametrize("size", [0, 7, LARGE], ids=str)
    def test_an_aborted_file_leaves_nothing(self, store: Store, size: int) -> None:
        key = new_key("folder")
        writer = start(store, key, noise(size))
        writer.abort()
        writer.abort()

        assert self.is_missing(store, key)
        assert self.listing(store) == set()
        assert self.content(store, write(store, key, b"again")) == b"again"

    @pytest.mark.parametrize("size", [7, LARGE], ids=str)
    def test_to_abort_after_close_does_nothing(self, store: Store, size: int) -> None:
        key = new_key()
        writer = start(store, key, noise(size))
        key = writer.close() or key
        writer.abort()

        assert self.content(store, key) == noise(size)

    @pytest.mark.parametrize("size", [7, LARGE], ids=str)
    def test_a_file_is_never_written_over_another(self, store: Store, size: int) -> None:
        key = write(store, new_key("folder"), b"first")
        writer = start(store, key, noise(size))

        with pytest.raises(FileExistsError):
            writer.close()
        writer.abort()

        assert self.content(store, key) == b"first"
        assert self.listing(store) == {key}

    def test_of_two_writers_of_one_key_the_first_to_close_wins(self, store: Store) -> None:
        key = new_key()
        slow, quick = start(store, key, b"slow"), start(store, key, b"quick")
        key = quick.close() or key

        with pytest.raises(FileExistsError):
            slow.close()

        assert self.content(store, key) == b"quick"

    def test_many_threads_write_read_and_delete_at_once(self, store: Store) -> None:
        wanted = {new_key(f"folder{n % 3}"): noise(50_000 + n) for n in range(24)}

        def work(key: str) -> bool:
            stored = write(store, key, wanted[key], step=9_999)
            same = self.content(store, stored) == wanted[key]
            return same and store.delete(stored)

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(work, wanted)) == [True] * len(wanted)
        assert self.listing(store) == set()

    # Reading

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (9, None, b"9"),
            (0, 1, b"0"),
            (2, 5, b"234"),
            (2, 10, b"23456789"),
            (2, 99, b"23456789"),
            (0, 0, b""),
            (4, 4, b""),
            (10, None, b""),
            (10, 20, b""),
        ],
    )
    def test_a_range_goes_up_to_its_stop_and_without_it(
        self, store: Store, start: int, stop: int | None, expected: bytes
    ) -> None:
        key = write(store, new_key(), b"0123456789")

        assert self.read(store, key, start, stop) == expected

    def test_a_range_of_a_large_file(self, store: Store) -> None:
        key = write(store, new_key(), noise(LARGE))
        edge = 8 * 1024 * 1024

        assert self.read(store, key, edge - 3, edge + 3) == noise(LARGE)[edge - 3 : edge + 3]
        assert self.read(store, key, 1) == noise(LARGE)[1:]

    def test_a_range_of_an_empty_file_is_empty(self, store: Store) -> None:
        key = write(store, new_key(), b"")

        assert self.read(store, key, 0, 5) == b""

    def test_a_missing_file_is_told_when_it_is_opened(self, store: Store) -> None:
        reads = readable(store)

        for start, stop in ((0, None), (0, 0), (3, 5)):
            with pytest.raises(FileNotFoundError):
                reads.open(new_key(), start, stop)

    def test_a_reader_may_be_closed_early_and_twice(self, store: Store) -> None:
        reads = readable(store)
        key = write(store, new_key(), noise(LARGE))
        reader = reads.open(key)

        assert noise(LARGE).startswith(next(reader))
        reader.close()
        reader.close()

    def test_stat_tells_size_and_time(self, store: Store) -> None:
        reads = readable(store)
        key = write(store, new_key(), noise(4321))
        found = reads.stat(key)

        assert (found.key, found.size) == (key, 4321)
        assert abs(found.modified - time.time()) < CLOCKS

    def test_stat_of_a_missing_file_raises(self, store: Store) -> None:
        reads = readable(store)
        key = write(store, new_key("folder", "name.txt"))

        for missing in (new_key(), key[:-1], f"{key}.txt", f"other/{key}"):
            with pytest.raises(FileNotFoundError):
                reads.stat(missing)

    def test_every_file_is_listed_once_as_stat_tells_it(self, store: Store) -> None:
        sizes = {write(store, new_key(f"f{n % 4}"), noise(n)): n for n in range(25)}

        assert self.listing(store) == set(sizes)
        if isinstance(store, Readable) and isinstance(store, Listable):
            found = list(store.files())
            assert {file.key: file.size for file in found} == sizes
            assert all(abs(file.modified - time.time()) < CLOCKS for file in found)
            assert {file.key for file in map(store.stat, sizes)} == set(sizes)

    # Removing

    def test_a_deleted_file_is_gone_and_its_neighbours_are_not(self, store: Store) -> None:
        key = write(store, new_key("folder", "name"))
        near = [write(store, new_key("folder", "name")), write(store, f"{key}.txt")]

        assert store.delete(key) is True

        assert self.is_missing(store, key)
        assert self.listing(store) == set(near)

    def test_to_delete_a_missing_file_is_no_error(self, store: Store) -> None:
        key = write(store, new_key())
        store.delete(key)

        assert store.delete(key) is False
        assert store.delete(new_key("nowhere")) is False

    def test_many_files_are_deleted_whether_or_not_they_are_there(self, store: Store) -> None:
        kept, *doomed = (write(store, new_key("folder")) for _ in range(5))

        store.delete_many(iter([new_key(), doomed[0], new_key("nowhere"), *doomed]))
        store.delete_many([])

        assert self.listing(store) == {kept}

    def test_unfinished_files_are_removed_once_they_are_old(self, store: Store) -> None:
        key = write(store, new_key(), b"finished")
        writer = start(store, new_key(), noise(LARGE))

        assert store.remove_unfinished(self.long_ago()) == 0
        assert store.remove_unfinished(time.time() + CLOCKS) in (0, 1)

        assert self.content(store, key) == b"finished"
        writer.abort()

    def test_a_file_under_way_is_not_taken_for_an_old_one(self, store: Store) -> None:
        key = new_key()
        writer = start(store, key, noise(LARGE))
        store.remove_unfinished(self.long_ago())
        key = writer.close() or key

        assert self.content(store, key) == noise(LARGE)

    # Safety and health

    @pytest.mark.parametrize("key", UNSAFE, ids=ascii)
    def test_a_key_that_could_lead_elsewhere_is_refused(self, store: Store, key: str) -> None:
        with pytest.raises(UnsafeKey):
            store.open_writer(key, mimetype="", filename="")
        with pytest.raises(UnsafeKey):
            store.delete(key)
        if isinstance(store, Readable):
            with pytest.raises(UnsafeKey):
                store.open(key)
            with pytest.raises(UnsafeKey):
                store.stat(key)

    def test_a_probe_leaves_nothing_and_touches_nothing(self, store: Store) -> None:
        key = write(store, new_key())
        store.probe()

        assert self.listing(store) == {key}

    def test_a_presigned_url_is_a_url_or_nothing(self, store: Store) -> None:
        if isinstance(store, Presigning):
            key = write(store, new_key())
            url = store.presigned_url(key, "日本.txt", "text/plain", 60)

            assert url is None or url.startswith(("https://", "http://"))
