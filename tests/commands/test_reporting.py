"""What operators' commands print: plain, as JSON, and nothing."""

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.commands import main
from kinto_attachment.commands.reporting import SHOWN
from kinto_attachment.maintenance import migration
from kinto_attachment.records import last_runs
from tests.support.parts import COLLECTION, SETTINGS, Server, postgresql_settings
from tests.support.processes import run, write_ini

CDN = "https://cdn.example.org/"
QUIET = {
    "gc": [],
    "doctor": [],
    "verify": [],
    "claim": [],
    "copy": ["--to", "other.ini"],
    "relocate": ["--from", "https://old.example.org/", "--to", CDN],
}
"""Arguments with which each command succeeds."""
ORPHANS = SHOWN + 5


@pytest.fixture
def server(on_postgresql: Callable[..., Server]) -> Server:
    made = on_postgresql({"kinto.attachment.base_url": CDN})
    made.as_user().upload(f"{COLLECTION}/records/r1/attachment", status=201)
    transaction.abort()
    return made


@pytest.fixture
def folder(server: Server, postgresql: str, local_store: dict[str, Any], tmp_path: Path) -> Path:
    """With two inis, of which the second one has another store."""
    settings = {**SETTINGS, **postgresql_settings(postgresql), "kinto.attachment.base_url": CDN}
    write_ini(tmp_path / "kinto.ini", {**settings, **local_store})
    other = {"kinto.attachment.base_path": str(tmp_path / "other")}
    write_ini(tmp_path / "other.ini", {**settings, **other})
    return tmp_path


@pytest.fixture
def call(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(folder)

    def run_it(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, "--ini", "kinto.ini"])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_it


def orphans(server: Server, count: int) -> set[str]:
    """Files of ours that nothing names, and that are old."""
    assert server.files is not None
    known = server.stored_keys()
    for _ in range(count):
        key = f"{keys.new_id()}.txt"
        server.store_file(key, b"left over")
        os.utime(server.files / key, (0, 0))
    return server.stored_keys() - known


@pytest.mark.parametrize("name", QUIET)
def test_a_quiet_success_prints_nothing_at_all(folder: Path, name: str) -> None:
    """In a process of its own, as cron has it: libraries' warnings are mailed, too."""
    program = "import sys; from kinto_attachment.commands import main; sys.exit(main())"
    command = [sys.executable, "-c", program, name, "--ini", "kinto.ini", *QUIET[name], "--quiet"]
    done = run(command, folder, {"PYTHONWARNINGS": ""})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", QUIET)
def test_json_is_json_to_the_last_line_on_every_command(
    call: Callable[..., Any], name: str
) -> None:
    code, out, err = call(name, *QUIET[name], "--json")

    assert (code, err) == (0, "")
    assert [type(json.loads(line)) for line in out.splitlines()] == [dict]


def test_quiet_tells_all_where_something_was_found(
    server: Server, call: Callable[..., Any]
) -> None:
    (key,) = orphans(server, 1)

    for name, word in (("gc", key), ("doctor", key)):
        code, out, err = call(name, "--quiet")
        assert (code, err) == (1, "")
        assert word in out
        assert len(out.splitlines()) > 1


def test_gc_names_what_it_would_remove_up_to_a_bound(
    server: Server, call: Callable[..., Any]
) -> None:
    left = orphans(server, ORPHANS)

    code, out, _ = call("gc")
    assert code == 1
    *named, more, counts, unnamed, _ = out.splitlines()
    assert {line.split()[1] for line in named} < left
    assert len(named) == SHOWN
    assert "--verbose" in more
    assert counts.startswith("files: ")
    assert f"nothing names: {ORPHANS}" in unnamed

    code, out, _ = call("gc", "--verbose")
    assert {line.split()[1] for line in out.splitlines()[:-3]} == left


def test_gc_json_has_one_object_for_each_that_goes_and_the_counts(
    server: Server, call: Callable[..., Any]
) -> None:
    left = orphans(server, ORPHANS)

    for arguments, removed in (([], False), (["--delete", "--ceiling", "100"], True)):
        code, out, _ = call("gc", "--json", *arguments)
        *found, counts = map(json.loads, out.splitlines())
        assert code == (0 if removed else 1)
        assert found == [
            {"kind": "unnamed", "key": key, "record": None, "removed": removed}
            for key in [line["key"] for line in found]
        ]
        assert {line["key"] for line in found} == left
        assert (counts["orphans"], counts["removed_files"]) == (
            ORPHANS,
            ORPHANS if removed else 0,
        )
    assert not left & server.stored_keys()
    server.assert_agreement()


def test_gc_names_links_that_no_record_backs_with_their_record(
    server: Server, call: Callable[..., Any], postgresql: str
) -> None:
    (link,) = server.all_links()
    with transaction.manager:
        server.registry.storage.delete(
            resource_name="record", parent_id=COLLECTION, object_id="r1", with_deleted=False
        )
    code, out, _ = call("gc", "--json", "--grace", "-60")

    *found, _ = map(json.loads, out.splitlines())
    expected = {"kind": "dead-link", "key": link.key, "record": link.record_uri}
    assert (code, found) == (1, [{**expected, "removed": False}])


def test_a_name_obeys_no_terminal(server: Server, call: Callable[..., Any]) -> None:
    assert server.files is not None
    (server.files / "a\x1b[31m.txt").write_bytes(b"left over")

    _, out, _ = call("doctor", "--grace", "-60")

    assert "\\x1b[31m" in out
    assert "\x1b" not in out


def test_the_result_of_gc_is_kept_and_a_dry_run_keeps_nothing(
    server: Server, call: Callable[..., Any]
) -> None:
    def kept() -> Any:
        with transaction.manager:
            return last_runs.last_run(server.registry.storage, last_runs.GC)

    orphans(server, 1)
    call("gc")
    assert kept() is None

    call("gc", "--delete")
    assert (kept()["orphans"], kept()["removed_files"]) == (1, 1)


@pytest.mark.parametrize(
    ("new", "more", "code"),
    [
        (CDN, [], 0),
        ("https://else.example.org/", [], 2),
        ("", [], 2),
        ("https://else.example.org/", ["--outside"], 0),
        ("https://cdn.", ["--outside"], 2),
    ],
)
def test_relocate_applies_only_what_the_ini_knows(
    server: Server, call: Callable[..., Any], new: str, more: list[str], code: int
) -> None:
    old = "https://old.example.org/"
    with transaction.manager:
        (link,) = server.all_links()
    assert call("relocate", "--from", CDN, "--to", old, "--apply", "--outside")[0] == 0
    before = server.as_user().get(link.record_uri).json

    ended, out, err = call("relocate", "--from", old, "--to", new, "--apply", *more)

    assert ended == code
    after = server.as_user().get(link.record_uri).json
    if code:
        assert (out, after) == ("", before)
        assert len(err.splitlines()) == 1
    else:
        assert after["data"]["attachment"]["location"].startswith(new)


def test_kinto_migrate_tells_how_far_it_is(
    server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migration, "TOLD_EVERY", 0)
    caplog.set_level(logging.INFO)
    adopter = migration.Adopter(server.registry, dry_run=True)
    (record,) = server.records()
    value = {**record["attachment"], "location": f"{CDN}photo.jpg"}
    server.store_file("photo.jpg", b"hello")
    for number in range(3):
        with transaction.manager:
            server.registry.storage.update(
                resource_name="record",
                parent_id=COLLECTION,
                object_id=f"imported{number}",
                obj={"attachment": value},
            )
    adopter.adopt_unlinked()

    assert adopter.done.found == 3
    assert [r.getMessage() for r in caplog.records if "it goes on" in r.message] == [
        f"Attachments: {n} links and records without a link looked at, it goes on."
        for n in (1, 2, 3)
    ]
