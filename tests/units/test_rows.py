"""The contract of the rows that decide about files, on every storage of Kinto's.

Kinto's own listings are capped at seven here: nothing may be hidden by that.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.rows import Rows, rows_of
from kinto_attachment.rows.interface import PAGE
from kinto_attachment.rows.links import Link, State
from kinto_attachment.targets import Target
from tests.support.parts import COLLECTION, Server, every_backend

pytestmark = every_backend()

CAP = "7"
MORE = 20
OTHER = "/buckets/pictures_2/collections/album"
NEIGHBOUR = "/buckets/picturesX2/collections/album"


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server({"kinto.storage_max_fetch_size": CAP})


@pytest.fixture
def rows(server: Server) -> Iterator[Rows]:
    yield server.rows()
    transaction.abort()


def link(record: str = f"{COLLECTION}/records/r", file_id: str | None = None, **more: Any) -> Link:
    file_id = file_id or keys.new_id()
    value = {"location": f"x/{file_id}.txt", "size": 1}
    return Link(file_id, record, f"{file_id}.txt", "0" * 64, "text/plain", "a", 1, value, **more)


def write_record(server: Server, uri: str, value: Any) -> None:
    """Past Kinto's views, as plugins do."""
    target = Target.of_uri(uri)
    server.registry.storage.update(
        resource_name="record",
        parent_id=target.collection_uri,
        object_id=target.record_id,
        obj={"attachment": value},
    )


def write_parents(server: Server) -> None:
    for parent, name, object_id in (
        ("", "bucket", "pictures"),
        ("/buckets/pictures", "collection", "album"),
    ):
        server.registry.storage.update(
            resource_name=name, parent_id=parent, object_id=object_id, obj={}
        )


def test_a_link_comes_back_as_it_was_written(rows: Rows) -> None:
    for state in State:
        written = link(state=state)
        rows.add([written])
        assert rows.to_files([written.file_id]) == [written]


def test_a_link_that_is_written_again_is_replaced(rows: Rows) -> None:
    first = link()
    second = replace(first, value={"location": "y"})

    rows.add([first, second])

    assert rows.to_files([first.file_id]) == [second]


def test_all_links_of_a_record_and_only_those_that_it_holds_are_found(rows: Rows) -> None:
    mine = [link() for _ in range(MORE)]
    rows.add([*mine, link(state=State.KEPT), link(f"{COLLECTION}/records/r2")])

    found = rows.of_records([f"{COLLECTION}/records/r"])

    assert {k.file_id for k in found} == {k.file_id for k in mine}


def test_a_file_is_held_by_records_and_by_being_kept_and_by_nothing_else(rows: Rows) -> None:
    held, kept, released = (
        link(state=state) for state in (State.HELD, State.KEPT, State.RELEASED)
    )
    rows.add([held, kept, released])

    ids = [held.file_id, kept.file_id, released.file_id, keys.new_id()]

    assert rows.held(ids) == {held.file_id, kept.file_id}
    assert rows.held([]) == set()


def test_everything_and_files_are_read_to_their_end(rows: Rows) -> None:
    links = [link(f"{COLLECTION}/records/r{n}") for n in range(PAGE + MORE)]
    rows.add(links)

    assert len([k for page in rows.everything() for k in page]) == len(links)
    assert len([k for page in rows.links_by_file() for (k,) in page]) == len(links)
    middle = sorted(k.file_id for k in links)[MORE]
    assert len([k for page in rows.links_by_file(middle) for (k,) in page]) == PAGE - 1


def test_a_file_comes_once_for_each_collection_however_many_records_hold_it(rows: Rows) -> None:
    file_id = keys.new_id()
    rows.add([link(f"{COLLECTION}/records/r{n}", file_id) for n in range(PAGE + MORE)])
    rows.add([link(f"{OTHER}/records/r", file_id), link(file_id=file_id, state=State.KEPT)])

    (found,) = [links for page in rows.links_by_file() for links in page]

    assert len(found) == 3
    assert rows.collections_with(file_id) == sorted([COLLECTION, OTHER])


def test_links_below_a_bucket_are_not_those_of_a_bucket_that_looks_like_it(rows: Rows) -> None:
    mine = [link(f"{OTHER}/records/r{n}") for n in range(MORE)]
    rows.add([*mine, link(f"{NEIGHBOUR}/records/r"), link(f"{OTHER}2/records/r")])

    below = [k.record_uri for page in rows.below("/buckets/pictures_2") for k in page]

    assert sorted(below) == sorted([*(k.record_uri for k in mine), f"{OTHER}2/records/r"])
    assert len([k for page in rows.below(OTHER) for k in page]) == MORE


def test_links_may_be_removed_while_they_are_read(rows: Rows) -> None:
    rows.add([link(f"{COLLECTION}/records/r{n}") for n in range(PAGE + MORE)])

    for page in rows.everything():
        rows.remove(page)

    assert not rows.any_links()


def test_a_link_that_says_something_else_by_now_is_not_removed(rows: Rows) -> None:
    read = link()
    now = replace(read, value={"location": "elsewhere"})
    rows.add([now])

    assert rows.remove([read]) == ([], set())
    assert rows.to_files([read.file_id]) == [now]


def test_removing_tells_which_files_others_still_hold(rows: Rows) -> None:
    file_id = keys.new_id()
    one, two, three = (link(f"{COLLECTION}/records/r{n}", file_id) for n in range(3))
    rows.add([one, two, three])

    assert rows.remove([one]) == ([one], {file_id})
    assert rows.remove([two, three]) == ([two, three], set())


def test_a_source_exists_and_names_the_file_now(server: Server, rows: Rows) -> None:
    file_id = keys.new_id()
    links = [link(f"{COLLECTION}/records/r{n}", file_id) for n in range(4)]
    rows.add(links)
    write_record(server, links[0].record_uri, links[0].value)
    write_record(server, links[1].record_uri, {"location": "another"})
    write_record(server, links[2].record_uri, links[2].value)
    server.registry.storage.delete(
        resource_name="record", parent_id=COLLECTION, object_id=links[2].target.record_id
    )

    assert rows.sources(file_id, None, 10) == [links[0]]
    assert rows.sources(file_id, [COLLECTION], 10, links[0].value) == [links[0]]
    assert rows.sources(file_id, [OTHER], 10) == []


def test_what_was_touched_is_seen_with_its_links(server: Server, rows: Rows) -> None:
    write_record(server, f"{COLLECTION}/records/here", {"location": "x"})
    held = link(f"{COLLECTION}/records/gone")
    rows.add([held])
    targets = [Target.of_uri(f"{COLLECTION}/records/{name}") for name in ("here", "gone")]

    with rows.atomically():
        seen = rows.touched(targets)

    assert seen.records[targets[0].uri].value == {"location": "x"}
    assert seen.records[targets[0].uri].written
    assert targets[1].uri not in seen.records
    assert seen.links == [held]


def test_values_and_records_are_read_to_their_end(server: Server, rows: Rows) -> None:
    write_parents(server)
    uris = [f"{COLLECTION}/records/r{n}" for n in range(MORE)]
    for uri in uris:
        write_record(server, uri, {"location": uri})

    assert rows.values([*uris, f"{COLLECTION}/records/none"]) == {
        uri: {"location": uri} for uri in uris
    }
    found = [row for page in rows.records_with_attachment() for row in page]
    assert {row.target.uri for row in found} == set(uris)
    assert rows.locations([*uris, "none"]) == set(uris)


def test_parents_exist_or_do_not(server: Server, rows: Rows) -> None:
    write_parents(server)

    assert rows.exists("/buckets/pictures")
    assert rows.exists(COLLECTION)
    assert not rows.exists(OTHER)
    rows.share_parents([COLLECTION, OTHER])
    assert rows.existing([COLLECTION, OTHER]) == {COLLECTION}


def test_a_locked_record_says_what_it_is(server: Server, rows: Rows) -> None:
    write_record(server, f"{COLLECTION}/records/r", {"location": "x"})

    locked = rows.lock_record(Target.of_uri(f"{COLLECTION}/records/r"))

    assert locked
    assert locked.attachment == {"location": "x"}
    assert rows.lock_record(Target.of_uri(f"{COLLECTION}/records/none")) is None


def test_whoever_locks_a_file_waits_for_the_one_that_has_it(server: Server) -> None:
    order: list[str] = []
    file_id, ready, waiting = keys.new_id(), threading.Event(), threading.Event()

    def second() -> None:
        ready.wait(60)
        own = rows_of(server.registry.storage)
        waiting.set()
        with own.turn(), own.atomically():
            own.lock([file_id])
            order.append("second")
        transaction.abort()
        server.release()

    thread = threading.Thread(target=second)
    thread.start()
    first = server.rows()
    with first.turn(), first.atomically():
        first.lock([file_id])
        ready.set()
        waiting.wait(60)
        order.append("first")
    transaction.abort()
    thread.join(60)

    assert order == ["first", "second"]
