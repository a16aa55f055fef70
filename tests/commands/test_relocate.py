"""``kinto-attachment relocate``: new locations, as a user's update would write them."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.commands import main
from kinto_attachment.maintenance.relocation import Change, Move, Relocation, RelocationReport
from kinto_attachment.rows.links import Link
from tests.faults.harness import Database
from tests.support.parts import (
    ATTACHMENT,
    BUCKET,
    COLLECTION,
    RECORD,
    SETTINGS,
    Server,
    postgresql_settings,
    sha256,
)
from tests.support.processes import BIN, started, write_ini

OLD, NEW = "https://old.example.org/files/", "https://new.example.org/"

Relocate = Callable[..., int]


@pytest.fixture
def settings() -> dict[str, str]:
    """Of the server and of the command."""
    return {
        "kinto.attachment.base_url": OLD,
        "kinto.attachment.fsync": "false",
        "kinto.includes": "kinto.plugins.history kinto_attachment",
    }


@pytest.fixture
def server(on_postgresql: Callable[..., Server], settings: dict[str, str]) -> Server:
    return on_postgresql(settings)


@pytest.fixture
def ini(
    server: Server,
    postgresql: str,
    local_store: dict[str, str],
    settings: dict[str, str],
    tmp_path: Path,
) -> Callable[..., str]:
    def write(**more: str) -> str:
        found = {**SETTINGS, **postgresql_settings(postgresql), **local_store, **settings}
        named = {f"kinto.{name}": value for name, value in more.items()}
        return str(write_ini(tmp_path / "kinto.ini", {**found, **named}))

    return write


@pytest.fixture
def relocate(ini: Callable[..., str]) -> Relocate:
    """The command, in this process."""

    def run(*arguments: str, old: str = OLD, new: str = NEW) -> int:
        written = ini(**{"attachment.base_url": new})
        return main(["relocate", "--ini", written, "--from", old, "--to", new, *arguments])

    return run


def fill(server: Server, number: int) -> dict[str, Any]:
    """Records with files and with fields of their own, by id."""
    with transaction.manager:
        for index in range(number):
            file_id, content = keys.new_id(), b"%d" % index
            key, uri = f"{file_id}.txt", f"{COLLECTION}/records/r{index}"
            server.store_file(key, content)
            described: dict[str, Any] = {
                "hash": sha256(content),
                "mimetype": "text/plain",
                "filename": "a.txt",
            }
            value = {**described, "size": len(content), "location": OLD + key}
            record = {
                "id": f"r{index}",
                "attachment": value,
                "title": f"n. {index}",
                "tags": [index, None, {"deep": "ü"}],
            }
            server.registry.storage.create(
                resource_name="record", parent_id=COLLECTION, obj=record
            )
            link = Link(file_id, uri, key, size=len(content), value=value, **described)
            server.rows().add([link])
    return listed(server)


@pytest.fixture
def records(server: Server) -> dict[str, Any]:
    return fill(server, 60)


@pytest.fixture
def few(server: Server) -> dict[str, Any]:
    return fill(server, 6)


def listed(server: Server) -> dict[str, Any]:
    found = server.as_user().get(f"{COLLECTION}/records").json["data"]
    return {record["id"]: record for record in found}


def rows(database: Database) -> Any:
    """Everything that Kinto has stored."""
    tables = ("objects", "access_control_entries", "timestamps")
    return [database.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in tables]


def locations(server: Server) -> list[str]:
    return [record["attachment"]["location"] for record in listed(server).values()]


def relocated(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it should be, but for its time."""
    attachment = record["attachment"]
    location = attachment["location"].replace(OLD, NEW)
    same = {name: value for name, value in record.items() if name != "last_modified"}
    return {**same, "attachment": {**attachment, "location": location}}


def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    records: dict[str, Any], relocate: Relocate, database: Database, capsys: Any
) -> None:
    before = rows(database)

    assert relocate() == 1

    told = capsys.readouterr().out.splitlines()
    assert [line.split(" -> ")[0].startswith(OLD) for line in told[:3]] == [True] * 3
    assert told[0].split(" -> ")[1] == told[0].split(" -> ")[0].replace(OLD, NEW)
    assert told[3:] == [
        "records to change: 60, kept old files to change: 0",
        "refused: 0",
        "This was a dry run: add --apply.",
    ]
    assert rows(database) == before


def test_apply_changes_each_location_and_nothing_else(
    server: Server, records: dict[str, Any], relocate: Relocate, capsys: Any
) -> None:
    client = server.as_user()
    permissions = client.get(f"{COLLECTION}/records/r7").json["permissions"]
    seen = client.get(f"{COLLECTION}/records").headers["ETag"].strip('"')

    assert relocate("--apply") == 0

    assert "records changed: 60" in capsys.readouterr().out
    after = listed(server)
    for record_id, record in records.items():
        found = after[record_id]
        assert found.pop("last_modified") > int(seen)
        assert found == relocated(record)
    changed = client.get(f"{COLLECTION}/records?_since={seen}").json["data"]
    assert len(changed) == 60
    assert client.get(f"{COLLECTION}/records/r7").json["permissions"] == permissions
    server.assert_agreement()


def test_a_second_run_finds_nothing(
    server: Server, few: dict[str, Any], relocate: Relocate, database: Database, capsys: Any
) -> None:
    relocate("--apply")
    before = rows(database)
    capsys.readouterr()

    assert relocate("--apply", "--json") == 0
    assert relocate() == 0

    done = json.loads(capsys.readouterr().out.splitlines()[0])
    assert done == {"applied": True, "records": 0, "kept": 0, "refused": 0}
    assert rows(database) == before


def test_history_tells_of_each_change_and_names_the_plugin(
    server: Server, few: dict[str, Any], relocate: Relocate
) -> None:
    relocate("--apply")

    entries = server.as_user().get(
        f"{BUCKET}/history?resource_name=record&user_id=plugin:kinto-attachment"
    )
    told = {entry["uri"]: entry for entry in entries.json["data"]}
    assert set(told) == {f"{COLLECTION}/records/r{number}" for number in range(6)}
    for entry in told.values():
        assert entry["action"] == "update"
        assert entry["target"]["data"]["attachment"]["location"].startswith(NEW)
        assert "plugin:kinto-attachment" not in json.dumps(entry["target"]["permissions"])


def test_nobody_gets_a_permission_by_it(
    server: Server, relocate: Relocate, database: Database
) -> None:
    server.as_user().upload()
    granted = "SELECT * FROM access_control_entries WHERE object_id LIKE '%/records/%' ORDER BY 1"
    before = database.execute(granted)

    relocate("--apply")

    assert database.execute(granted) == before
    server.as_user("other").get(RECORD, status=403)
    server.as_user("other").json("patch", RECORD, {"data": {"title": "x"}}, status=403)


def test_listeners_see_the_change_after_its_commit_too(
    server: Server, ini: Callable[..., str], tmp_path: Path
) -> None:
    from kinto.core.events import AfterResourceChanged

    from kinto_attachment.commands.operators.environment import kinto

    server.as_user().upload()
    seen = []
    with kinto(ini()) as registry:
        registry.registerHandler(
            lambda event: seen.append(event.payload["user_id"]), (AfterResourceChanged,)
        )
        relocation, report = Relocation(registry, Move(OLD, NEW), print), RelocationReport()
        for change in relocation.changes(report):
            relocation.apply(change, report)

    assert seen == ["plugin:kinto-attachment"]


def test_all_copies_of_a_record_change(server: Server, relocate: Relocate) -> None:
    client = server.as_user()
    client.make_collection(f"{BUCKET}/collections/other")
    value = client.upload(content=b"shared").json
    client.json("put", f"{COLLECTION}/records/copy", {"data": {"attachment": value}})
    client.json("put", f"{BUCKET}/collections/other/records/c", {"data": {"attachment": value}})

    assert relocate("--apply") == 0

    found = {record["attachment"]["location"] for record in server.records()}
    assert found == {value["location"].replace(OLD, NEW)}
    server.assert_agreement()
    client.delete(RECORD)
    assert len(server.stored_keys()) == 1


def test_old_files_that_are_kept_change_with_the_rest(
    on_postgresql: Callable[..., Server],
    settings: dict[str, str],
    relocate: Relocate,
    capsys: Any,
) -> None:
    server = on_postgresql({**settings, "kinto.attachment.keep_old_files": "true"})
    server.as_user().upload(content=b"old")
    server.as_user().upload(content=b"new")

    assert relocate("--apply") == 0

    assert "records changed: 1, kept old files changed: 1" in capsys.readouterr().out
    with transaction.manager:
        links = [link for page in server.rows().everything() for link in page]
    assert sorted(link.kept for link in links) == [False, True]
    assert all(link.value["location"].startswith(NEW) for link in links)
    server.assert_agreement()


def test_a_file_that_an_older_version_stored_changes_too(
    server: Server, relocate: Relocate
) -> None:
    key, content = "folder/photo.jpg", b"published"
    server.store_file(key, content)
    digest, size = sha256(content), len(content)
    value = {"filename": "photo.jpg", "hash": digest, "mimetype": "image/jpeg", "size": size}
    value["location"] = OLD + key
    link = Link(keys.file_id(key), RECORD, key, digest, "image/jpeg", "photo.jpg", size, value)
    with transaction.manager:
        server.registry.storage.create(
            resource_name="record", parent_id=COLLECTION, obj={"id": "first", "attachment": value}
        )
        server.rows().add([link])

    assert relocate("--apply") == 0

    assert locations(server) == [NEW + key]
    (found,) = server.rows().of_records([RECORD])
    assert found == replace(link, value={**value, "location": NEW + key})


def test_after_it_files_go_with_their_records_as_before(
    server: Server, few: dict[str, Any], relocate: Relocate
) -> None:
    relocate("--apply")
    client = server.as_user()

    client.delete(f"{COLLECTION}/records/r0")
    client.delete(f"{COLLECTION}/records/r1/attachment")
    client.upload(f"{COLLECTION}/records/r2/attachment", b"replaced")

    assert len(server.stored_keys()) == 4
    server.assert_agreement()


def first_change(server: Server, relocation: Relocation) -> Change:
    (change,) = relocation.changes(RelocationReport())
    return change


@pytest.fixture
def relocation(ini: Callable[..., str]) -> Iterator[Relocation]:
    from kinto_attachment.commands.operators.environment import kinto

    with kinto(ini()) as registry:
        yield Relocation(registry, Move(OLD, NEW), lambda uri, reason: None)


def test_a_field_that_is_written_meanwhile_is_kept(server: Server, relocation: Relocation) -> None:
    server.as_user().upload()
    change, report = first_change(server, relocation), RelocationReport()
    server.as_user().json("patch", RECORD, {"data": {"title": "new"}})

    relocation.apply(change, report)

    record = server.as_user().get(RECORD).json["data"]
    assert (record["title"], report.records) == ("new", 1)
    assert record["attachment"]["location"].startswith(NEW)
    server.assert_agreement()


@pytest.mark.parametrize("operation", ["replace", "remove", "delete"])
def test_a_record_that_has_another_file_or_none_meanwhile_is_left_alone(
    server: Server, relocation: Relocation, database: Database, operation: str
) -> None:
    client = server.as_user()
    client.upload()
    change, report = first_change(server, relocation), RelocationReport()
    if operation == "replace":
        client.upload(content=b"new")
    else:
        client.delete(ATTACHMENT if operation == "remove" else RECORD)
    before = rows(database)

    relocation.apply(change, report)

    assert report == RelocationReport()
    assert rows(database) == before
    server.assert_agreement()


def dead(server: Server) -> None:
    """Take the attachment out of the record, past Kinto and us: its link stays."""
    server.registry.storage.update(
        resource_name="record", parent_id=COLLECTION, object_id="first", obj={"title": "none"}
    )
    transaction.commit()


def unlinked(server: Server) -> None:
    with transaction.manager:
        server.rows().remove(server.rows().of_records([RECORD]))


@pytest.mark.parametrize("fault", [dead, unlinked])
def test_where_record_and_link_disagree_nothing_is_made_of_it(
    server: Server,
    relocation: Relocation,
    relocate: Relocate,
    database: Database,
    fault: Callable[[Server], None],
) -> None:
    server.as_user().upload()
    change, report = first_change(server, relocation), RelocationReport()
    fault(server)
    before = rows(database)

    relocation.apply(change, report)

    assert relocate() == 0
    assert report == RelocationReport()
    assert rows(database) == before


def test_an_update_that_is_about_to_be_committed_is_waited_for_and_not_lost(
    server: Server, relocation: Relocation, database: Database, postgresql: str
) -> None:
    import psycopg2

    server.as_user().upload()
    change, report = first_change(server, relocation), RelocationReport()
    other = psycopg2.connect(postgresql)
    with other.cursor() as cursor:
        cursor.execute(
            "UPDATE objects SET data = data || '{\"title\": \"new\"}' WHERE id = 'first'"
        )

    def run() -> None:
        relocation.apply(change, report)
        server.release()

    applying = threading.Thread(target=run)
    applying.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while database.execute(waiting)[0][0] == 0:
        assert applying.is_alive()
    other.commit()
    other.close()
    applying.join()

    record = server.as_user().get(RECORD).json["data"]
    assert (record["title"], report.records) == ("new", 1)
    server.assert_agreement()


def test_a_working_server_loses_nothing(
    server: Server, records: dict[str, Any], relocate: Relocate
) -> None:
    ended: list[int] = []

    def run() -> None:
        ended.append(relocate("--apply"))
        server.release()

    relocating = threading.Thread(target=run)
    relocating.start()
    client = server.as_user()
    written = {}
    for number in [*range(0, 60, 2), *range(1, 60, 2)]:
        place, title = f"{COLLECTION}/records/r{number}", f"new {number}"
        while client.json("patch", place, {"data": {"title": title}}, "*").status_code == 409:
            pass  # It had read the record before, and is told to try again.
        written[f"r{number}"] = title
    relocating.join()

    assert ended == [0]
    server.assert_agreement()
    relocate("--apply")
    assert all(location.startswith(NEW) for location in locations(server))
    after = listed(server)
    assert {record_id: after[record_id]["title"] for record_id in written} == written
    server.assert_agreement()


def test_a_link_that_a_copy_has_written_back_is_brought_in_line(
    server: Server, relocate: Relocate
) -> None:
    server.as_user().upload()
    (stale,) = server.rows().of_records([RECORD])
    relocate("--apply")
    with transaction.manager:
        server.rows().add([stale])
    modified = server.as_user().get(RECORD).headers["ETag"]

    assert relocate("--apply") == 0

    assert server.as_user().get(RECORD).headers["ETag"] == modified
    server.assert_agreement()


def test_a_record_that_its_schema_refuses_is_told_and_stays_as_it_is(
    server: Server, few: dict[str, Any], relocate: Relocate, database: Database, capsys: Any
) -> None:
    pattern = {"properties": {"location": {"pattern": f"^{OLD}"}}}
    loose = {"type": "object", "if": {"properties": {"title": {"const": "n. 5"}}}}
    schema = {**loose, "then": {"properties": {"attachment": pattern}}}
    server.as_user().json("patch", COLLECTION, {"data": {"schema": schema}})

    assert relocate("--apply") == 1

    told = capsys.readouterr().out
    assert f"{COLLECTION}/records/r5 is not changed: 400" in told
    assert "records changed: 5" in told
    assert listed(server)["r5"] == few["r5"]
    server.assert_agreement()


def test_a_location_that_would_lose_the_id_is_refused(
    server: Server, relocate: Relocate, capsys: Any
) -> None:
    server.as_user().upload()
    (location,) = locations(server)

    assert relocate("--apply", old=location[:-5], new="https://new.example.org/x") == 1

    assert "would lose the file's id" in capsys.readouterr().out
    assert locations(server) == [location]
    server.assert_agreement()


def test_bare_keys_and_urls_can_be_made_of_each_other(
    server: Server, few: dict[str, Any], relocate: Relocate
) -> None:
    assert relocate("--apply", new="") == 0
    assert {keys.id_of_key(location) for location in locations(server)} == {
        keys.id_in_location(record["attachment"]["location"]) for record in few.values()
    }
    assert not any("://" in location for location in locations(server))
    server.assert_agreement()

    assert relocate("--apply", old="", new=OLD) == 0

    assert {r["attachment"]["location"] for r in few.values()} == set(locations(server))
    server.assert_agreement()


@pytest.mark.parametrize(
    ("old", "new", "location", "expected"),
    [
        (OLD, NEW, f"{OLD}a.jpg", f"{NEW}a.jpg"),
        (OLD, NEW, "https://else.example.org/a.jpg", None),
        (OLD, NEW, None, None),
        (OLD, f"{OLD}v2/", f"{OLD}a.jpg", f"{OLD}v2/a.jpg"),
        (OLD, f"{OLD}v2/", f"{OLD}v2/a.jpg", None),
        (OLD, "", f"{OLD}folder/a.jpg", "folder/a.jpg"),
        ("", NEW, "folder/a.jpg", f"{NEW}folder/a.jpg"),
        ("", NEW, "日本.jpg", f"{NEW}日本.jpg"),
        ("", NEW, f"{OLD}a.jpg", None),
        ("", NEW, "gs://bucket/a.jpg", None),
        ("", NEW, "//cdn/a.jpg", None),
        ("", NEW, "buckets/b/collections/c/records/r/attachment?file=1", None),
        ("", "v2/", "a.jpg", "v2/a.jpg"),
        ("", "v2/", "v2/a.jpg", None),
    ],
)
def test_a_location_changes_once_or_not_at_all(
    old: str, new: str, location: str | None, expected: str | None
) -> None:
    assert Move(old, new).of(location) == expected


@pytest.mark.parametrize(
    ("old", "new"),
    [(OLD, OLD), ("", ""), (OLD, NEW[:-1]), (OLD[:-1], NEW), ("", NEW[:-1]), (OLD[:-1], "")],
)
def test_urls_that_cannot_be_meant_are_2_and_a_sentence(
    relocate: Relocate, old: str, new: str, capsys: Any
) -> None:
    assert relocate(old=old, new=new) == 2

    assert "--from and --to" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--from", "--to"])
def test_both_must_be_given(ini: Callable[..., str], missing: str) -> None:
    given = [part for name in ("--from", "--to") if name != missing for part in (name, OLD)]

    with pytest.raises(SystemExit) as ended:
        main(["relocate", "--ini", ini(), *given])

    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("setting", "value"), [("readonly", "true"), ("transaction_per_request", "false")]
)
def test_a_server_where_nothing_can_be_written_or_undone_is_2(
    server: Server, ini: Callable[..., str], setting: str, value: str, capsys: Any
) -> None:
    server.as_user().upload()
    arguments = ["--ini", ini(**{setting: value}), "--from", OLD, "--to", NEW]

    assert main(["relocate", *arguments]) == 1
    capsys.readouterr()
    assert main(["relocate", *arguments, "--apply"]) == 2

    assert f"kinto.{setting} = {value}" in capsys.readouterr().err
    assert locations(server)[0].startswith(OLD)


def test_killed_in_the_middle_and_run_again_everything_is_changed_once(
    server: Server,
    records: dict[str, Any],
    ini: Callable[..., str],
    relocate: Relocate,
    database: Database,
    tmp_path: Path,
) -> None:
    script = "import sys; from kinto_attachment.commands import main; sys.exit(main())"
    command = [str(BIN / Path(sys.executable).name), "-W", "ignore", "-c", script, "relocate"]
    command += ["--ini", ini(), "--from", OLD, "--to", NEW, "--apply", "--outside"]
    changed = (
        "SELECT count(*) FROM objects WHERE resource_name = 'record'"
        f" AND data->'attachment'->>'location' LIKE '{NEW}%'"
    )

    for least in (5, 20):
        with started(command, tmp_path) as process:
            while database.execute(changed)[0][0] < least:
                assert process.poll() is None
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
        database.wait_until_idle()
        server.assert_agreement()
    done = database.execute(changed)[0][0]
    assert done < 60

    assert relocate("--apply") == 0

    assert all(location.startswith(NEW) for location in locations(server))
    entries = server.as_user().get(f"{BUCKET}/history?user_id=plugin:kinto-attachment").json
    assert len(entries["data"]) == 60
    server.assert_agreement()


# The plugin's own URLs


@pytest.fixture
def serving(on_postgresql: Callable[..., Server]) -> Server:
    """A server that serves its files itself."""
    return on_postgresql({"kinto.attachment.fsync": "false"})


@pytest.fixture
def make_own(
    serving: Server, postgresql: str, local_store: dict[str, str], tmp_path: Path
) -> Relocate:
    def run(*arguments: str, **more: str) -> int:
        written = {**SETTINGS, **postgresql_settings(postgresql), **local_store}
        written |= {f"kinto.attachment.{name}": value for name, value in more.items()}
        path = write_ini(tmp_path / "own.ini", {**written, "kinto.attachment.fsync": "false"})
        return main(["relocate", "--ini", str(path), "--from", "", "--own", *arguments])

    return run


def migrated(server: Server, record_id: str, key: str, content: bytes) -> None:
    """A record of 8.x without base_url, as ``kinto migrate`` leaves it: its key has no id."""
    described: dict[str, Any] = {
        "hash": sha256(content),
        "mimetype": "text/plain",
        "filename": "a.txt",
    }
    value = {**described, "size": len(content), "location": key}
    with transaction.manager:
        server.registry.storage.create(
            resource_name="record",
            parent_id=COLLECTION,
            obj={"id": record_id, "attachment": value},
        )
        uri = f"{COLLECTION}/records/{record_id}"
        server.rows().add(
            [Link(keys.file_id(key), uri, key, size=len(content), value=value, **described)]
        )


def joined(server: Server, record: dict[str, Any]) -> Any:
    """What a client gets that puts the announced URL before the location."""
    client = server.as_user()
    announced = client.get("/").json["capabilities"]["attachments"]["base_url"]
    url = announced + record["attachment"]["location"]
    return client.get(url.removeprefix("https://localhost/v1"), "*")


def test_bare_keys_of_8x_become_urls_at_which_the_plugin_serves_them(
    serving: Server, make_own: Relocate
) -> None:
    owner = serving.as_user()
    owner.make_collection()
    contents = {"r1": b"one", "r2": b"two", "copy": b"one"}
    for record_id, content in contents.items():
        key = f"old/{sha256(content)}.txt"
        if record_id != "copy":
            serving.store_file(key, content)
        migrated(serving, record_id, key, content)
    owner.upload(f"{COLLECTION}/records/new/attachment", content=b"new", filename="new.txt")
    contents["new"] = b"new"
    assert joined(serving, listed(serving)["r1"]).status_code == 404

    assert make_own() == 1
    assert make_own("--apply") == 0

    for record_id, record in listed(serving).items():
        answer = joined(serving, record)
        assert (answer.status_code, answer.body) == (200, contents[record_id])
    serving.assert_agreement()
    assert make_own() == 0  # All is done.


def test_records_with_such_urls_are_copied_and_deleted_like_any_other(
    serving: Server, make_own: Relocate
) -> None:
    owner, other = serving.as_user(), serving.as_user("other")
    owner.make_collection()
    serving.store_file("old/a.txt", b"one")
    migrated(serving, "r1", "old/a.txt", b"one")
    make_own("--apply")
    value = listed(serving)["r1"]["attachment"]

    owner.json("put", f"{COLLECTION}/records/r2", {"data": {"attachment": value}}, 201)
    forged = {"data": {"attachment": {**value, "size": 4}}}
    owner.json("put", f"{COLLECTION}/records/r3", forged, 400)
    other.json("put", "/buckets/mine", {}, 201)
    other.json("put", "/buckets/mine/collections/c", {}, 201)
    stolen = "/buckets/mine/collections/c/records/r"
    other.json("put", stolen, {"data": {"attachment": value}}, 400)
    serving.assert_agreement()

    owner.delete(f"{COLLECTION}/records/r1")
    assert joined(serving, listed(serving)["r2"]).body == b"one"
    serving.assert_agreement()
    owner.delete(f"{COLLECTION}/records/r2")
    assert serving.stored_keys() == set()
    serving.assert_agreement()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"base_url": OLD}, "take base_url"),
        ({"base_url": ""}, "take base_url"),
        ({"extra.base_url": OLD}, "extra.base_url"),
        ({"legacy_format": "true"}, "legacy_format = true"),
    ],
)
def test_a_server_whose_new_files_get_other_locations_is_2(
    serving: Server, make_own: Relocate, more: dict[str, str], words: str, capsys: Any
) -> None:
    serving.as_user().make_collection()
    serving.store_file("old/a.txt", b"one")
    migrated(serving, "r1", "old/a.txt", b"one")

    assert make_own("--apply", **more) == 2

    assert words in capsys.readouterr().err
    assert locations(serving) == ["old/a.txt"]


def test_a_url_and_the_plugins_own_are_one_too_many(ini: Callable[..., str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["relocate", "--ini", ini(), "--from", OLD, "--to", NEW, "--own"])

    assert ended.value.code == 2
