"""Traffic on two servers, with every command beside it: ``python -m tests.faults.traffic``.

Clients upload, replace, copy, change and delete a few records, which they share, while files are
collected, relocated, copied, migrated and repaired. After each round, at rest, the laws are
looked at. What is done follows from the seed; when it meets what else is done does not.
"""

import argparse
import collections
import contextlib
import io
import itertools
import json
import logging
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import transaction
from kinto.core.testing import get_user_headers

from tests.faults import at_rest, worlds
from tests.faults.harness import Database, call
from tests.faults.pairs import Hands
from tests.faults.verbs import FINE, KINTOS_OWN, REFUSED
from tests.support import parts, postgresql, processes
from tests.support.parts import OWNER, Server, multipart, sha256

CLIENTS, OPERATIONS = 6, 15
"""How many there are, and what each one does in a round."""

COLLECTIONS = [worlds.ALBUM, worlds.SECOND]
NAMES = [f"r{n}" for n in range(4)]
JSON = {"Content-Type": "application/json"}
LOOPS = [
    [["relocate"], ["migrate"], ["relocate", "back"], ["doctor", "dead-link"]],
    [["gc"], ["copy"], ["gc", "now"]],
]
"""What runs beside the traffic: two commands at any time, each list in turn."""


@dataclass(frozen=True)
class Write:
    """What one client did to one record.

    :param outcome: the hash of the file that the record has then, or None.
    :param certain: whether it was acknowledged; else it may be there, or not.
    :param ours: whether our own endpoint was asked, and not Kinto's.
    """

    uri: str
    outcome: str | None
    began: float
    ended: float
    certain: bool
    ours: bool


@dataclass
class Log:
    """What was done and answered in one round, by all.

    :param patches: records whose title was changed, and when that ended.
    """

    writes: list[Write] = field(default_factory=list)
    patches: list[tuple[str, float]] = field(default_factory=list)
    versions: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)


class Clients:
    """Those who use the servers.

    :param seed: of this round.
    """

    def __init__(self, ports: list[int], seed: int, counted: collections.Counter[Any]) -> None:
        self._ports = ports
        self._seed = seed
        self._counted = counted
        self._lock = threading.Lock()
        self._headers = get_user_headers(OWNER)
        self.log = Log()

    def work(self, number: int) -> None:
        """One client's part of the round."""
        chance = random.Random(f"{self._seed} {number}")
        kinds: list[tuple[int, Callable[[random.Random, str], object]]] = [
            (6, self._upload),
            (2, self._guarded),
            (2, self._raw),
            (5, self._copy),
            (3, self._patch),
            (2, self._rewrite),
            (2, self._take_out),
            (2, self._delete),
            (3, self._read),
            (2, self._move),
            (1, self._swap),
            (1, self._delete_all),
            (1, self._collection_anew),
        ]
        weights = [weight for weight, _ in kinds]
        for _ in range(OPERATIONS):
            _, kind = chance.choices(kinds, weights)[0]
            kind(chance, self._record(chance))

    def _record(self, chance: random.Random) -> str:
        # One collection more often than the other: there they meet.
        return f"{chance.choice([*COLLECTIONS, COLLECTIONS[0]])}/records/{chance.choice(NAMES)}"

    def _upload(self, chance: random.Random, uri: str, **headers: str) -> int:
        content = b"%d " % chance.getrandbits(64) * chance.choice([1, 1, 20_000])
        body, kind = multipart([("attachment", "a.txt", "text/plain", content)])
        head = {"Content-Type": kind, **headers}
        outcome = {uri: sha256(content)}
        return self._write("upload", "POST", f"{uri}/attachment", body, outcome, head)

    def _guarded(self, chance: random.Random, uri: str) -> None:
        _, __, etag = self._look(chance, uri)
        head = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        status = self._upload(chance, uri, **head)
        if status in FINE and etag:
            with self._lock:
                self.log.versions[uri, etag] += 1

    def _raw(self, chance: random.Random, uri: str) -> None:
        content = b"%d" % chance.getrandbits(64)
        path = f"{uri}/attachment?filename=a.txt"
        self._write("PUT attachment", "PUT", path, content, {uri: sha256(content)}, {})

    def _copy(self, chance: random.Random, uri: str) -> None:
        value = self._look(chance, self._record(chance))[0]
        if value:
            method = chance.choice(["PUT", "PATCH"])
            outcome = {uri: value["hash"]}
            self._json(f"{method} copy", method, uri, {"data": {"attachment": value}}, outcome)

    def _patch(self, chance: random.Random, uri: str) -> None:
        body = {"data": {"title": str(chance.random())}}
        status = self._json("PATCH title", "PATCH", uri, body, {})
        if status in FINE:
            with self._lock:
                self.log.patches.append((uri, time.monotonic()))

    def _rewrite(self, chance: random.Random, uri: str) -> None:
        value, record, _ = self._look(chance, uri)
        if record:
            outcome = {uri: value["hash"] if value else None}
            self._json("PUT as it was", "PUT", uri, {"data": {**record, "title": "new"}}, outcome)

    def _take_out(self, chance: random.Random, uri: str) -> None:
        if chance.random() < 0.5:
            self._write("DELETE attachment", "DELETE", f"{uri}/attachment", None, {uri: None}, {})
        else:
            self._json("PUT without", "PUT", uri, {"data": {"title": "no file"}}, {uri: None})

    def _delete(self, _: random.Random, uri: str) -> None:
        self._write("DELETE record", "DELETE", uri, None, {uri: None}, {})

    def _read(self, chance: random.Random, uri: str) -> None:
        status, body = self._call(chance, "GET", f"{uri}/attachment")
        self._note("GET attachment", status)
        if status == 200 and not body:
            self._say(f"GET {uri} gave nothing")

    def _move(self, chance: random.Random, uri: str) -> None:
        value = self._look(chance, uri)[0]
        other = self._record(chance)
        if value and other != uri:
            members = [_put(other, value), {"method": "DELETE", "path": uri}]
            self._batch("batch move", members, {other: value["hash"], uri: None})

    def _swap(self, chance: random.Random, uri: str) -> None:
        other = self._record(chance)
        one, two = self._look(chance, uri)[0], self._look(chance, other)[0]
        if one and two and other != uri:
            outcome = {uri: two["hash"], other: one["hash"]}
            self._batch("batch swap", [_put(uri, two), _put(other, one)], outcome)

    def _delete_all(self, chance: random.Random, _: str) -> None:
        collection = chance.choice(COLLECTIONS)
        gone = dict.fromkeys(f"{collection}/records/{name}" for name in NAMES)
        self._write("DELETE records", "DELETE", f"{collection}/records", None, gone, {})

    def _collection_anew(self, _: random.Random, __: str) -> None:
        collection = COLLECTIONS[1]
        gone = dict.fromkeys(f"{collection}/records/{name}" for name in NAMES)
        self._write("DELETE collection", "DELETE", collection, None, gone, {})
        self._write("PUT collection", "PUT", collection, None, {}, {})

    def _look(self, chance: random.Random, uri: str) -> tuple[Any, Any, str]:
        """A record's ``attachment``, the record, and its version."""
        status, body = self._call(chance, "GET", uri)
        if status != 200:
            return None, None, ""
        record = json.loads(body)["data"]
        return record.get("attachment"), record, f'"{record["last_modified"]}"'

    def _json(self, name: str, method: str, path: str, body: Any, outcome: Any) -> int:
        return self._write(name, method, path, json.dumps(body).encode(), outcome, JSON)

    def _batch(self, name: str, members: list[Any], outcome: Mapping[str, str | None]) -> None:
        began = time.monotonic()
        body = json.dumps({"requests": members}).encode()
        status, answer = self._call(random, "POST", "/batch", body, JSON)
        told = [m["status"] for m in json.loads(answer)["responses"]] if status == 200 else []
        for one in told or [status]:
            self._note(name, one)
        # Where Kinto itself met a conflict, it has gone on after it, and told of all.
        if status not in REFUSED:
            self._log(outcome, began, bool(told) and set(told) <= FINE, ours=False)

    def _write(
        self,
        name: str,
        method: str,
        path: str,
        body: bytes | None,
        outcome: Mapping[str, str | None],
        headers: dict[str, str],
    ) -> int:
        began = time.monotonic()
        status, _ = self._call(random, method, path, body, headers)
        self._note(name, status)
        if status not in REFUSED and (name, status) not in KINTOS_OWN:
            self._log(outcome, began, status in FINE, ours="/attachment" in path)
        return status

    def _call(
        self, chance: Any, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> tuple[int, bytes]:
        headers = {**self._headers, **(headers or {})}
        return call(chance.choice(self._ports), method, path, body, **headers)

    def _log(
        self, outcome: Mapping[str, str | None], began: float, certain: bool, ours: bool
    ) -> None:
        ended = time.monotonic()
        with self._lock:
            for uri, value in outcome.items():
                self.log.writes.append(Write(uri, value, began, ended, certain, ours))

    def _note(self, name: str, status: int) -> None:
        with self._lock:
            self._counted[name, str(status)] += 1
        if status not in FINE | REFUSED and (name, status) not in KINTOS_OWN:
            self._say(f"failed: {name} was answered {status}")

    def _say(self, sentence: str) -> None:
        with self._lock:
            self.log.wrong.append(sentence)


def _put(uri: str, value: Any) -> dict[str, Any]:
    return {"method": "PUT", "path": uri, "body": {"data": {"attachment": value}}}


def lost(log: Log, before: dict[str, str | None], now: dict[str, str | None]) -> Iterator[str]:
    """Law 3: a record shows an acknowledged write that no other acknowledged one followed."""
    for uri in {*before, *now, *(write.uri for write in log.writes)}:
        writes = [write for write in log.writes if write.uri == uri]
        certain = [write for write in writes if write.certain]
        began = max((write.began for write in certain), default=0.0)
        last = [write for write in certain if write.ended >= began]
        allowed = {write.outcome for write in last} or {before.get(uri)}
        allowed |= {write.outcome for write in writes if not write.certain}
        allowed |= _revived(uri, last, log, before)
        if now.get(uri) not in allowed:
            said = [str(value)[:8] for value in allowed]
            yield f"lost: {uri} has {str(now.get(uri))[:8]}, not {' or '.join(said)}"
    for (uri, etag), count in log.versions.items():
        if count > 1:
            yield f"overtaken: {count} uploads changed {uri} in its version {etag}"


def _revived(
    uri: str, last: list[Write], log: Log, before: dict[str, str | None]
) -> set[str | None]:
    """What Kinto's own PATCH may have brought back, where Kinto's own deletion came last.

    It reads, and later writes the whole record without a look, even one that was deleted in
    between; without attachments too.
    """
    if any(write.outcome or write.ours for write in last):
        return set()
    began = min((write.began for write in last), default=0.0)
    if not any(patched == uri and ended > began for patched, ended in log.patches):
        return set()
    return {before.get(uri), *(write.outcome for write in log.writes if write.uri == uri)}


class Commands:
    """A process that runs commands, one after the other."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        folder.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.faults.traffic", "--commands"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self.run([json.dumps(settings), str(folder)])

    def run(self, arguments: list[str]) -> tuple[Any, str]:
        """Exit code, and the error that it should not have ended with."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        code, error = json.loads(self._process.stdout.readline())
        return code, error

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def run_commands() -> None:
    """The other side of :class:`Commands`."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Commands print.
    settings, folder = json.loads(sys.stdin.readline())
    hands = Hands(Path(folder), json.loads(settings), "beside")
    answers.write(json.dumps([0, ""]) + "\n")
    for line in sys.stdin:
        code, error = None, ""
        try:
            code = hands.command(*json.loads(line))
        except SystemExit as end:
            code = end.code
        except Exception as wrong:
            error = f"{type(wrong).__name__}: {wrong}"[:500]
        transaction.abort()
        answers.write(json.dumps([code, error]) + "\n")


class Traffic:
    """Two servers and two processes for commands, on one database and one store.

    :param url: of a PostgreSQL, which is emptied.
    :attr:`counted`: how often (what was done, what was answered).
    """

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self.counted: collections.Counter[tuple[str, str]] = collections.Counter()
        self.rounds = 0
        self._logs: list[Path] = []
        self._seed = seed
        self._closing = contextlib.ExitStack()
        settings = {
            **parts.SETTINGS,
            **parts.postgresql_settings(url),
            "kinto.includes": "kinto.plugins.history kinto_attachment",
            "kinto.attachment.base_path": str(folder / "files"),
            "kinto.attachment.base_url": worlds.BASE_URL,
            "kinto.attachment.fsync": "false",
        }
        self._server = Server(settings)
        self._closing.callback(self._server.close)
        self._server.reset()
        self._database = Database(url)
        self._closing.callback(self._database.close)
        self._ports = [self._start(folder / f"server{n}", settings) for n in range(2)]
        self._commands = [Commands(settings, folder / f"commands{n}") for n in range(len(LOOPS))]
        for commands in self._commands:
            self._closing.callback(commands.close)

    def close(self) -> None:
        self._closing.close()

    def run(self, seconds: float) -> list[str]:
        """Rounds for so long; what is wrong after the first that something is wrong after."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said = self.round()
            if said:
                return [f"seed {self._seed}, round {self.rounds}: {s}" for s in said]
        return []

    def round(self) -> list[str]:
        """Traffic, rest, and what is wrong then."""
        self._prepare()
        before = self._hashes()
        clients = Clients(self._ports, self._seed * 100_000 + self.rounds, self.counted)
        over = threading.Event()
        with ThreadPoolExecutor(CLIENTS + len(LOOPS)) as pool:
            beside = [pool.submit(self._beside, n, over) for n in range(len(LOOPS))]
            working = [pool.submit(clients.work, number) for number in range(CLIENTS)]
            for future in working:
                future.result()
            over.set()
            said = [sentence for future in beside for sentence in future.result()]
        self.rounds += 1
        self._database.wait_until_idle()
        said += clients.log.wrong
        said += lost(clients.log, before, self._hashes())
        self._commands[0].run(["migrate"])
        said += at_rest.unreadable(self._server, self._database)
        said += at_rest.disagreement(self._server, ours=False)
        said = said or at_rest.unreadable(self._server, self._database)
        if said:
            said += self._tracebacks() if any("answered 500" in s for s in said) else []
            self._server.reset()  # The next round is not to suffer from this one.
        return said

    def _tracebacks(self) -> list[str]:
        """The last lines of the servers' tracebacks, each once."""
        lines = [line for log in self._logs for line in log.read_text().splitlines()]
        ends = [
            line
            for before, line in itertools.pairwise(lines)
            if before.startswith("    ") and re.match(r"[\w.]+(Error|Exception)\b", line)
        ]
        return [f"a server's log: {line[:200]}" for line in dict.fromkeys(ends)]

    def _beside(self, number: int, over: threading.Event) -> list[str]:
        """The commands of one list, in turn, until the clients are done."""
        said = []
        turn = self.rounds  # Rounds are short: each begins with another one.
        while not over.is_set():
            arguments = LOOPS[number][turn % len(LOOPS[number])]
            code, error = self._commands[number].run(arguments)
            self.counted[" ".join(arguments), f"exit {code}"] += 1
            turn += 1
            if error:
                said.append(f"failed: {' '.join(arguments)}: {error}")
        return said

    def _prepare(self) -> None:
        """All collections are there, and what is there is older than any grace. A record of 8.x
        comes, for the migration."""
        client = self._server.as_user()
        for uri in COLLECTIONS:
            client.make_collection(uri)
        transaction.abort()
        self._grow_old()
        assert self._server.files is not None
        then = time.time() - worlds.TWO_DAYS
        for path in self._server.files.rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))
        uri = f"{COLLECTIONS[0]}/records/{NAMES[self.rounds % len(NAMES)]}"
        if client.get(uri, "*").status_code == 404:
            worlds.plant_published(self._server, uri, b"published %d" % self.rounds)
        transaction.abort()

    def _grow_old(self) -> None:
        statements = "; ".join(
            f"UPDATE {table} SET last_modified = last_modified - INTERVAL '2 hours'"
            for table in ("objects", "timestamps")
        )
        # Else a trigger gives each row a date of its own.
        self._database.execute(f"SET session_replication_role = replica; {statements}; RESET ALL")

    def _hashes(self) -> dict[str, str | None]:
        found = at_rest.attachments(self._database)
        return {uri: record["attachment"].get("hash") for uri, record in found.items()}

    def _start(self, folder: Path, settings: dict[str, str]) -> int:
        folder.mkdir()
        ini = str(processes.write_ini(folder / "kinto.ini", settings, threads="8"))
        kinto = str(processes.BIN / "kinto")
        command = [kinto, "start", "--ini", ini, "--port", "0"]
        self._logs.append(folder / "server.log")
        origin = self._closing.enter_context(processes.answering(command, folder))
        port = urlsplit(origin).port
        assert port
        return port


def table(counted: collections.Counter[tuple[str, str]]) -> str:
    """What was done and answered."""
    done: dict[str, list[str]] = {}
    for (name, answer), count in sorted(counted.items()):
        done.setdefault(name, []).append(f"{answer}: {count}")
    return "\n".join(f"{name:20} {', '.join(answers)}" for name, answers in done.items())


def main() -> None:
    """For as long as it is told."""
    parser = argparse.ArgumentParser(description="Traffic with every command beside it.")
    parser.add_argument("--commands", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--go-on", action="store_true", help="do not stop where laws are broken")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    if arguments.commands:
        run_commands()
        return
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes", flush=True)
    said: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="kinto-attachment-traffic-") as name,
        postgresql.running(Path(name) / "postgresql") as url,
    ):
        traffic = Traffic(url, Path(name), arguments.seed)
        end = time.monotonic() + arguments.minutes * 60
        while time.monotonic() < end and (arguments.go_on or not said):
            with contextlib.redirect_stderr(io.StringIO()):
                found = traffic.run(end - time.monotonic())
            print("\n".join(found), flush=True)
            said += found
        traffic.close()
    print(table(traffic.counted))
    print(f"{traffic.rounds} rounds, {len(said)} sentences of what is wrong")
    raise SystemExit(1 if said else 0)


if __name__ == "__main__":
    main()
