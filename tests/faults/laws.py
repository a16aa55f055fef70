"""What must hold for a server after every request, looked at from outside.

A plain dictionary is the model: what was uploaded under which value. Everything else is asked:
what a record's own data say, what its ``/attachment`` answers, what lies in the store. Nothing
here knows how links look; :func:`assert_at_rest` alone asks the server's own tests about them.
"""

import dataclasses
import json
import traceback
from collections.abc import Iterable
from typing import Any

import sqlalchemy
import transaction
import webob
from kinto.core.testing import get_user_headers

from tests.faults.harness import collect
from tests.support.parts import OTHER, OWNER, Server, sha256

Key = tuple[str, str, str]
"""Kinto's resource name, parent and id of a stored object."""


class LawBroken(AssertionError):
    """What must never happen has happened."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a request was answered, and, for a batch, each of its members."""

    status: int
    body: bytes
    headers: Any = None
    members: tuple[int, ...] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Rows:
    """All that Kinto's storage holds but history, and no cap of Kinto's between."""

    def __init__(self, server: Server, url: str | None) -> None:
        self._server = server
        self._engine = None
        if url:
            url = url.replace("postgresql://", "postgresql+psycopg2://")
            self._engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")

    def read(self) -> dict[Key, dict[str, Any]]:
        transaction.abort()  # Kinto's last one may have failed; on memory there is none.
        return self._in_postgresql() if self._engine else self._in_memory()

    def _in_postgresql(self) -> dict[Key, dict[str, Any]]:
        statement = (
            "SELECT resource_name, parent_id, id, data, as_epoch(last_modified) FROM objects"
            " WHERE NOT deleted AND resource_name <> 'history'"
        )
        assert self._engine is not None
        with self._engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text(statement)).fetchall()
        return {
            (name, parent, object_id): {**data, "id": object_id, "last_modified": at}
            for name, parent, object_id, data, at in rows
        }

    def _in_memory(self) -> dict[Key, dict[str, Any]]:
        found = {}
        for parent, resources in self._server.registry.storage._store.items():
            for name, objects in resources.items():
                if name != "history":
                    for object_id, data in objects.items():
                        found[name, parent, object_id] = json.loads(json.dumps(data))
        return found

    def close(self) -> None:
        if self._engine:
            self._engine.dispose()


def canonical(value: Any) -> str:
    """Text that tells true from 1 and from 1.0, as ``==`` does not."""
    return json.dumps(value, sort_keys=True)


class Laws:
    """One server, what was uploaded to it, and the laws.

    :param keeps: URIs of collections whose old files are kept.
    :param without: laws that are not looked at.
    """

    def __init__(
        self, server: Server, rows: Rows, keeps: Iterable[str], without: frozenset[str]
    ) -> None:
        self.server = server
        self._rows = rows
        self._keeps = tuple(keeps)
        self._without = without
        self._headers = {user: get_user_headers(user) for user in (OWNER, OTHER)}
        self.files: dict[str, bytes] = {}
        """Bytes by the value that the upload was answered."""
        self.foreign: dict[str, str] = {}
        """Values that nobody uploaded, by the one record that may have each."""
        self.kept: set[str] = set()
        """Hashes of files that a record of a keeping collection has named."""
        self.perhaps_kept: set[str] = set()
        """Hashes of files that one may have named between two members of a batch."""
        self.open_to_other: set[str] = set()
        """Records that name a file and that the other user may read."""
        self.state: dict[Key, dict[str, Any]] = {}
        self.stored: set[str] = set()
        self.look()

    @property
    def rolls_back(self) -> bool:
        return self.server.registry.attachments.rolls_back

    # What there is

    def look(self) -> None:
        """Remember what there is now."""
        self.state, self.stored = self._rows.read(), self.server.stored_keys()
        for uri, value in self.named().items():
            if uri.startswith(self._keeps) and canonical(value) in self.files:
                self.kept.add(value["hash"])

    def records(self) -> dict[str, dict[str, Any]]:
        """Every record by its URI, those too whose collection is gone."""
        return {
            f"{parent}/records/{record_id}": data
            for (name, parent, record_id), data in self.state.items()
            if name == "record"
        }

    def named(self) -> dict[str, Any]:
        """Every ``attachment`` by its record's URI."""
        return {
            uri: data["attachment"]
            for uri, data in sorted(self.records().items())
            if data.get("attachment") is not None
        }

    def is_alive(self, record_uri: str) -> bool:
        """Whether bucket and collection are there."""
        _, _, bucket, _, collection, *_ = record_uri.split("/")
        return ("bucket", "", bucket) in self.state and (
            "collection",
            f"/buckets/{bucket}",
            collection,
        ) in self.state

    # Requests

    def call(
        self, user: str, method: str, path: str, body: Any = None, headers: Any = None
    ) -> Answer:
        """One request through WSGI; an exception that comes out of it is a 500."""
        given = {**self._headers[user], **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            given.setdefault("Content-Type", "application/json")
        more = {} if body is None else {"body": body}
        request = webob.Request.blank(f"/v1{path}", method=method, headers=given, **more)
        try:
            response = request.get_response(self.server.app.app)
        except Exception as error:
            raise LawBroken(f"{method} {path} raised {error!r}") from error
        members: tuple[int, ...] = ()
        if path == "/batch" and response.status_code == 200:
            members = tuple(r["status"] for r in response.json["responses"])
        return Answer(response.status_code, response.body, response.headers, members)

    # The laws

    def judge(
        self,
        user: str,
        answer: Answer,
        uploaded: Any = None,
        plugin: bool = False,
        batch: bool = False,
    ) -> None:
        """After a request.

        :param uploaded: the value that it stored.
        :param batch: whether it wrote several records: where nothing rolls back, a refusal may
            come when some are written.
        :param plugin: whether another plugin wrote: then the user's rights do not count.
        """
        before, stored, may_copy = self.state, self.stored, self._sources(user, plugin)
        self.look()
        worst = max((answer.status, *answer.members))
        if worst >= 500:
            raise LawBroken(f"4: answered {worst}: {answer.body[:2000]!r}")
        changed = {key for key in {*before, *self.state} if self._differ(key, before)}
        if answer.status >= 400 and (self.rolls_back or not batch):
            self._unchanged(before, changed)
        self._only_true_values(before, may_copy, uploaded)
        if changed or stored != self.stored:
            self._reading(changed)

    def judge_silently(self) -> None:
        """After something that must change no record at all, such as gc."""
        before = self.state
        self.look()
        self._unchanged(before, {k for k in {*before, *self.state} if self._differ(k, before)})
        self._reading(set())

    def _differ(self, key: Key, before: dict[Key, Any]) -> bool:
        old, new = before.get(key), self.state.get(key)
        return old is not new and canonical(old) != canonical(new)

    def _sources(self, user: str, plugin: bool) -> set[str]:
        """The values that a request may copy: records name them, and its user may read them."""
        return {
            canonical(value)
            for uri, value in self.named().items()
            if plugin or user == OWNER or uri in self.open_to_other
        }

    def _unchanged(self, before: dict[Key, Any], changed: set[Key]) -> None:
        for key in changed:
            if key[0] not in ("record", "collection", "bucket"):
                continue
            old, new = before.get(key), self.state.get(key)
            if self._stamps_differ_only(old, new) and "memory-stamps" in self._without:
                continue
            raise LawBroken(f"2: a refusal changed {key}: from {old} to {new}")

    def _stamps_differ_only(self, old: Any, new: Any) -> bool:
        if self.rolls_back or not old or not new:
            return False
        return {**old, "last_modified": 0} == {**new, "last_modified": 0}

    def _only_true_values(self, before: dict[Key, Any], may_copy: set[str], uploaded: Any) -> None:
        for uri, value in self.named().items():
            text = canonical(value)
            *parents, record_id = uri.rsplit("/records/", 1)
            former = before.get(("record", parents[0], record_id), {}).get("attachment")
            if text not in self.files and self.foreign.get(text) != uri:
                raise LawBroken(f"6: {uri} has a forged value: {value}")
            if text in (canonical(former), canonical(uploaded)):
                continue
            if text not in may_copy:
                raise LawBroken(f"6: {uri} has a value that could not be copied: {value}")

    def _reading(self, changed: set[Key]) -> None:
        """Who may read a record gets its bytes, and nobody else does.

        The other user's rights change with records and their parents: only where one of those
        has changed they are looked at again.
        """
        named = self.named()
        parents = any(key[0] in ("collection", "bucket") for key in changed)
        touched = {f"{parent}/records/{i}" for name, parent, i in changed if name == "record"}
        self.open_to_other &= set(named)
        for uri, value in named.items():
            if not self.is_alive(uri):
                self.open_to_other.discard(uri)
                continue
            self._owner_reads(uri, value)
            if parents or uri in touched:
                self._other_reads(uri, value)

    def _owner_reads(self, uri: str, value: Any) -> None:
        answer = self.call(OWNER, "GET", f"{uri}/attachment")
        content = self.files.get(canonical(value))
        if content is None:
            if answer.status != 404:
                raise LawBroken(f"1: {uri} opens {answer.body!r} by the foreign value {value}")
        elif answer.status != 200:
            raise LawBroken(f"1: {uri} has lost its file: {answer.status} {answer.body!r}")
        elif answer.body != content or sha256(answer.body) != value["hash"]:
            raise LawBroken(f"1: {uri} shows {answer.body[:50]!r}, not {content[:50]!r}")

    def _other_reads(self, uri: str, value: Any) -> None:
        may_read = self.call(OTHER, "GET", uri).status == 200
        (self.open_to_other.add if may_read else self.open_to_other.discard)(uri)
        answer = self.call(OTHER, "GET", f"{uri}/attachment")
        content = self.files.get(canonical(value))
        if may_read and content is not None:
            if (answer.status, answer.body) != (200, content):
                raise LawBroken(f"1: the other may read {uri}, not its file: {answer}")
        elif answer.status not in (401, 403, 404) or (content and content in answer.body):
            raise LawBroken(f"1: the other may not read {uri}, and gets {answer}")

    # At the end

    def assert_locations(self) -> None:
        """No location, of whatever time, opens to the other what no record of his names."""
        named = self.named()
        mine = {canonical(value) for uri, value in named.items() if uri in self.open_to_other}
        for text, content in self.files.items():
            location = json.loads(text)["location"]
            if "://" in location or text in mine:
                continue
            answer = self.call(OTHER, "GET", f"/{location}")
            if content in answer.body:
                raise LawBroken(f"1: the other gets {location}, which no record of his names")

    def finish(self) -> None:
        """The last look: everything once more, then gc, and then nothing may be too much."""
        for uri, value in self.named().items():
            if self.is_alive(uri):
                self._owner_reads(uri, value)
                self._other_reads(uri, value)
        self.assert_locations()
        for uri in self.foreign.values():
            self.call(OWNER, "DELETE", uri)  # It never had a link, and would count as amiss.
        self.look()
        if self.rolls_back and "tidy" not in self._without:
            self._at_rest("before gc")  # Else a refused batch was half done, and left the rest.
        collect(self.server)
        self.judge_silently()
        self._at_rest("after gc")

    def _at_rest(self, when: str) -> None:
        named = self.named()
        hashes = {v["hash"] for v in named.values() if canonical(v) in self.files}
        files = {sha256(self._content(key)) for key in self.server.stored_keys()}
        if not files >= hashes | self.kept:
            raise LawBroken(f"5: {when} files are gone: {(hashes | self.kept) - files}")
        if not files <= hashes | self.kept | self.perhaps_kept:
            raise LawBroken(f"5: {when} nothing names {files - hashes - self.kept}")
        if all(self.is_alive(uri) for uri in self.records()):
            try:
                assert_at_rest(self.server)
            except AssertionError as error:
                (*_, place) = traceback.extract_tb(error.__traceback__)
                raise LawBroken(f"5: {when} not true: {place.line} {error}") from error

    def _content(self, key: str) -> bytes:
        assert self.server.files
        return (self.server.files / key).read_bytes()


def assert_at_rest(server: Server) -> None:
    """Links agree with records and files. Links are the server's own affair: whoever changes
    them changes this, or what it calls."""
    storage = server.registry.storage
    cap = getattr(storage, "_max_fetch_size", None)
    if cap is not None:
        storage._max_fetch_size = 100_000  # The look must not be capped; what was done was.
    try:
        server.assert_agreement()
    finally:
        if cap is not None:
            storage._max_fetch_size = cap
