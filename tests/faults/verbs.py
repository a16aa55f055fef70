"""What can be done at once: the requests and commands of the test of pairs, and their pairs."""

import dataclasses
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.faults.worlds import ALBUM, KEEPING, RECORDS, SECOND, World, all_worlds
from tests.support.parts import multipart, sha256

EVERY_RECORD = set(RECORDS)
IN_ALBUM = {name for name, uri in RECORDS.items() if uri.startswith(ALBUM)}
IN_SECOND = {name for name, uri in RECORDS.items() if uri.startswith(SECOND)}
IN_KEEPING = {name for name, uri in RECORDS.items() if uri.startswith(KEEPING)}
FINE = {200, 201, 204, 304}
REFUSED = {400, 403, 404, 409, 412, 503}
"""What may be answered, of two that happen at once; 400 tells of a copy whose source has gone."""
KINTOS_OWN = {(name, 500) for name in ("DELETE records", "DELETE second records")}
"""Kinto's ``plural_delete`` pairs by position what it has read and what it has deleted, and ends
with an IndexError where a record came in between. It is rolled back."""


@dataclass(frozen=True)
class Step:
    """One request."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Steps = Callable[[World, str], list[Step]]
Outcome = Callable[[World, str], dict[str, str | None]]


@dataclass(frozen=True)
class Verb:
    """Something that can be done.

    :param steps: the requests; for a command, ``command`` is its name and arguments instead.
    :param touches: the short names of records, and the letters of files, that it has to do with.
    :param outcome: the hash, or None, that each record's attachment has afterwards, where it
        is acknowledged; what it leaves alone is not there.
    :param guarded: records that it changes only in the version that it knows.
    :param marked: records whose title it changes.
    :param ours: whether it is our own endpoint that is asked, and not Kinto's.
    :param worlds: where there is something to do for it.
    """

    name: str
    touches: frozenset[str]
    steps: Steps | None = None
    command: tuple[str, ...] = ()
    outcome: Outcome = lambda _, __: {}
    guarded: frozenset[str] = frozenset()
    marked: frozenset[str] = frozenset()
    ours: bool = False
    worlds: tuple[str, ...] = ("ours", "old", "migrated")


def content_of(slot: str) -> bytes:
    return f"written by the {slot} one".encode()


def _upload(name: str, *headers: tuple[str, str], guard: bool = False) -> Verb:
    """A form; ``guard``: for the version that it knows, or for none."""

    def steps(world: World, slot: str) -> list[Step]:
        form, kind = multipart([("attachment", "new.txt", "text/plain", content_of(slot))])
        own = _guard(world, name) if guard else ()
        head = (("Content-Type", kind), *own, *headers)
        return [Step("POST", f"{RECORDS[name]}/attachment", form, head)]

    return Verb(
        f"upload {name}" + (" guarded" if guard else ""),
        _record(name),
        steps,
        outcome=lambda _, slot: {name: sha256(content_of(slot))},
        guarded=frozenset({name} if guard else ()),
        ours=True,
    )


def _guard(world: World, name: str) -> tuple[tuple[str, str], ...]:
    etag = world.etags.get(name)
    return (("If-Match", etag),) if etag else (("If-None-Match", "*"),)


FILES = {"r1": "A", "r2": "A", "r3": "B", "r4": "C", "c1": "C", "c2": "D"}
FILES |= {"r6": "E", "r7": "F", "k1": "G", "k2": "G"}


def _record(*names: str) -> frozenset[str]:
    return frozenset(names) | {FILES[name] for name in names if name in FILES}


def _one(
    title: str,
    method: str,
    name: str,
    body: Callable[[World], Any] | None = None,
    path: str = "",
    *,
    attachment: Callable[[World], str | None] | None = None,
    also: tuple[str, ...] = (),
    guard: bool = False,
    marks: bool = False,
    headers: tuple[tuple[str, str], ...] = (),
    worlds: tuple[str, ...] = ("ours", "old", "migrated"),
) -> Verb:
    """One request with a JSON body, or none, to a record or to what is below it."""

    def steps(world: World, _: str) -> list[Step]:
        head = (_guard(world, name) if guard else ()) + headers
        if body is None:
            return [Step(method, f"{RECORDS[name]}{path}", b"", head)]
        kind = (("Content-Type", "application/json"),)
        sent = json.dumps({"data": body(world)}).encode()
        return [Step(method, f"{RECORDS[name]}{path}", sent, kind + head)]

    return Verb(
        title,
        _record(name, *also),
        steps,
        outcome=lambda world, _: {name: attachment(world)} if attachment else {},
        guarded=frozenset({name} if guard else ()),
        marked=frozenset({name} if marks else ()),
        ours=bool(path),
        worlds=worlds,
    )


def _copy(name: str, source: str, method: str = "PUT", **how: Any) -> Verb:
    return _one(
        f"{method} {name} = {source}",
        method,
        name,
        lambda world: {"title": "copy", "attachment": world.values[source]},
        attachment=lambda world: world.hashes()[source],
        also=(source,),
        **how,
    )


def _all(title: str, records: set[str], *steps: Step) -> Verb:
    """What makes all these records go."""
    return Verb(
        title,
        _record(*records),
        lambda _, __: list(steps),
        outcome=lambda _, __: dict.fromkeys(records),
    )


def _batch(
    title: str, members: Callable[[World], list[Any]], outcome: Outcome, touches: frozenset[str]
) -> Verb:
    def steps(world: World, _: str) -> list[Step]:
        body = json.dumps({"requests": members(world)}).encode()
        return [Step("POST", "/batch", body, (("Content-Type", "application/json"),))]

    return Verb(title, touches, steps, outcome=outcome)


def _put(world: World, name: str, source: str) -> dict[str, Any]:
    body = {"data": {"title": "batch", "attachment": world.values[source]}}
    return {"method": "PUT", "path": RECORDS[name], "body": body}


def _delete(name: str) -> dict[str, Any]:
    return {"method": "DELETE", "path": RECORDS[name]}


def _command(*arguments: str, worlds: tuple[str, ...] = ("ours", "old", "migrated")) -> Verb:
    name = " ".join(arguments)
    everything = frozenset({*EVERY_RECORD, *"ABCDEFG"})
    missing: Outcome = lambda _, __: {"r7": None} if name == "doctor missing" else {}  # noqa: E731
    return Verb(name, everything, command=arguments, outcome=missing, worlds=worlds)


PICTURES, SECOND_BUCKET = "/buckets/pictures", "/buckets/second"
NOTHING: Callable[[World], str | None] = lambda _: None  # noqa: E731
OURS, DAMAGED = ("ours",), ("damaged",)

REQUESTS = [
    _upload("n1"),
    _upload("n1", guard=True),
    _upload("r5"),
    _upload("r1"),
    _upload("r1", guard=True),
    _upload("r3"),
    _upload("r3", guard=True),
    Verb(
        "PUT r3/attachment",
        _record("r3"),
        lambda _, slot: [
            Step("PUT", f"{RECORDS['r3']}/attachment?filename=new.txt", content_of(slot))
        ],
        outcome=lambda _, slot: {"r3": sha256(content_of(slot))},
        ours=True,
    ),
    _one("DELETE r1/attachment", "DELETE", "r1", path="/attachment", attachment=NOTHING),
    _one("DELETE r2/attachment", "DELETE", "r2", path="/attachment", attachment=NOTHING),
    _one("DELETE r3/attachment", "DELETE", "r3", path="/attachment", attachment=NOTHING),
    _one("DELETE r1", "DELETE", "r1", attachment=NOTHING),
    _one("DELETE r2", "DELETE", "r2", attachment=NOTHING),
    _one("DELETE r3", "DELETE", "r3", attachment=NOTHING),
    _one("PUT r1 without", "PUT", "r1", lambda _: {"title": "no file"}, attachment=NOTHING),
    _one("PUT r3 without", "PUT", "r3", lambda _: {"title": "no file"}, attachment=NOTHING),
    _one("PATCH r1 title", "PATCH", "r1", lambda _: {"title": "new"}, marks=True),
    _one("PATCH r3 title", "PATCH", "r3", lambda _: {"title": "new"}, marks=True),
    _one(
        "PATCH r3 title light",
        "PATCH",
        "r3",
        lambda _: {"title": "new"},
        marks=True,
        headers=(("Response-Behavior", "light"),),
    ),
    _one("GET r3/attachment", "GET", "r3", path="/attachment"),
    _copy("r3", "r3"),
    _copy("r5", "r1"),
    _copy("r5", "r3", "PATCH"),
    _copy("n2", "r3"),
    _copy("r3", "r1"),
    _copy("r1", "r3", "PATCH"),
    _all("DELETE records", IN_ALBUM, Step("DELETE", f"{ALBUM}/records")),
    _all("DELETE collection", IN_ALBUM, Step("DELETE", ALBUM)),
    _all("DELETE bucket", IN_ALBUM, Step("DELETE", PICTURES)),
    dataclasses.replace(_upload("k1"), worlds=OURS),
    _one("DELETE k1", "DELETE", "k1", attachment=NOTHING, worlds=OURS),
    _one("DELETE k2", "DELETE", "k2", attachment=NOTHING, worlds=OURS),
    _one("PUT k2 without", "PUT", "k2", lambda _: {}, attachment=NOTHING, worlds=OURS),
    _one(
        "DELETE k1/attachment", "DELETE", "k1", path="/attachment", attachment=NOTHING, worlds=OURS
    ),
    dataclasses.replace(
        _all("DELETE keeping bucket", IN_KEEPING, Step("DELETE", "/buckets/keeping")), worlds=OURS
    ),
    _all("DELETE second bucket", IN_SECOND, Step("DELETE", SECOND_BUCKET)),
    _all("DELETE second records", IN_SECOND, Step("DELETE", f"{SECOND}/records")),
    _all("collection anew", IN_ALBUM, Step("DELETE", ALBUM), Step("PUT", ALBUM)),
    _all(
        "bucket anew",
        IN_ALBUM,
        *(Step("DELETE", PICTURES), Step("PUT", PICTURES), Step("PUT", ALBUM)),
    ),
    _batch(
        "batch move r1 to n3",
        lambda world: [_put(world, "n3", "r1"), _delete("r1")],
        lambda world, _: {"n3": world.hashes()["r1"], "r1": None},
        _record("n3", "r1"),
    ),
    _batch(
        "batch move r3 to n3",
        lambda world: [_put(world, "n3", "r3"), _delete("r3")],
        lambda world, _: {"n3": world.hashes()["r3"], "r3": None},
        _record("n3", "r3"),
    ),
    _batch(
        "batch swap r1 r3",
        lambda world: [_put(world, "r1", "r3"), _put(world, "r3", "r1")],
        lambda world, _: {"r1": world.hashes()["r3"], "r3": world.hashes()["r1"]},
        _record("r1", "r3"),
    ),
    _batch(
        "batch swap r3 c2",
        lambda world: [_put(world, "r3", "c2"), _put(world, "c2", "r3")],
        lambda world, _: {"r3": world.hashes()["c2"], "c2": world.hashes()["r3"]},
        _record("r3", "c2"),
    ),
    _batch(
        "batch DELETE r2 r1",
        lambda _: [_delete("r2"), _delete("r1")],
        lambda _, __: {"r1": None, "r2": None},
        _record("r1", "r2"),
    ),
    _one("DELETE r6", "DELETE", "r6", attachment=NOTHING, worlds=DAMAGED),
    _one("PATCH r6 title", "PATCH", "r6", lambda _: {"title": "new"}, worlds=DAMAGED),
    _copy("r5", "r6", worlds=DAMAGED),
    dataclasses.replace(_upload("r6"), worlds=DAMAGED),
    dataclasses.replace(_upload("r7"), worlds=DAMAGED),
    _one("DELETE r7", "DELETE", "r7", attachment=NOTHING, worlds=DAMAGED),
    _one("PATCH r7 title", "PATCH", "r7", lambda _: {"title": "new"}, worlds=DAMAGED),
]
EVERYWHERE = ("ours", "old", "migrated", "damaged")
COMMANDS = [
    _command("gc", worlds=EVERYWHERE),
    _command("gc", "now", worlds=EVERYWHERE),
    _command("relocate"),
    _command("copy", worlds=("ours", "migrated")),
    _command("migrate", worlds=("old", "migrated", "damaged")),
    _command("doctor", "dead-link", worlds=EVERYWHERE),
    _command("doctor", "unnamed", worlds=EVERYWHERE),
    _command("doctor", "unlinked", worlds=("old", "migrated", "damaged")),
    _command("doctor", "missing", worlds=EVERYWHERE),
]
VERBS = {verb.name: verb for verb in (*REQUESTS, *COMMANDS)}
KILLED, ALONE = "SIGKILL", "nobody"
"""In the place of the second."""


@dataclass(frozen=True, order=True)
class Pair:
    """Names of the world, of the one that is held, and of the one that runs meanwhile."""

    world: str
    first: str
    second: str

    def __str__(self) -> str:
        return f"{self.world}: {self.first} | {self.second}"


def all_pairs() -> list[Pair]:
    """Those that share a record or a file, in either order, and each one killed.

    A collection's deletion shares all its records, and who makes a new one shares ``n1``.
    """
    found = []
    for world in all_worlds():
        there = [verb for verb in VERBS.values() if world in verb.worlds]
        for one in there:
            found += [Pair(world, one.name, o.name) for o in there if one.touches & o.touches]
            found.append(Pair(world, one.name, KILLED))
    return found


def chosen(pair: Pair, moments: int, seed: int, every: int) -> list[int]:
    """Every so many moments, beginning at one that seed and pair decide; at least one."""
    start = zlib.crc32(f"{seed} {pair}".encode())
    return list(range(1 + start % every, moments + 1, every)) or [1 + start % moments]


def share_of_pairs(seed: int, one_in: int) -> list[Pair]:
    """One in so many pairs of verbs, each in one world of those that have both: the seed decides.

    Who is killed is always there.
    """
    worlds: dict[tuple[str, str], list[Pair]] = {}
    for pair in all_pairs():
        worlds.setdefault((pair.first, pair.second), []).append(pair)
    found = []
    for (first, second), pairs in worlds.items():
        number = zlib.crc32(f"{seed} {first} {second}".encode())
        if second == KILLED or number % one_in == 0:
            found.append(pairs[number // one_in % len(pairs)])
    return found
