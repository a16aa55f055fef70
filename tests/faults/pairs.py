"""Every pair of two that happen at once: ``python -m tests.faults.pairs``.

The first one is held at each of its moments in turn (see held.py), the second one runs to its
end or until it waits for the first one's lock, the first goes on, both end; then the laws are
looked at. The same with SIGKILL of the first in the place of the second. Nothing is random.

``make soak`` runs all; CI a share of each pair's moments, which moves with PAIRS_SEED.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kinto
import pyramid.config
import transaction
import webob
from kinto.core.testing import get_user_headers

from tests.faults import at_rest, old_faults
from tests.faults.harness import FUTURE, Database, collect_with
from tests.faults.held import Actor, Body, Hangs, Locks, watched, watching_sql
from tests.faults.verbs import (
    ALONE,
    FILES,
    FINE,
    KILLED,
    KINTOS_OWN,
    REFUSED,
    VERBS,
    Pair,
    Step,
    Verb,
    all_pairs,
    chosen,
    content_of,
)
from tests.faults.worlds import (
    BASE_URL,
    KEEPS,
    KEPT,
    NEW_URL,
    RECORDS,
    Saved,
    World,
    all_worlds,
)
from tests.support import parts, postgresql
from tests.support.parts import OWNER, Server, sha256

FIRST, SECOND_SLOT, REST = "first", "second", "rest"
OTHER_FILE = 599
"""In the place of 200, where what was sent is not what the answer says of it."""


@dataclass
class Result:
    """What came of one pair at one moment; ``said`` is empty where all laws hold."""

    pair: Pair
    moment: int
    held_at: str | None
    answers: tuple[Any, ...]
    said: list[str]
    waited: bool = False

    def __str__(self) -> str:
        place = f"{self.moment} ({self.held_at})" if self.held_at else "its end"
        said = "; ".join(dict.fromkeys(self.said))
        for name, uri in RECORDS.items():
            said = said.replace(uri, name)
        return f"{self.pair}, held at {place}, answers {self.answers}: {said}"


def settings_for(url: str, store: Path) -> dict[str, str]:
    """Of every application here."""
    return {
        **parts.SETTINGS,
        **parts.postgresql_settings(url),
        **KEEPS,
        "kinto.attachment.base_path": str(store),
        "kinto.attachment.base_url": BASE_URL,
        "kinto.attachment.fsync": "false",
    }


_MADE: dict[str, Any] = {}


def application(_: Any, **settings: str) -> Any:
    """What the inis name, so that a command does not make an application each time."""
    name = settings.pop("pairs.name")
    if name not in _MADE:
        app = kinto.main({}, **settings)
        watched(app.registry, settings["pairs.slot"])
        _MADE[name] = app
    # Pyramid's commands take the application that was made last.
    pyramid.config.global_registries.add(_MADE[name].registry)
    return _MADE[name]


class Hands:
    """Does what a verb says, as one of the two: with a server, and commands, of its own."""

    def __init__(self, folder: Path, settings: dict[str, str], slot: str) -> None:
        self.slot = slot
        self._folder = folder
        self._ini = self._write("kinto", settings)
        self.destination = folder / f"copied-{slot}"
        other = {**settings, "kinto.attachment.base_path": str(self.destination)}
        self._other = self._write("other", other)
        self._app = application({}, **self._named("server", settings))
        self._collecting = application({}, **self._named("gc", settings))
        self._headers = get_user_headers(OWNER)

    def apps(self) -> list[Any]:
        """All that this one has."""
        return [self._app, self._collecting]

    def do(self, verb: Verb, world: World) -> Any:
        """Statuses of the requests, or the exit code of the command."""
        if verb.steps is None:
            return self.command(*verb.command)
        statuses: list[int] = []
        for step in verb.steps(world, self.slot):
            statuses += self.ask(step)
        return statuses

    def ask(self, step: Step) -> list[int]:
        """One request; a batch gives the statuses of its members."""
        request = webob.Request.blank(f"/v1{step.path}", method=step.method)
        request.headers.update(self._headers)
        request.headers.update(dict(step.headers))
        if step.body:
            request.content_length = len(step.body)
            request.environ["wsgi.input"] = io.BufferedReader(Body(step.body))
        answer = request.get_response(self._app)
        content = answer.body
        if step.path == "/batch" and answer.status_code == 200:
            return [member["status"] for member in json.loads(content)["responses"]]
        if step.method == "GET" and answer.status_code == 200:
            return [200 if answer.headers["ETag"] == f'"{sha256(content)}"' else OTHER_FILE]
        return [answer.status_code]

    def command(self, name: str, *more: str) -> Any:
        """The command line in this process, on an ini."""
        from kinto.__main__ import main as kinto_main

        from kinto_attachment.commands import main

        if (name, *more) == ("gc", "now"):
            # As if all were old, what is being written too.
            collect_with(self._collecting.registry, FUTURE)
            return 0
        if name == "migrate":
            return kinto_main(["migrate", "-q", "--ini", self._ini])
        old, new = (NEW_URL, BASE_URL) if more == ("back",) else (BASE_URL, NEW_URL)
        arguments = {
            "gc": ["--delete"],
            "relocate": ["--from", old, "--to", new, "--apply", "--outside"],
            "copy": ["--to", self._other, "--jobs", "1"],
            "doctor": ["--repair", *more],
        }[name]
        return main([name, "--ini", self._ini, *arguments])

    def _named(self, name: str, settings: dict[str, str]) -> dict[str, str]:
        return {
            **settings,
            "pairs.slot": self.slot,
            "pairs.name": f"{self._folder}{self.slot}{name}",
        }

    def _write(self, name: str, settings: dict[str, str]) -> str:
        path = self._folder / f"{name}-{self.slot}.ini"
        named = self._named(name, settings)
        lines = [
            f"{key} = {' '.join(value.split())}".replace("%", "%%") for key, value in named.items()
        ]
        path.write_text(
            "\n".join(["[app:main]", "use = call:tests.faults.pairs:application", *lines])
        )
        return str(path)


class Rig:
    """A database and a store, two who do something there, and one who looks.

    :param url: of a PostgreSQL server; the rig has a database of its own there.
    :param history: whether Kinto's history plugin is there too.
    """

    def __init__(self, url: str, folder: Path, history: bool = False) -> None:
        self._closing = contextlib.ExitStack()
        own = self._closing.enter_context(_own_database(url))
        settings = settings_for(own, folder / "files")
        if history:
            settings["kinto.includes"] = "kinto.plugins.history kinto_attachment"
        self.server = Server(settings)
        self._closing.callback(self.server.close)
        self.database = Database(own)
        self._closing.callback(self.database.close)
        self._locks = Locks(own)
        self._closing.callback(self._locks.close)
        self._saved = Saved(own, self.server)
        self._closing.callback(self._saved.close)
        self._hands = [Hands(folder, settings, slot) for slot in (FIRST, SECOND_SLOT, REST)]
        for app in [app for hands in self._hands for app in hands.apps()]:
            # Whose store it is, a server asks at first only: a moment that others do not have.
            app.registry.attachments.custody.check()
        transaction.abort()
        self._closing.enter_context(watching_sql())
        self._folder, self._settings = folder, settings
        self._worlds: dict[str, World] = {}
        self._alone: dict[tuple[str, str], Result] = {}
        self._forks: Forks | None = None

    def close(self) -> None:
        if self._forks:
            self._forks.close()
        for name in [name for name in _MADE if name.startswith(str(self._folder))]:
            del _MADE[name]
        engine = self.server.registry.storage.client.session_factory.session_factory.kw["bind"]
        engine.dispose()
        self._closing.close()

    def world(self, name: str) -> World:
        """Made once."""
        if name not in self._worlds:
            world = all_worlds()[name]
            self._saved.make(world)
            self._worlds[name] = world
        return self._worlds[name]

    def alone(self, world_name: str, verb_name: str) -> Result:
        """One by itself, once: what fails here needs no second. Its moments are counted."""
        place = (world_name, verb_name)
        if place not in self._alone:
            world, verb = self._prepared(world_name), VERBS[verb_name]
            actor = Actor(FIRST)
            actor.run(lambda: self._hands[0].do(verb, world))
            said = self._laws(world, [(verb, FIRST, actor)])
            pair, count = Pair(world_name, verb_name, ALONE), len(actor.moments)
            self._alone[place] = Result(pair, count, None, (actor.result,), said)
        return self._alone[place]

    def fails_alone(self, pair: Pair) -> str:
        """Why there is nothing to be seen in this pair."""
        names = [name for name in (pair.first, pair.second) if name in VERBS]
        alone = [self.alone(pair.world, name) for name in names]
        return "; ".join(str(result) for result in alone if result.said)

    def run(self, pair: Pair, moment: int) -> Result:
        """Hold the first at this moment; ``held_at`` of the result is None behind the last."""
        if pair.second == KILLED:
            return self._run_killed(pair, moment)
        world = self._prepared(pair.world)
        verbs = [VERBS[pair.first], VERBS[pair.second]]
        first, second = Actor(FIRST, moment), Actor(SECOND_SLOT)
        waited, hanging = False, []
        first.start(lambda: self._hands[0].do(verbs[0], world))
        try:
            first.wait_until_held()
            second.start(lambda: self._hands[1].do(verbs[1], world))
            waited = second.wait_until_done_or_behind(first, self._locks)
        except Hangs as error:
            hanging.append(f"hangs: {error}")
        finally:
            first.go_on()
        first.join()
        second.join()
        done = [(verbs[0], FIRST, first), (verbs[1], SECOND_SLOT, second)]
        said = hanging + self._laws(world, done)
        answers = (first.result, second.result)
        return Result(pair, moment, first.held_at, answers, said, waited)

    def _run_killed(self, pair: Pair, moment: int) -> Result:
        world = self._prepared(pair.world)
        if self._forks is None:
            self._forks = Forks(self._settings, self._folder)
        status = self._forks.run(pair.first, world, moment)
        self.database.wait_until_idle()
        actor = Actor(FIRST)
        actor.result = "killed" if status is None else status
        said = self._laws(world, [(VERBS[pair.first], FIRST, actor)])
        held_at = None if status is not None else "there"
        return Result(pair, moment, held_at, (actor.result,), said)

    def _prepared(self, name: str) -> World:
        world = self.world(name)
        self._saved.restore(world)
        for hands in self._hands[:2]:
            if hands.destination.exists():
                for path in [p for p in hands.destination.rglob("*") if p.is_file()]:
                    path.unlink()
        return world

    def _laws(self, world: World, done: list[tuple[Verb, str, Actor]]) -> list[str]:
        said = [sentence for verb, _, actor in done for sentence in _failed(verb, actor)]
        said += acknowledged(world, done, at_rest.attachments(self.database))
        said += self._not_copied(done)
        if world.settle and not world.broken:  # What these mend, users would have seen before.
            said += at_rest.unreadable(self.server, self.database)
        for verb in world.settle:
            said += self._rest(verb)
        ours, migrated = world.name == "ours", world.name == "migrated"
        said += at_rest.disagreement(self.server, ours, every_file=migrated)
        if ours and not self._keeps():
            said.append("lost: the file that is to be kept is gone")
        # What was unreadable before gc still is.
        return [*dict.fromkeys([*said, *at_rest.unreadable(self.server, self.database)])]

    def _keeps(self) -> bool:
        assert self.server.files is not None
        kept = [path for path in self.server.files.rglob("*k1.jpg") if path.is_file()]
        kept += [path for path in self.server.files.rglob("*.jpg") if path.is_file()]
        return any(path.read_bytes() == KEPT for path in kept)

    def _not_copied(self, done: list[tuple[Verb, str, Actor]]) -> Iterator[str]:
        """A copy that says it is complete has all that was there before and still is there."""
        slots = {FIRST: 0, SECOND_SLOT: 1}
        for verb, slot, actor in done:
            if verb.command != ("copy",) or actor.result != 0 or not actor.moments:
                continue
            folder = self._hands[slots[slot]].destination
            there = {sha256(p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
            names = at_rest.attachments(self.database).values()
            wanted = {record["attachment"]["hash"] for record in names}
            before = {
                value for world in self._worlds.values() for value in world.hashes().values()
            }
            if (wanted & before) - there:
                yield "not copied: a file that was there all the time"

    def _rest(self, verb: str) -> list[str]:
        actor = Actor(REST)
        actor.run(lambda: self._hands[2].command(*verb.split()))
        return [f"failed: {verb} afterwards: {actor.error}"] if actor.error else []


def _allowed(verb: Verb) -> set[int]:
    return FINE | REFUSED | {status for name, status in KINTOS_OWN if name == verb.name}


def _failed(verb: Verb, actor: Actor) -> Iterator[str]:
    """Law 4: refusals are refusals, and no command ends with a traceback."""
    if actor.error:
        yield f"failed: {verb.name}: {actor.error}"
    if isinstance(actor.result, list):
        wrong = [status for status in actor.result if status not in _allowed(verb)]
        if wrong:
            yield f"failed: {verb.name} was answered {wrong}"


def acknowledged(
    world: World, done: list[tuple[Verb, str, Actor]], records: dict[str, dict[str, Any]]
) -> list[str]:
    """Law 3: what was acknowledged is there, and what was refused is not."""
    said = []
    shown = {name: records.get(uri, {}).get("attachment", {}) for name, uri in RECORDS.items()}
    certain, perhaps = [], []
    for verb, slot, actor in done:
        outcome = verb.outcome(world, slot)
        answers = actor.result if isinstance(actor.result, list) else [None]
        if all(answer in FINE for answer in answers):
            certain.append((verb, outcome))
        elif len(answers) > 1 or not all(answer in _allowed(verb) for answer in answers):
            perhaps.append(outcome)  # A command, a batch, several requests, or a killed one.
    for name in RECORDS:
        now, before = shown[name].get("hash"), world.hashes().get(name)
        allowed = [outcome[name] for _, outcome in certain if name in outcome] or [before]
        perhaps_there = [outcome[name] for outcome in perhaps if name in outcome]
        if now not in allowed + perhaps_there and not (now == before and _revived(name, certain)):
            said.append(f"lost: {name} has {_known(world, now)}, not {_known(world, *allowed)}")
    return [*said, *_overtaken(world, done, records, shown)]


def _revived(name: str, certain: list[tuple[Verb, dict[str, str | None]]]) -> bool:
    """Whether Kinto's own PATCH may have brought the record back as it was.

    It reads, and later writes the whole record without a look, even one that was deleted in
    between; without attachments too. That is no promise of ours, unless we were asked.
    """
    if any(verb.ours and name in outcome for verb, outcome in certain):
        return False
    removed = any(outcome.get(name, "") is None for _, outcome in certain)
    return removed and any(name in verb.marked for verb, _ in certain)


def _overtaken(
    world: World,
    done: list[tuple[Verb, str, Actor]],
    records: dict[str, dict[str, Any]],
    shown: dict[str, Any],
) -> Iterable[str]:
    """Of what was written for a certain version, nothing else was written before."""
    fine = [d for d in done if isinstance(d[2].result, list) and set(d[2].result) <= FINE]
    if len(fine) < 2:
        return
    for (one, _, __), (other, slot, ___) in (fine, fine[::-1]):
        outcome = other.outcome(world, slot)
        for name in one.guarded:
            if name in other.guarded:
                yield f"overtaken: {name} was changed twice in one version"
                return
            elif name not in world.etags and outcome.get(name, "") is None:
                continue  # It was for none, and there was none after the other one either.
            elif name in outcome and shown[name].get("hash") != outcome[name]:
                yield f"overtaken: {one.name} has undone {other.name}, against its condition"
            elif name in other.marked and records.get(RECORDS[name], {}).get("title") != "new":
                yield f"overtaken: {one.name} has lost the title, against its condition"


def _known(world: World, *hashes: str | None) -> str:
    letters = {value: FILES.get(name, "?") for name, value in world.hashes().items() if value}
    letters |= {sha256(content_of(slot)): f"the {slot} one's" for slot in (FIRST, SECOND_SLOT)}
    return " or ".join("nothing" if h is None else letters.get(h, h[:8]) for h in hashes)


class Forks:
    """A process that has all applications, and forks one child for each that is to be killed."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.pairs", "--forks"],
            # Its children end by SIGKILL, which leaves nothing of what they would measure.
            env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        own = folder / "forks"
        own.mkdir()
        self._say({"settings": settings, "folder": str(own)})

    def run(self, verb: str, world: World, moment: int) -> Any:
        """What was answered; None where it was killed."""
        known = {"name": world.name, "values": world.values, "etags": world.etags}
        return self._say({"verb": verb, "world": known, "moment": moment})["result"]

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def _say(self, message: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def fork_on_demand() -> None:
    """The other side of :class:`Forks`. It has one thread, so forking is safe."""
    old_faults.switch_on()
    told = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Commands print.
    hands = Hands(Path(told["folder"]), told["settings"], FIRST)
    warm = all_worlds()["ours"]
    for arguments in ("gc", "relocate", "migrate", "copy"):
        with contextlib.suppress(SystemExit):
            hands.command(arguments)
    hands.ask(Step("GET", f"{RECORDS['r1']}/attachment"))
    from kinto.core.storage.postgresql import client

    for found in [c for clients in client._CLIENTS.values() for c in clients.values()]:
        found.session_factory.remove()
        found.session_factory.session_factory.kw["bind"].dispose(close=False)
    answers.write(json.dumps({"ready": warm.name}) + "\n")
    with watching_sql():
        for line in sys.stdin:
            message = json.loads(line)
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                _end_in_child(hands, message, writer)
            os.close(writer)
            with os.fdopen(reader) as result:
                said = result.read()
            os.waitpid(child, 0)
            answers.write((said or '{"result": null}') + "\n")


def _end_in_child(hands: Hands, message: Any, writer: int) -> None:
    """Do it, be killed or not, and never come back."""
    told = message["world"]
    world = dataclasses.replace(
        all_worlds()[told["name"]], values=told["values"], etags=told["etags"]
    )
    actor = Actor(FIRST, message["moment"], kills=True)
    actor.run(lambda: hands.do(VERBS[message["verb"]], world))
    result = [500] if actor.error else actor.result
    os.write(writer, json.dumps({"result": result}).encode())
    os._exit(0)


@contextlib.contextmanager
def _own_database(url: str) -> Iterator[str]:
    """A new database on the same server."""
    from sqlalchemy.engine import make_url

    name = f"pairs_{os.getpid()}_{time.monotonic_ns()}"
    server = Database(url)
    server.execute(f"CREATE DATABASE {name}")
    server.execute(f"ALTER DATABASE {name} SET timezone TO 'UTC'")
    yield make_url(url).set(database=name).render_as_string(hide_password=False)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()


def main() -> None:
    """``make soak``: each pair at each moment."""
    parser = argparse.ArgumentParser(description="Two at once, held at every moment.")
    parser.add_argument("--forks", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--share", default="1/1", metavar="K/N", help="the K-th of N parts")
    parser.add_argument("--only", default="", help="pairs whose name has this in it")
    parser.add_argument("--moment", type=int, help="this moment alone")
    parser.add_argument("--every", type=int, default=1, help="every so many moments")
    parser.add_argument("--seed", type=int, default=0, help="where --every begins")
    parser.add_argument("--history", action="store_true", help="with Kinto's history plugin")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.CRITICAL)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if arguments.forks:
        fork_on_demand()
        return
    part, of = (int(number) for number in arguments.share.split("/"))
    pairs = [pair for pair in all_pairs() if arguments.only in str(pair)][part - 1 :: of]
    with (
        tempfile.TemporaryDirectory(prefix="kinto-attachment-pairs-") as name,
        postgresql.running(Path(name) / "postgresql") as url,
    ):
        rig = Rig(url, Path(name), arguments.history)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            failed = _soak(rig, pairs, arguments)
        rig.close()
    raise SystemExit(1 if failed else 0)


def _soak(rig: Rig, pairs: list[Pair], arguments: argparse.Namespace) -> int:
    """Run them and tell; how many failed."""
    counted: collections.Counter[str] = collections.Counter()
    out = sys.__stdout__
    began = time.monotonic()
    told: set[str] = set()
    for pair in pairs:
        reason = rig.fails_alone(pair)
        if reason:
            counted["skipped, since one fails alone"] += 1
            if reason not in told:
                print(reason, file=out, flush=True)
            told.add(reason)
            continue
        results = list(_at_every_moment(rig, pair, arguments))
        counted["runs"] += len(results)
        counted["waited"] += sum(result.waited for result in results)
        wrong = [result for result in results if result.said]
        counted["wrong"] += len(wrong)
        counted["pairs"] += 1
        counted["wrong pairs"] += bool(wrong)
        for result in wrong:
            print(result, file=out, flush=True)
    took = time.monotonic() - began
    print(f"{dict(counted)} in {took:.0f} s", file=out, flush=True)
    return counted["wrong"] + len(told)


def _at_every_moment(rig: Rig, pair: Pair, arguments: argparse.Namespace) -> Iterator[Result]:
    if arguments.moment:
        yield rig.run(pair, arguments.moment)
        return
    count = rig.alone(pair.world, pair.first).moment
    for moment in chosen(pair, count, arguments.seed, arguments.every):
        yield rig.run(pair, moment)


if __name__ == "__main__":
    import importlib

    importlib.import_module(
        "tests.faults.pairs"
    ).main()  # The module that the inis name, not a second one.
