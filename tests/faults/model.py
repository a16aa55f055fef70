"""Random requests beside a plain dictionary: ``python -m tests.faults.model --minutes 10``.

Each run draws a server's settings, and then requests of two users by whatever Kinto documents,
alone and in batches, with a reviewing plugin and gc between them. After each one the laws of
:mod:`tests.faults.laws` are looked at from outside. What fails is shortened, and repeated by the
command that is printed.
"""

import argparse
import contextlib
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import transaction

from tests.faults import in_parts
from tests.faults import operations as ops
from tests.faults.harness import collect
from tests.faults.laws import Answer, LawBroken, Laws, Rows, canonical
from tests.faults.operations import MEDIA_TYPES, Ask, Begin, Chance, GoOn, Step, Upload, Value
from tests.faults.shrinking import shrink
from tests.support import parts, postgresql
from tests.support.parts import OTHER, OWNER, Part, Server, multipart, sha256

PLUGINS = "tests.faults.reviewer kinto_attachment"
WITH_HISTORY = "kinto.plugins.history kinto_attachment tests.faults.reviewer"
KEEPS = {"kinto.attachment.resources.pictures.m_in.keep_old_files": "true"}
_PROFILES: dict[str, dict[str, str]] = {
    "plain": {"kinto.includes": PLUGINS},
    "history": {"kinto.includes": WITH_HISTORY, "kinto.storage_max_fetch_size": "50"},
    "keeps": {"kinto.includes": WITH_HISTORY, **KEEPS},
    "names": {
        "kinto.includes": PLUGINS,
        "kinto.attachment.randomize": "false",
        "kinto.attachment.folder": "{bucket_id}/{collection_id}",
    },
    "seven": {"kinto.includes": PLUGINS, "kinto.storage_max_fetch_size": "7"},
    "two": {
        "kinto.includes": WITH_HISTORY,
        "kinto.storage_max_fetch_size": "2",
        "kinto.attachment.base_url": "https://cdn.example.org/files/",
    },
}
"""Few, since each is an application; together they have every value of every setting."""

PROFILES = {name: {**in_parts.SETTINGS, **own} for name, own in _PROFILES.items()}

STEPS = 20
FOREIGN_VALUE = {
    "filename": "old.txt",
    "hash": sha256(b"elsewhere"),
    "location": "https://elsewhere.example.org/old.txt",
    "mimetype": "text/plain",
    "size": 9,
}
"""An import's: it may stay where it is, opens nothing, and goes nowhere else."""

SWITCHES = {
    "behavior": "the header Response-Behavior",
    "merge": "merge-patches",
    "json-patch": "JSON patches",
    "batch": "batches",
    "stamp": "a last_modified that the client chooses",
    "review": "the reviewing plugin's work",
    "rollback": "its copying back",
    "old": "values that no record names any more",
    "types": "a size that is true or a float, and equal",
    "gc": "gc between requests",
    "foreign": "an imported value",
    "fill": "more than 25 records in a collection",
    "parents": "deleting buckets and collections",
    "delete-all": "plural deletions",
    "ids-as-names": "a client's file name that is an id of ours",
    "in-parts": "uploads in several requests",
    "tidy": "law 5 before gc",
    "memory-stamps": "law 2 for last_modified on memory",
}
"""What can be left out, to see what else is found."""


class Driver:
    """Sends requests to one server, and lets the laws judge.

    :param without: names of :data:`SWITCHES`.
    """

    def __init__(self, server: Server, rows: Rows, without: frozenset[str] = frozenset()) -> None:
        server.reset()
        self._without = without
        settings = server.registry.settings
        self._history = "kinto.plugins.history" in settings["includes"]
        keeps = "attachment.resources.pictures.m_in.keep_old_files" in settings
        keeping = [f"{ops.COLLECTIONS[0]}/"] if keeps else []
        self.laws = Laws(server, rows, keeping, without)
        self._in_parts = in_parts.InParts(self.laws)
        self._count = 0
        self._contents = [b""]
        self._prepare()

    def _prepare(self) -> None:
        """A workspace that the other user may write, a collection of which he may read one
        record, five files, and a record that was imported."""
        self.make_parents()
        for place, record in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)):
            self.upload(OWNER, Upload(place, record))
        self.ask(OWNER, Ask("patch", place=1, record=0, share=True))
        if "foreign" not in self._without:
            parent, _, record_id = ops.FOREIGN.partition("/records/")
            self.laws.server.registry.storage.update(
                resource_name="record",
                parent_id=parent,
                object_id=record_id,
                obj={"attachment": FOREIGN_VALUE, "title": "a"},
            )
            transaction.commit()
            self.laws.foreign[canonical(FOREIGN_VALUE)] = ops.FOREIGN
            self.laws.look()

    def make_parents(self) -> None:
        """Where they are missing."""
        mine = f"basicauth:{self._other_id()}"
        self._ensure(ops.BUCKET_URI, {})
        self._ensure(ops.COLLECTIONS[0], {"permissions": {"write": [mine]}})
        self._ensure(ops.COLLECTIONS[1], {})
        # Records that Kinto left behind are back with it: whoever may read them, reads them.
        self.laws.judge(OWNER, Answer(200, b""), plugin=True)

    def _ensure(self, uri: str, body: Any) -> None:
        self.laws.call(OWNER, "PUT", uri, body, {"If-None-Match": "*"})

    def _other_id(self) -> str:
        if not hasattr(self, "_known_id"):
            found = self.laws.call(OTHER, "GET", "/").json["user"]["id"]
            self._known_id = found.removeprefix("basicauth:")
        return self._known_id

    # What can be done

    def ask(self, user: str, ask: Ask) -> None:
        spec = self._request(self._allowed(ask))
        body = spec.get("body")
        if spec["headers"].get("Content-Type") in MEDIA_TYPES.values():
            body = json.dumps(body).encode()
        answer = self.laws.call(user, spec["method"], spec["path"], body, spec["headers"])
        if self._is_kintos_own_500(ask, answer):
            return
        self.laws.judge(user, answer)
        self._assert_done(spec, answer)

    def batch(self, user: str, asks: list[Ask]) -> None:
        if "batch" in self._without:
            return
        asks = [self._allowed(_without_304(ask)) for ask in asks]
        members = [self._request(ask) for ask in asks]
        for member in members:
            value = (member.get("body") or {}).get("data", {}).get("attachment")
            if isinstance(value, dict) and canonical(value) in self.laws.files:
                self.laws.perhaps_kept.add(value["hash"])
        self._send_batch(user, members)

    def _send_batch(self, user: str, members: list[Any]) -> None:
        answer = self.laws.call(user, "POST", "/batch", {"requests": members})
        self.laws.judge(user, answer, batch=True)

    def fill(self, place: int) -> None:
        """More records without a file than are looked at one by one; past the plugin, which has
        nothing to do with them."""
        parent, storage = ops.COLLECTIONS[place], self.laws.server.registry.storage
        if "fill" in self._without or not self.laws.is_alive(f"{parent}/records/n"):
            return
        for number in range(30):
            storage.update(
                resource_name="record", parent_id=parent, object_id=f"n{number}", obj={}
            )
        transaction.commit()
        self.laws.look()

    def upload(self, user: str, upload: Upload) -> None:
        uri = self._record_uri(upload.place, upload.record)
        if not upload.again:
            self._count += 1
            self._contents.append(b"%d " % self._count * (99 if self._count % 3 else 1))
        content, name = self._contents[-1], self._file_name(upload.name)
        headers = self._precondition(upload.match, uri)
        if upload.form:
            fields: list[Part] = [("attachment", name, "text/plain", content)]
            if upload.data:
                data = {"attachment": self._value(upload.data, uri), "title": "b"}
                fields.insert(0, ("data", None, None, json.dumps(data).encode()))
            body, headers["Content-Type"] = multipart(fields)
            answer = self.laws.call(user, "POST", f"{uri}/attachment", body, headers)
        else:
            path = f"{uri}/attachment?filename={quote(name)}"
            headers["Content-Type"] = "text/plain"
            answer = self.laws.call(user, "PUT", path, content, headers)
        value = answer.json if answer.status < 300 else None
        if value is not None:
            self.laws.files[canonical(value)] = content
        self.laws.judge(user, answer, uploaded=value)
        if value is not None:
            record = self.laws.records().get(uri, {})
            if canonical(record.get("attachment")) != canonical(value):
                raise LawBroken(f"3: {uri} was answered {value} and says {record}")
            if value["hash"] != sha256(content):
                raise LawBroken(f"3: {uri} has not the hash of what was sent: {value}")

    def review(self, user: str, status: str) -> None:
        """The plugin copies; what it may copy is what a record names, whoever asks for it."""
        if "review" in self._without or (status != "to-sign" and "rollback" in self._without):
            return
        if not all(self.laws.is_alive(f"{uri}/records/") for uri in ops.COLLECTIONS):
            return  # The signer makes what is missing; nothing is to be learned from that.
        for value in self.laws.named().values():
            self.laws.perhaps_kept.add(value["hash"])
        if status == "to-rollback":
            self._forget_foreign_copies()
        body = {"data": {"status": status}}
        answer = self.laws.call(user, "PATCH", ops.COLLECTIONS[0], body)
        self.laws.judge(user, answer, plugin=True, batch=True)

    def _forget_foreign_copies(self) -> None:
        """An imported value is copied by the plugin too, and refused with all the rest."""
        self.laws.call(OWNER, "DELETE", ops.FOREIGN)
        self.laws.look()

    def parents(self, user: str, what: str, again: bool) -> None:
        """Delete a collection or all of them, or the bucket; and make them anew."""
        if "parents" in self._without:
            return
        path = {
            "workspace": ops.COLLECTIONS[0],
            "main": ops.COLLECTIONS[1],
            "collections": f"{ops.BUCKET_URI}/collections",
            "bucket": ops.BUCKET_URI,
            "buckets": "/buckets",
        }[what]
        self.laws.judge(user, self.laws.call(user, "DELETE", path))
        if again:
            self.make_parents()

    def collect(self) -> None:
        if "gc" not in self._without:
            collect(self.laws.server)
            self.laws.judge_silently()

    def begin(self, user: str, begin: Begin) -> None:
        """An upload in several requests."""
        if "in-parts" not in self._without:
            uri = self._record_uri(begin.place, begin.record)
            self._count += 1
            content, match = b"%d in parts" % self._count, self._precondition(begin.match, uri)
            self._in_parts.begin(user, begin, uri, content, match)

    def go_on(self, user: str, go_on: GoOn) -> None:
        self._in_parts.go_on(user, go_on)

    def expire(self) -> None:
        self._in_parts.expire()

    def finish(self) -> None:
        self.laws.finish()
        self._in_parts.expire()

    # How it is said

    def _allowed(self, ask: Ask) -> Ask:
        if "behavior" in self._without or self._history:
            # With history Kinto itself answers it by 500: there is no id in what it tells.
            ask = ask._replace(behavior=None)
        if "stamp" in self._without:
            ask = ask._replace(stamp=None)
        if ask.what in self._without:
            ask = ask._replace(what="get-all" if ask.what == "delete-all" else "patch")
        return ask

    def _record_uri(self, place: int, record: int) -> str:
        return f"{ops.COLLECTIONS[place]}/records/r{record}"

    def _request(self, ask: Ask) -> dict[str, Any]:
        """The request as a member of a batch has it."""
        uri = self._record_uri(ask.place, ask.record)
        method, path = {
            "put": ("PUT", uri),
            "patch": ("PATCH", uri),
            "merge": ("PATCH", uri),
            "json-patch": ("PATCH", uri),
            "delete": ("DELETE", uri),
            "get": ("GET", uri),
            "head": ("HEAD", uri),
            "remove": ("DELETE", f"{uri}/attachment"),
            "get-file": ("GET", f"{uri}/attachment"),
            "head-file": ("HEAD", f"{uri}/attachment"),
            "post": ("POST", f"{ops.COLLECTIONS[ask.place]}/records"),
            "get-all": ("GET", f"{ops.COLLECTIONS[ask.place]}/records"),
            "head-all": ("HEAD", f"{ops.COLLECTIONS[ask.place]}/records"),
            "delete-all": ("DELETE", f"{ops.COLLECTIONS[ask.place]}/records"),
        }[ask.what]
        if ask.query and ask.what.endswith("-all"):
            path += "?" + ask.query.format(stamp=quote(f'"{self._stamp(uri)}"'))
        headers = self._precondition(ask.match, uri)
        if ask.behavior:
            headers["Response-Behavior"] = ask.behavior
        spec: dict[str, Any] = {"method": method, "path": path, "headers": headers}
        if method in ("PUT", "PATCH", "POST"):
            spec["body"] = self._body(ask, uri)
        media_type = MEDIA_TYPES.get(ask.what)
        if media_type:
            headers["Content-Type"] = media_type
        return spec

    def _body(self, ask: Ask, uri: str) -> Any:
        if ask.what == "json-patch":
            return self._json_patch(ask, uri)
        data: dict[str, Any] = {"title": ops.TITLES[ask.title]}
        if ask.value:
            data["attachment"] = self._value(ask.value, uri)
        if ask.stamp:
            data["last_modified"] = self._chosen_stamp(ask.stamp, uri)
        if ask.what == "post" and ask.record < ops.RECORDS - 1:
            data["id"] = f"r{ask.record}"
        body: dict[str, Any] = {"data": data}
        if ask.share is not None:
            mine = [f"basicauth:{self._other_id()}"] if ask.share else []
            body["permissions"] = {"read": mine}
        return body

    def _json_patch(self, ask: Ask, uri: str) -> list[dict[str, Any]]:
        at = "/data/attachment"
        title = {"op": "add", "path": "/data/title", "value": ops.TITLES[ask.title]}
        if ask.value is None:
            return [title]
        value = self._value(ask.value, uri)
        if ask.value.kind == "null":
            return [title, {"op": "remove", "path": at}]
        if ask.value.kind == "part":
            return [{"op": "replace", "path": f"{at}/{k}", "value": v} for k, v in value.items()]
        if ask.value.kind == "foreign":
            moved = {"op": "move", "from": at, "path": "/data/other"}
            return [moved, {"op": "move", "from": "/data/other", "path": at}]
        return [title, {"op": "add", "path": at, "value": value}]

    def _value(self, value: Value, uri: str) -> Any:
        records = self.laws.named()
        old = [json.loads(text) for text in self.laws.files]
        if value.kind == "old" and "old" in self._without:
            value = value._replace(kind="named")
        if value.kind == "own":
            found = records.get(uri)
        elif value.kind == "named":
            known = [v for v in records.values() if canonical(v) in self.laws.files]
            found = known[value.of % len(known)] if known else old[value.of % len(old)]
        elif value.kind == "old":
            found = old[value.of % len(old)]
        elif value.kind in ("forged", "part"):
            base = records.get(uri, old[0])
            which = value.of + 2 if "types" in self._without and value.of < 2 else value.of
            found = _altered(base, which, old)
            if value.kind == "part":
                found = {k: v for k, v in found.items() if canonical(base.get(k)) != canonical(v)}
        else:
            odd = ["x", 7, [], {}, True, [old[0]], {"location": old[0]["location"]}]
            choices = {"odd": odd[value.of % 7], "null": None, "foreign": FOREIGN_VALUE}
            found = choices[value.kind]
        return copy.deepcopy(found)

    def _file_name(self, kind: str) -> str:
        if kind == "id" and "ids-as-names" not in self._without:
            keys = sorted(self.laws.stored)
            if keys:
                # Somebody downloads a file under its name in the store, and sends it again.
                parts_of = keys[0].split("/")
                return f"{parts_of[-2]}.txt" if len(parts_of) > 1 else parts_of[-1]
        return "ä b%.TXT" if kind == "odd" else "a.txt"

    def _stamp(self, uri: str) -> int:
        found: int = self.laws.records().get(uri, {}).get("last_modified", 1_500_000_000_000)
        return found

    def _chosen_stamp(self, kind: str, uri: str) -> int:
        collection = uri.partition("/records/")[0]
        others = [
            data["last_modified"]
            for other, data in self.laws.records().items()
            if other.startswith(f"{collection}/") and other != uri
        ]
        if kind == "equal" and others:
            return min(others)
        if kind == "future":
            return max([self._stamp(uri), *others]) + 60_000
        return 1_000_000_000_000 + len(self.laws.state)

    def _precondition(self, kind: str | None, uri: str) -> dict[str, str]:
        if kind is None:
            return {}
        current = self._stamp(uri)
        return {
            "current": {"If-Match": f'"{current}"'},
            "stale": {"If-Match": f'"{current - 1}"'},
            "star": {"If-Match": "*"},
            "none-star": {"If-None-Match": "*"},
            "none-current": {"If-None-Match": f'"{current}"'},
            "broken": {"If-Match": "nothing"},
        }[kind]

    # What was promised in the answer

    def _assert_done(self, spec: dict[str, Any], answer: Answer) -> None:
        """What a PUT or PATCH was answered to have done is so."""
        if spec["method"] not in ("PUT", "PATCH") or answer.status >= 300:
            return
        if spec["headers"].get("Content-Type"):
            return
        sent = spec["body"]["data"]
        if "attachment" not in sent and spec["method"] == "PATCH":
            return
        said = self.laws.records().get(spec["path"], {}).get("attachment")
        if canonical(said) != canonical(sent.get("attachment")):
            raise LawBroken(f"3: {spec['method']} of {sent} was acknowledged, and is {said}")

    def _is_kintos_own_500(self, ask: Ask, answer: Answer) -> bool:
        """A merge-patch that takes a field away, and is to be answered what it has changed:
        Kinto looks for the field that is gone. Or one of an object into a null."""
        if answer.status != 500 or ask.what != "merge" or ask.value is None:
            return False
        null = ask.value.kind == "null" and ask.behavior in ("light", "diff")
        record = self.laws.records().get(self._record_uri(ask.place, ask.record), {})
        if not null and record.get("attachment", "none") is not None:
            return False
        self.laws.look()
        return True


def _without_304(ask: Ask) -> Ask:
    """Kinto answers a batch by 500 where a member would be 304: it looks for a Location."""
    reads = ask.what.startswith(("get", "head"))
    return ask._replace(match=None) if reads and ask.match == "none-current" else ask


def _altered(base: Any, which: int, old: list[Any]) -> dict[str, Any]:
    other = old[(which + 1) % len(old)]
    changes: list[dict[str, Any]] = [
        {"size": True},
        {"size": float(base.get("size") or 0)},
        {"hash": sha256(b"forged")},
        {"location": other["location"] + "#"},
        {"filename": "forged.txt"},
        {"mimetype": "text/html"},
        {"more": 1},
        {"location": "backup.sql"},
    ]
    return {**base, **changes[which % len(changes)]}


class Servers:
    """One application for each profile, made when it is first drawn.

    :param url: of PostgreSQL; None for memory.
    """

    def __init__(self, make: Callable[[dict[str, str]], Server], url: str | None) -> None:
        self._make = make
        self._url = url
        self._made: dict[str, tuple[Server, Rows]] = {}

    def __call__(self, profile: str) -> tuple[Server, Rows]:
        if profile not in self._made:
            server = self._make(PROFILES[profile])
            self._made[profile] = (server, Rows(server, self._url))
        return self._made[profile]

    def close(self) -> None:
        for _, rows in self._made.values():
            rows.close()


class Model:
    """Runs on one backend.

    :param without: names of :data:`SWITCHES`.
    :param profiles: names of the :data:`PROFILES` to draw from.
    """

    def __init__(
        self,
        servers: Servers,
        without: frozenset[str] = frozenset(),
        profiles: Sequence[str] = tuple(PROFILES),
    ) -> None:
        self._servers = servers
        self._without = without
        self._profiles = profiles

    def run(self, seed: int, most: int, patience: float) -> None:
        """One run, which the seed alone repeats.

        :param most: requests in it.
        :param patience: seconds for shortening it, if it fails.
        :raises LawBroken: with the shortest script that was found, as a note.
        """
        chance = Chance(seed)
        profile, steps = chance.profile(self._profiles), chance.steps(most)
        broken = self._broken(profile, steps)
        if broken is None:
            return
        law = str(broken)[:2]

        def fails(candidate: list[Step]) -> bool:
            nonlocal broken
            found = self._broken(profile, candidate)
            if found is None or str(found)[:2] != law:
                return False
            broken = found
            return True

        steps = shrink(steps, fails, patience)
        script = "\n".join(f"    {step}" for step in steps)
        broken.add_note(f"seed {seed}, settings {profile!r}:\n{script}\n    driver.finish()")
        raise broken

    def _broken(self, profile: str, steps: list[Step]) -> LawBroken | None:
        try:
            driver = Driver(*self._servers(profile), self._without)
            for step in steps:
                getattr(driver, step.name)(*step.args)
            driver.finish()
        except LawBroken as error:
            return error
        return None


def main() -> None:
    """For as long as it is told; a failure ends it, unless it is to go on."""
    parser = argparse.ArgumentParser(description="Random requests beside a plain dictionary.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--backend", choices=["memory", "postgresql", "both"], default="both")
    parser.add_argument("--runs", type=int, help="this many, however long they take")
    parser.add_argument("--steps", type=int, default=STEPS, help="requests in a run, at most")
    parser.add_argument("--without", default="", help=f"of {', '.join(SWITCHES)}")
    parser.add_argument("--profiles", default="", help=f"only some of {', '.join(PROFILES)}")
    parser.add_argument("--patience", type=float, default=60, help="seconds to shorten a run")
    parser.add_argument("--go-on", action="store_true", help="look for more after a failure")
    chosen = parser.parse_args()
    without, profiles = _names(chosen.without, SWITCHES), _names(chosen.profiles, PROFILES)
    names = ["memory", "postgresql"] if chosen.backend == "both" else [chosen.backend]
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, servers in _backends(names, Path(folder)):
            model = Model(servers, frozenset(without), profiles or tuple(PROFILES))
            broken += _soak(name, model, chosen, 60 * chosen.minutes / len(names))
    print(f"{broken} runs broke a law")
    sys.exit(1 if broken else 0)


def _names(text: str, known: Iterable[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(known):
        raise SystemExit(f"There is no {', '.join(sorted(unknown))}.")
    return names


def _soak(name: str, model: Model, chosen: Any, seconds: float) -> int:
    started, number, broken = time.monotonic(), 0, 0
    while number < chosen.runs if chosen.runs else time.monotonic() - started < seconds:
        seed = chosen.seed + number
        number += 1
        found = time.monotonic()
        try:
            model.run(seed, chosen.steps, chosen.patience)
        except BaseException as error:
            command = f"--backend {name} --seed {seed} --runs 1 --steps {chosen.steps}"
            for option in ("without", "profiles"):
                if getattr(chosen, option):
                    command += f" --{option} {getattr(chosen, option)}"
            print(f"{name}: run {number}, after {found - started:.1f} s. Repeat it:")
            print(f"python -m tests.faults.model {command}", flush=True)
            if not (chosen.go_on and isinstance(error, LawBroken)):
                raise
            print("\n".join([str(error), *error.__notes__]), flush=True)
            broken += 1
    print(
        f"{name}: {number} runs, {time.monotonic() - started:.1f} s, {broken} broken", flush=True
    )
    return broken


def _server(settings: Mapping[str, str], more: Mapping[str, str]) -> Server:
    return Server({**settings, **more})


def _backends(names: list[str], folder: Path) -> Iterator[tuple[str, Servers]]:
    for name in names:
        store = {"kinto.attachment.base_path": str(folder / f"files-{name}")}
        with contextlib.ExitStack() as stack:
            url = None
            backend = parts.MEMORY
            if name == "postgresql":
                url = stack.enter_context(postgresql.running(folder / "data"))
                backend = parts.postgresql_settings(url)
            settings = {**parts.SETTINGS, **backend, **store}
            servers = Servers(partial(_server, settings), url)
            stack.callback(servers.close)
            yield name, servers


if __name__ == "__main__":
    main()
