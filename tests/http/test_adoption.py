"""Records of the published 8.x and 9.x: read as they are, and like any other once migrated."""

import base64
import contextlib
import logging
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import transaction

from kinto_attachment import keys
from kinto_attachment.maintenance.migration import Migration
from kinto_attachment.rows.interface import PAGE
from tests.faults.harness import collect
from tests.support import processes
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    OTHER,
    RECORD,
    SETTINGS,
    Server,
    every_backend,
    postgresql_settings,
    sha256,
)

BASE_URL = "https://files.example.org/"
OTHER_COLLECTION = "/buckets/copies/collections/album"


INSERT = "INSERT INTO objects (id, parent_id, resource_name, last_modified, data, deleted) SELECT"
WHEN = "TIMESTAMP '2020-01-01' + n * INTERVAL '1 second'"
MANY_RECORDS = f"""
{INSERT} 'r' || n, '{COLLECTION}', 'record', {WHEN}, jsonb_build_object('attachment',
  jsonb_build_object('filename', 'a.txt', 'mimetype', 'text/plain', 'size', 0, 'hash',
    repeat('0', 64), 'location', '{BASE_URL}old/' || n || '.txt')), FALSE
FROM generate_series(1, :last) AS n
"""
MANY_LINKS = f"""
{INSERT} gen_random_uuid()::text, '__attachments__', '', {WHEN}, jsonb_build_object(
  'location', 'old/' || n || '.txt', 'record_uri', '{COLLECTION}/records/r' || n), FALSE
FROM generate_series(1, :last) AS n
"""


class Old:
    """Writes what 8.x and 9.x leave, past the plugin."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def record(
        self,
        record_id: str = "first",
        content: bytes = b"old",
        resource: str | None = "",
        **more: Any,
    ) -> str:
        """A record, its file and, unless ``resource`` is None, its link; gives the key."""
        key = f"old/{uuid.uuid4()}.txt"
        value = {
            "filename": "old.txt",
            "hash": sha256(content),
            "location": BASE_URL + key,
            "mimetype": "text/plain",
            "size": len(content),
            **more,
        }
        self.server.store_file(key, content)
        self.value(record_id, {name: field for name, field in value.items() if field is not None})
        if resource is not None:
            self.link(record_id, key, resource)
        transaction.commit()
        return key

    def value(self, record_id: str, value: Any) -> None:
        self.server.registry.storage.update(
            resource_name="record",
            parent_id=COLLECTION,
            object_id=record_id,
            obj={"id": record_id, "title": "kept", "attachment": value},
        )
        transaction.commit()

    def link(self, record_id: str, key: str, resource: str = "") -> None:
        self.server.registry.storage.update(
            resource_name=resource,
            parent_id="__attachments__",
            object_id=str(uuid.uuid4()),
            obj={
                "location": key,
                "bucket_uri": "/".join(COLLECTION.split("/")[:3]),
                "collection_uri": COLLECTION,
                "record_uri": f"{COLLECTION}/records/{record_id}",
            },
        )
        transaction.commit()

    def many(self, number: int) -> None:
        """Records and links, at once; their files do not matter."""
        with self.server.registry.storage.client.connect(force_commit=True) as connection:
            for statement in (MANY_RECORDS, MANY_LINKS):
                connection.execute(sqlalchemy.text(statement), {"last": number})

    def links(self) -> int:
        storage = self.server.registry.storage
        rows = [
            storage.list_all(resource_name=r, parent_id="__attachments__")
            for r in ("", "attachments")
        ]
        transaction.abort()
        return len(rows[0] + [row for row in rows[1] if "key" not in row])

    def migrate(self, dry_run: bool = False, forget: bool = True) -> None:
        storage = self.server.registry.storage
        if forget:
            with storage.client.connect(force_commit=True) as connection:
                statement = "DELETE FROM metadata WHERE name = 'kinto_attachment_schema_version'"
                connection.execute(sqlalchemy.text(statement))
        Migration(self.server.registry).initialize_schema(storage.client, dry_run=dry_run)


@pytest.fixture
def old(make_server: Callable[..., Server], backend: dict[str, Any]) -> Old:
    server = make_server({**backend, "kinto.attachment.base_url": BASE_URL})
    server.as_user().make_collection()
    return Old(server)


@pytest.fixture
def migrating(on_postgresql: Callable[..., Server]) -> Old:
    return Old(on_postgresql({"kinto.attachment.base_url": BASE_URL}))


@every_backend()
@pytest.mark.parametrize("resource", ["", "attachments"])
def test_a_file_of_8_x_or_9_x_is_read(old: Old, resource: str) -> None:
    old.record(content=b"ten years", resource=resource)

    answer = old.server.as_user().get(ATTACHMENT)

    assert answer.body == b"ten years"
    assert answer.headers["ETag"] == f'"{sha256(b"ten years")}"'
    assert 'filename="old.txt"' in answer.headers["Content-Disposition"]
    old.server.as_user(OTHER).get(ATTACHMENT, status=403)


@every_backend()
def test_nothing_is_served_on_a_records_word_alone(old: Old) -> None:
    old.record(content=b"somebody's backup", resource=None)

    old.server.as_user().get(ATTACHMENT, status=404)


@every_backend()
def test_a_record_in_the_format_of_2015_is_read(old: Old) -> None:
    digest = base64.b64encode(bytes.fromhex(sha256(b"first"))).decode()
    old.record(content=b"first", hash=digest, filesize=5, size=None)

    assert old.server.as_user().get(ATTACHMENT).body == b"first"


@every_backend()
@pytest.mark.parametrize(
    "broken",
    [
        {"location": "https://elsewhere.example.org/x.txt"},
        {"location": BASE_URL + "../../etc/passwd"},
        {"location": BASE_URL + "old/gone.txt"},
        {"location": 7},
        {"hash": "short"},
        {"size": 4},
        {"size": "3"},
        {"size": True},
        {"filename": None},
    ],
)
def test_a_record_that_describes_no_file_here_is_404(old: Old, broken: dict[str, Any]) -> None:
    old.record(**broken)

    old.server.as_user().get(ATTACHMENT, status=404)


@every_backend()
def test_other_fields_change_and_the_file_stays(old: Old) -> None:
    key = old.record()
    user = old.server.as_user()

    user.json("patch", RECORD, {"data": {"title": "new"}})
    whole = user.get(RECORD).json["data"]
    user.json("put", RECORD, {"data": {**whole, "title": "newer"}})

    assert user.get(ATTACHMENT).body == b"old"
    assert key in old.server.stored_keys()


@every_backend()
def test_a_replacement_before_the_migration_works_and_leaves_the_old_file(old: Old) -> None:
    key = old.record()
    user = old.server.as_user()

    user.upload(content=b"new", filename="new.txt", mimetype="text/plain")

    assert user.get(ATTACHMENT).body == b"new"
    assert key in old.server.stored_keys()


@every_backend()
def test_a_copy_is_made_by_who_may_read_the_record_and_by_nobody_else(old: Old) -> None:
    old.record()
    user, other = old.server.as_user(), old.server.as_user(OTHER)
    value = user.get(RECORD).json["data"]["attachment"]
    user.make_collection(OTHER_COLLECTION, permissions={"record:create": [other.principal]})

    mine = user.json("put", f"{OTHER_COLLECTION}/records/mine", {"data": {"attachment": value}})
    other.json(
        "put", f"{OTHER_COLLECTION}/records/theirs", {"data": {"attachment": value}}, status=400
    )
    changed = {**value, "size": 1}
    user.json(
        "put", f"{OTHER_COLLECTION}/records/x", {"data": {"attachment": changed}}, status=400
    )

    assert mine.json["data"]["attachment"] == value


@pytest.mark.parametrize("resource", ["", "attachments"])
def test_links_become_ours_and_files_go_with_their_records(migrating: Old, resource: str) -> None:
    names = ("replaced", "removed", "deleted", "first")
    found = {name: migrating.record(name, name.encode(), resource) for name in names}

    migrating.migrate()

    server, user = migrating.server, migrating.server.as_user()
    assert migrating.links() == 0
    assert {link.key for link in server.all_links()} == set(found.values())
    user.upload(f"{COLLECTION}/records/replaced/attachment", b"new")
    user.delete(f"{COLLECTION}/records/removed/attachment")
    user.delete(f"{COLLECTION}/records/deleted")
    assert user.get(ATTACHMENT).body == b"first"
    assert {key for key in server.stored_keys() if not keys.id_of_key(key)} == {found["first"]}
    assert user.get(RECORD).json["data"]["title"] == "kept"


def test_deleting_many_migrated_records_at_once_removes_their_files(migrating: Old) -> None:
    for number in range(40):
        migrating.record(f"r{number}")
    migrating.migrate()

    migrating.server.as_user().delete(f"{COLLECTION}/records")

    assert migrating.server.stored_keys() == set()


def test_a_file_stays_for_as_long_as_a_migrated_copy_names_it(migrating: Old) -> None:
    key = migrating.record("first")
    value = migrating.server.as_user().get(RECORD).json["data"]["attachment"]
    migrating.value("copy", value)  # By a plugin that copies records.
    migrating.migrate()
    user = migrating.server.as_user()

    user.delete(RECORD)
    assert key in migrating.server.stored_keys()
    user.json("put", f"{COLLECTION}/records/another", {"data": {"attachment": value}})
    user.delete(f"{COLLECTION}/records/copy")
    assert key in migrating.server.stored_keys()
    user.delete(f"{COLLECTION}/records/another")
    assert migrating.server.stored_keys() == set()


def test_a_forged_record_gets_no_link_and_opens_nothing(migrating: Old) -> None:
    migrating.record("first", b"secret")
    value = migrating.server.as_user().get(RECORD).json["data"]["attachment"]
    migrating.value("forged", {**value, "filename": "mine.txt"})  # 8.x lets that pass.

    migrating.migrate()

    assert [link.record_uri for link in migrating.server.all_links()] == [RECORD]
    migrating.server.as_user().get(f"{COLLECTION}/records/forged/attachment", status=404)
    migrating.server.as_user().delete(f"{COLLECTION}/records/forged")
    assert migrating.server.as_user().get(ATTACHMENT).body == b"secret"


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(
    migrating: Old, caplog: pytest.LogCaptureFixture
) -> None:
    migrating.record("linked")
    migrating.record("unlinked", resource=None)

    with caplog.at_level(logging.INFO):
        migrating.migrate(dry_run=True)

    assert migrating.links() == 1
    assert migrating.server.all_links() == []
    said = "1 links of 8.x and 9.x moved, 0 that no record names left to doctor, 1 records"
    assert f"(simulated): {said}" in caplog.text


def test_a_second_run_does_what_is_new_and_nothing_else(migrating: Old) -> None:
    migrating.record("one")
    migrating.migrate()
    before = migrating.server.all_links()
    migrating.record("two")  # By a node that still runs the other version.

    migrating.migrate(forget=False)

    after = migrating.server.all_links()
    assert len(after) == 2
    assert [link for link in after if link in before] == before


def test_a_link_that_no_record_names_is_left_alone(migrating: Old) -> None:
    key = migrating.record("gone")
    migrating.server.as_user().upload(f"{COLLECTION}/records/gone/attachment", b"new")

    migrating.migrate()

    assert migrating.links() == 1
    assert key in migrating.server.stored_keys()


def test_a_location_below_a_former_base_url_is_migrated_by_its_link(migrating: Old) -> None:
    key = migrating.record(location=None)
    value = migrating.server.as_user().get(RECORD).json["data"]["attachment"]
    migrating.value("first", {**value, "location": f"https://former.example.org/{key}"})

    migrating.migrate()

    assert migrating.server.as_user().get(ATTACHMENT).body == b"old"
    migrating.server.as_user().delete(RECORD)
    assert migrating.server.stored_keys() == set()


def test_a_readonly_server_migrates_nothing(
    migrating: Old, caplog: pytest.LogCaptureFixture
) -> None:
    migrating.record()
    settings = migrating.server.registry.settings
    settings["readonly"] = True

    try:
        migrating.migrate()
    finally:
        del settings["readonly"]

    assert migrating.links() == 1
    assert "readonly" in caplog.text


@pytest.mark.parametrize("base_url", [None, "", BASE_URL])
def test_only_a_server_that_serves_its_files_is_told_what_to_do_about_bare_keys(
    on_postgresql: Callable[..., Server], base_url: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    old = Old(on_postgresql({"kinto.attachment.base_url": base_url}))
    old.record()

    old.migrate()

    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert ["--own" in message for message in told] == ([True] if base_url is None else [])
    assert old.links() == 0


def test_gc_passes_over_links_of_9_x(migrating: Old) -> None:
    key = migrating.record(resource="attachments")

    report = collect(migrating.server, grace=-60)

    assert (report.links, report.findings) == (0, 0)
    assert key in migrating.server.stored_keys()


def test_gc_removes_a_migrated_link_that_no_record_backs_with_its_file(migrating: Old) -> None:
    stays, goes = migrating.record("stays"), migrating.record("goes")
    migrating.migrate()
    migrating.server.registry.storage.delete(
        resource_name="record", parent_id=COLLECTION, object_id="goes", with_deleted=False
    )
    transaction.commit()

    report = collect(migrating.server, grace=-60)

    assert (report.removed_links, report.removed_files) == (1, 1)
    assert migrating.server.stored_keys() == {stays}
    assert goes != stays


def test_a_migration_that_is_killed_half_way_loses_nothing_and_goes_on(
    migrating: Old, postgresql: str, tmp_path: Path
) -> None:
    migrating.many(PAGE + 50)
    with transaction.manager:  # Its files do not matter here, but it has to be the right store.
        migrating.server.registry.attachments.custody.claim()
    storage = migrating.server.registry.attachments.store
    settings = {
        **SETTINGS,
        **postgresql_settings(postgresql),
        "kinto.attachment.base_url": BASE_URL,
        "kinto.attachment.base_path": storage.base_path,
    }
    ini = processes.write_ini(tmp_path / "kinto.ini", settings)
    command = [str(processes.BIN / "kinto"), "migrate", "--ini", str(ini)]

    with (
        locked_last_link(postgresql) as halted,
        processes.started(command, tmp_path, stderr=subprocess.DEVNULL) as process,
    ):
        while not halted():  # On its second page, at the row that we hold.
            assert process.poll() is None
        process.kill()
        process.wait()
    assert migrating.links() == 50
    assert len(migrating.server.all_links()) == PAGE + 50
    done = processes.run(command, tmp_path)

    assert done.returncode == 0, done.stderr
    assert migrating.links() == 0
    assert len({link.key for link in migrating.server.all_links()}) == PAGE + 50


@contextlib.contextmanager
def locked_last_link(url: str) -> Iterator[Callable[[], bool]]:
    """Hold the last link of 8.x, and tell whether somebody waits for it."""
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    mine = "SELECT id FROM objects WHERE parent_id = '__attachments__' ORDER BY id DESC LIMIT 1"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    try:
        with engine.connect() as holder, engine.connect() as watcher:
            holder.execute(sqlalchemy.text(f"{mine} FOR UPDATE"))
            quick = watcher.execution_options(isolation_level="AUTOCOMMIT")
            yield lambda: bool(quick.execute(sqlalchemy.text(waiting)).scalar())
    finally:
        engine.dispose()
