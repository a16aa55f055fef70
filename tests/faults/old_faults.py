"""The test of the tests: each way in which record and file once came apart, put back on purpose.

``python -m tests.faults.old_faults`` puts back one after the other, each in a process of its own,
runs the few tests that must notice it, and says which one did. ``OLD_FAULT=NAME`` and ``-p
tests.faults.old_faults`` do the same for any call of pytest.

A switch names a function of the package and puts another one in its place. Where that function
is gone, or is called otherwise by now, it fails: so no fault is switched off by a refactoring.
"""

import argparse
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "OLD_FAULT"
"""Names the fault that a process has for its whole life; without it there is none."""

ROOT = Path(__file__).parents[2]


class NotThere(Exception):
    """A switch does not fit the package any more: it has to be written anew."""


# How one is put back


def put(place: str, new: Any) -> Any:
    """Put something in the place of what a class or a module has; returns what was there.

    :param place: as in ``kinto_attachment.attachments.file_changes:FileChanges._outcome``.
    """
    owner, name = _owner(place)
    if name not in vars(owner):
        raise NotThere(f"There is no {place}.")
    old = vars(owner)[name]
    _compare(place, old, new)
    setattr(owner, name, new)
    return old


def put_everywhere(place: str, new: Any) -> Any:
    """The same for a function that other modules import by its name."""
    old = put(place, new)
    _, name = _owner(place)
    for module in _modules():
        if vars(module).get(name) is old:
            setattr(module, name, new)
    return old


def _owner(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *classes, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for one in classes:
        if one not in vars(owner):
            raise NotThere(f"There is no {place}.")
        owner = vars(owner)[one]
    return owner, name


def _compare(place: str, old: Any, new: Any) -> None:
    if callable(old) != callable(new):
        raise NotThere(f"{place} is something else by now.")
    if callable(old):
        was, now = ([*inspect.signature(one).parameters] for one in (old, new))
        if was != now:
            raise NotThere(f"{place} is called with {was}, and its old fault with {now}.")


def _modules() -> list[Any]:
    import kinto_attachment

    found = pkgutil.walk_packages(kinto_attachment.__path__, "kinto_attachment.")
    names = [module.name for module in found if module.name not in _NOT_IMPORTED]
    return [kinto_attachment, *(importlib.import_module(name) for name in names)]


_NOT_IMPORTED = ("kinto_attachment.__main__", "kinto_attachment.testing")

POSTGRESQL = "kinto_attachment.rows.postgresql:PostgreSQLRows"
MEMORY = "kinto_attachment.rows.memory:MemoryRows"
RECONCILER = "kinto_attachment.agreement.reconciling:Reconciler"


# The switches


def events_decide() -> None:
    """A record is what the last event says of it, rolled back, partial or mistaken as it is."""
    from kinto_attachment.rows.interface import RecordRow
    from kinto_attachment.targets import Target

    def hear(self: Any, payload: dict[str, Any], changes: list[dict[str, Any]]) -> None:
        heard(self, payload, changes)
        told = self.__dict__.setdefault("told", {})
        for change in changes:
            old, new = change.get("old") or {}, change.get("new") or {}
            record_id = old.get("id") or new.get("id")
            if record_id:
                target = Target(payload["bucket_id"], payload["collection_id"], record_id)
                told[target] = RecordRow(target, new.get("attachment"))

    def look(self: Any, page: list[Any]) -> Any:
        links = looked(self, page)
        told = getattr(self._touched, "told", {})
        self._records.update({target.uri: told[target] for target in page if target in told})
        return links

    heard = put("kinto_attachment.agreement.touched:Touched._hear_records", hear)
    looked = put(f"{RECONCILER}._look", look)


def holders_are_capped() -> None:
    """Who holds a file is asked of as many links as Kinto gives at once."""
    from kinto_attachment.rows.links import State

    def held(self: Any, file_ids: Collection[str]) -> set[str]:
        links = [k for k in self.to_files(file_ids) if k.state is not State.RELEASED]
        return {link.file_id for link in links[: self.cap]}

    _know_the_cap()
    put(f"{POSTGRESQL}.held", held)


def links_are_capped() -> None:
    """Of the links below a collection, or of all, no more are read than Kinto gives at once."""

    def pages(self: Any, prefix: str) -> Any:
        for page in all_pages(self, prefix):
            yield page[: self.cap]
            return

    _know_the_cap()
    all_pages = put(f"{POSTGRESQL}._pages", pages)


def _know_the_cap() -> None:
    def capped_rows(storage: Any) -> Any:
        rows = rows_of(storage)
        rows.cap = getattr(storage, "_max_fetch_size", 10_000)
        return rows

    rows_of = put_everywhere("kinto_attachment.rows:rows_of", capped_rows)


def removed_by_key() -> None:
    """A link's row is removed whatever it says by now."""

    def remove(self: Any, links: Collection[Any]) -> Any:
        now = {(link.file_id, link.parent): link for link in self.to_files(_ids(links))}
        return removed(self, [now.get((k.file_id, k.parent), k) for k in links])

    removed = put(f"{POSTGRESQL}.remove", remove)


def _ids(links: Collection[Any]) -> list[str]:
    return [link.file_id for link in links]


def nothing_is_locked() -> None:
    """Files are not locked while one looks who holds them."""

    def lock(self: Any, file_ids: Collection[str] | None) -> str | None:
        return None

    put(f"{POSTGRESQL}.lock", lock)


def names_like_ids() -> None:
    """A client's name for a file may look like an id of ours."""

    def altered(text: str) -> str:
        return text

    put_everywhere("kinto_attachment.keys:altered", altered)


def doubt_is_failure() -> None:
    """A COMMIT of which nobody heard has failed."""

    def outcome(self: Any) -> bool | None:
        return False

    put("kinto_attachment.attachments.file_changes:FileChanges._outcome", outcome)


def stale_values_stay() -> None:
    """A record without a link never had one: its value may come back after its link went."""

    def had_a_link(request: Any, target: Any, value: Any) -> bool:
        return False

    put("kinto_attachment.agreement.tween:_had_a_link", had_a_link)


def old_links_do_not_count() -> None:
    """A file goes although a link of 8.x or 9.x names it."""

    def published_keys(self: Any, wanted: Collection[str]) -> set[str]:
        return set()

    put("kinto_attachment.agreement.sources:Sources.published_keys", published_keys)


def any_store_will_do() -> None:
    """Nobody asks whose store it is, and whether it is there."""

    def reason(self: Any, store: Any) -> str | None:
        return None

    put("kinto_attachment.attachments.custody:Custody._reason", reason)


def foreign_files_go() -> None:
    """Files that 8.x has kept are removed as if they were ours."""

    def is_wanted(self: Any, finding: Any) -> bool:
        return True

    put("kinto_attachment.maintenance.doctor.repair:Repairer._is_wanted", is_wanted)


def the_last_one_decides() -> None:
    """Whether an old file is kept is a matter of the record that lets go of it last."""

    def release(self: Any, links: Any) -> None:
        links = list(links)
        every = self._rows.to_files(_ids(links))
        others = {k.file_id for k in every if k not in links}
        policy_for = self._settings.policy_for

        class Settings:
            """Says of those that are not the last ones that nothing is kept."""

            def policy_for(self, bucket_id: str, collection_id: str) -> Any:
                return replace(policy_for(bucket_id, collection_id), keep_old_files=0)

        own = self._settings
        self._settings = Settings()
        released(self, [link for link in links if link.file_id in others])
        self._settings = own
        released(self, [link for link in links if link.file_id not in others])

    released = put(f"{RECONCILER}._release", release)


def two_last_ones() -> None:
    """The same, and two that let go at once are both not the last one."""
    the_last_one_decides()
    nothing_is_locked()


def the_file_is_there() -> None:
    """Nobody asks the store whether a file is still there whose form took long."""

    def store_has(self: Any, key: str, size: int) -> bool:
        return True

    put(f"{RECONCILER}._store_has", store_has)


def plugins_are_believed() -> None:
    """What a plugin wrote is where it says that it did."""

    def written_under(
        self: Any, record_ids: Collection[str], collection_uris: Collection[str]
    ) -> list[Any]:
        return []

    for rows in (POSTGRESQL, MEMORY):
        put(f"{rows}.written_under", written_under)


def links_are_sources() -> None:
    """A copy may be made of what a link says, whatever its record says now."""
    from kinto_attachment.rows.links import State

    def sources(
        self: Any,
        file_id: str,
        collection_uris: Collection[str] | None,
        most: int,
        value: Any = None,
    ) -> list[Any]:
        links = [link for link in self.to_files([file_id]) if link.state is State.HELD]
        uris = collection_uris
        return [k for k in links if uris is None or k.target.collection_uri in uris][:most]

    for rows in (POSTGRESQL, MEMORY):
        put(f"{rows}.sources", sources)


def equal_is_same() -> None:
    """``True``, ``1`` and ``1.0`` are one value."""

    def same(one: Any, other: Any) -> bool:
        return bool(one == other)

    put_everywhere("kinto_attachment.rows.links:same", same)


def nothing_is_put_back() -> None:
    """On memory what was refused stays in the record."""

    def put_back(registry: Any, touched: Any, refused: Any) -> None:
        pass

    put("kinto_attachment.agreement.restoring:put_back", put_back)


def changed_in_place() -> None:
    """The record as it was is the one that Kinto's merge-patch changes in place."""

    def copy_of(registry: Any, target: Any, record: dict[str, Any]) -> Any:
        former, permissions = copied(registry, target, record)
        return {**former, "attachment": record.get("attachment")}, permissions

    copied = put("kinto_attachment.agreement.restoring:copy_of", copy_of)


def size_is_enough() -> None:
    """A file is adopted if it has the right size."""
    from kinto_attachment.attachments import adoption

    def verified_link(store: Any, target: Any, value: dict[str, Any], key: str | None) -> Any:
        link = adoption.link_of(target, value, key) if key else None
        return link if link and adoption._has_its_size(store, link) else None

    put_everywhere("kinto_attachment.attachments.adoption:verified_link", verified_link)


def any_media_type() -> None:
    """What is written in a record as its media type becomes a header."""

    def is_media_type(text: str) -> bool:
        return True

    put_everywhere("kinto_attachment.attachments.types:is_media_type", is_media_type)


def nothing_is_released() -> None:
    """No row is left of a file of 8.x that is to go."""
    from kinto_attachment.rows.links import State

    added: dict[str, Any] = {}
    for rows in (POSTGRESQL, MEMORY):

        def add(self: Any, links: Collection[Any]) -> None:
            place = POSTGRESQL if type(self).__name__ in POSTGRESQL else MEMORY
            added[place](self, [link for link in links if link.state is not State.RELEASED])

        added[rows] = put(f"{rows}.add", add)


def records_are_not_locked() -> None:
    """A record that is looked at for a precondition may be written meanwhile."""
    from kinto_attachment.rows.interface import LockedRecord

    def lock_record(self: Any, target: Any) -> Any:
        statement = """
        SELECT data, as_epoch(last_modified) AS last_modified FROM objects
         WHERE id = :id AND parent_id = :parent AND resource_name = 'record' AND NOT deleted
        """
        rows = self.read(statement, id=target.record_id, parent=target.collection_uri)
        found = [LockedRecord(row.data.get("attachment"), row.last_modified) for row in rows]
        return found[0] if found else None

    put(f"{POSTGRESQL}.lock_record", lock_record)


def one_attempt() -> None:
    """One of Kinto's conflicts ends an upload whose file is in hand."""
    put("kinto_attachment.agreement.errands:ATTEMPTS", 1)


def parents_are_there() -> None:
    """A collection that is deleted while a file comes in is still there."""

    def share_parents(self: Any, collection_uris: Collection[str]) -> None:
        return None

    put(f"{POSTGRESQL}.share_parents", share_parents)


# What has to notice them


@dataclass(frozen=True)
class Tests:
    """Tests of pytest: a file, or one of its tests, and what ``-k`` leaves of it."""

    place: str
    only: str = ""

    sign = r"^FAILED tests/\S+?::(.+?)(?: - |$)"

    def __str__(self) -> str:
        return self.place

    def arguments(self) -> list[str]:
        """Of Python."""
        plugin = ["-p", "tests.faults.old_faults", "-p", "no:cacheprovider"]
        only = ["-k", self.only] if self.only else []
        return ["-m", "pytest", "-x", "-q", "--tb=no", *plugin, f"tests/{self.place}", *only]


@dataclass(frozen=True)
class Seed:
    """A run of the model test.

    :param without: what the run leaves out, so that nothing else than this fault is met.
    """

    backend: str
    seed: int
    without: str = ""
    profiles: str = ""

    sign = r"^(\d: .*)"

    def __str__(self) -> str:
        return f"model on {self.backend}, seed {self.seed}"

    def arguments(self) -> list[str]:
        """Of Python."""
        run = ["--backend", self.backend, "--seed", str(self.seed), "--runs", "1"]
        more = ["--without", self.without] if self.without else []
        more += ["--profiles", self.profiles] if self.profiles else []
        return [*WITHIN, "tests.faults.model", *run, "--patience", "0", "--go-on", *more]


@dataclass(frozen=True)
class Held:
    """A pair of the test of pairs, at all its moments or at one of them."""

    pair: str
    moment: int = 0

    sign = r"^.*, held at (.*)"

    def __str__(self) -> str:
        return f"pair {self.pair!r}"

    def arguments(self) -> list[str]:
        """Of Python."""
        moment = ["--moment", str(self.moment)] if self.moment else []
        return [*WITHIN, "tests.faults.pairs", "--only", self.pair, *moment]


WITHIN = ["-W", "ignore", "-m", "tests.faults.old_faults", "--within"]
Selection = Tests | Seed | Held


@dataclass(frozen=True)
class Fault:
    """One of the old ones.

    :param finding: the number that it has in ``tests/http/test_agreement.py``.
    :param noticed_by: the smallest selection of tests that has to fail with it.
    """

    finding: str
    switch: Callable[[], None]
    noticed_by: Selection


AGREEMENT, OLD_WAYS = "http/test_agreement.py", "faults/test_old_ways.py"
NO_BATCH = "batch,delete-all,review,parents"
NO_STAMP = "behavior,stamp,review,parents"
FAULTS = {
    "event-partial": Fault("1", events_decide, Seed("memory", 14, NO_BATCH)),
    "event-undone": Fault(
        "2", events_decide, Seed("postgresql", 4, "behavior,delete-all,review,parents,fill")
    ),
    "capped-holders": Fault("3", holders_are_capped, Seed("postgresql", 24)),
    "capped-links": Fault("3", links_are_capped, Seed("postgresql", 12, profiles="two")),
    "removed-by-key": Fault("4", removed_by_key, Held("ours: gc | relocate")),
    "no-locks": Fault("4", nothing_is_locked, Held("ours: PUT n2 = r3 | DELETE r3")),
    "event-order": Fault("5", events_decide, Seed("memory", 1, NO_STAMP)),
    "event-mispaired": Fault("6", events_decide, Tests(OLD_WAYS, "uploaded_anew")),
    "names-like-ids": Fault("7", names_like_ids, Seed("memory", 63)),
    "doubt-is-failure": Fault("8", doubt_is_failure, Tests(AGREEMENT, "signal_after")),
    "stale-values": Fault("9", stale_values_stay, Held("ours: PATCH r3 title | DELETE r3")),
    "old-links": Fault("9", old_links_do_not_count, Tests(OLD_WAYS, "copy_of_8_x")),
    "another-store": Fault("10", any_store_will_do, Tests(AGREEMENT, "of_another_database")),
    "no-store": Fault("11", any_store_will_do, Tests(OLD_WAYS, "store_is_away")),
    "store-goes-away": Fault("12", any_store_will_do, Tests(AGREEMENT, "store_that_goes_away")),
    "foreign-files": Fault(
        "13", foreign_files_go, Tests("commands/test_doctor.py", "nothing_names and local")
    ),
    "last-one-decides": Fault("14", the_last_one_decides, Seed("memory", 0, profiles="keeps")),
    "two-last-ones": Fault("14", two_last_ones, Held("ours: DELETE k1 | DELETE k2")),
    "slow-form": Fault("15", the_file_is_there, Held("ours: upload r1 | gc now")),
    "plugins-believed": Fault("16", plugins_are_believed, Seed("memory", 0)),
    "event-taken-back": Fault("17", events_decide, Tests(OLD_WAYS, "takes_back")),
    "links-are-sources": Fault("17", links_are_sources, Tests("units/test_rows.py", "source")),
    "equal-is-same": Fault("18", equal_is_same, Seed("memory", 75)),
    "not-put-back": Fault("18", nothing_is_put_back, Seed("memory", 0)),
    "changed-in-place": Fault("18", changed_in_place, Seed("memory", 1, "batch")),
    "size-is-enough": Fault("19", size_is_enough, Tests(OLD_WAYS, "right_size")),
    "media-type": Fault("19", any_media_type, Tests(OLD_WAYS, "media_type")),
    "not-released": Fault("20", nothing_is_released, Held("migrated: DELETE r3 | SIGKILL")),
    "no-record-lock": Fault(
        "21", records_are_not_locked, Held("ours: upload r1 guarded | upload r1 guarded")
    ),
    "one-attempt": Fault("22", one_attempt, Tests(AGREEMENT, "kintos_conflicts")),
    "parents-there": Fault("23", parents_are_there, Held("ours: upload n1 | DELETE collection")),
}


def switch_on() -> None:
    """Put back what the environment names, once in a process."""
    name = os.environ.get(VARIABLE)
    if name and name not in _ON:
        _ON.append(name)
        FAULTS[name].switch()


_ON: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """Pytest's: before anything of the tests is imported."""
    switch_on()


# Running them


class Unclear(Exception):
    """The tests neither passed nor failed, but could not be run."""


def noticed(selection: Selection, name: str | None) -> str | None:
    """What failed of a selection, with a fault, or with None of them; None where nothing did."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_FOR_CHILDREN)}
    environment |= {VARIABLE: name} if name else {}
    command = [sys.executable, *selection.arguments()]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return None
    found = re.search(selection.sign, done.stdout, re.MULTILINE)
    if done.returncode != 1 or not found:
        raise Unclear(
            f"{command} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"
        )
    return found[1]


_NOT_FOR_CHILDREN = (VARIABLE, "PYTEST_", "COVERAGE_")


def table(names: list[str]) -> int:
    """Run them, and print what noticed each; of how many that can't be said."""
    wrong = 0
    print(f"{'fault':16} {'finding':>7} {'seconds':>7}  noticed by", flush=True)
    for name in names:
        fault = FAULTS[name]
        began = time.monotonic()
        try:
            said, alone = noticed(fault.noticed_by, name), noticed(fault.noticed_by, None)
        except Unclear as error:
            said, alone = None, str(error)
        wrong += said is None or alone is not None
        by = f"{fault.noticed_by}: {said}" if said else f"NOBODY, not by {fault.noticed_by}"
        if alone:
            by = f"NOBODY: it fails without the fault too: {alone}"
        print(
            f"{name:16} {fault.finding:>7} {time.monotonic() - began:7.1f}  {by[:WIDTH]}",
            flush=True,
        )
    return wrong


WIDTH = 160


def main() -> None:
    """See the module's first lines."""
    if sys.argv[1:2] == ["--within"]:
        sys.argv = sys.argv[2:]
        switch_on()
        importlib.import_module(sys.argv[0]).main()
        return
    parser = argparse.ArgumentParser(description="Put old faults back, and see who notices.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--fits", action="store_true", help="only see that each switch fits")
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(FAULTS):
        parser.error(f"There is no {', '.join(sorted(unknown))}.")
    names = chosen.names or list(FAULTS)
    if chosen.fits:
        for name in names:
            FAULTS[name].switch()
        return
    raise SystemExit(1 if table(names) else 0)


if __name__ == "__main__":
    importlib.import_module("tests.faults.old_faults").main()
