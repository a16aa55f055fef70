"""The pages for operators, word for word: migrate, doctor, verify, copy, relocate."""

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment.commands.operators.doctor import REPAIRS
from kinto_attachment.maintenance.doctor.findings import KINDS
from tests.http.test_adoption import BASE_URL, Old
from tests.support import processes
from tests.support.documents import example, table
from tests.support.parts import COLLECTION, SETTINGS, Server, postgresql_settings, sha256

CDN = "https://cdn.example.org/"
MIGRATE = "\n".join([example("upgrade-dry-run"), example("upgrade-migrate")])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the operator types: it has ``kinto.ini``."""
    return tmp_path


@pytest.fixture
def old(on_postgresql: Any, postgresql: str, folder: Path) -> Old:
    """A server that has 8.x behind it."""
    server: Server = on_postgresql({"kinto.attachment.base_url": BASE_URL})
    settings = {
        **SETTINGS,
        **postgresql_settings(postgresql),
        "kinto.attachment.base_url": BASE_URL,
        "kinto.attachment.base_path": str(server.files),
    }
    processes.write_ini(folder / "kinto.ini", settings)
    made = Old(server)
    for number in range(3):
        made.record(f"r{number}", b"content %d" % number)
    return made


def types(folder: Path, lines: str) -> Iterator[Any]:
    """Type the lines of an example, one after the other."""
    for line in lines.splitlines():
        yield processes.run(shlex.split(line), folder)


def test_the_table_of_findings_has_every_kind_and_what_mends_it() -> None:
    rows = table("findings")

    assert {kind.strip("`"): meaning for kind, meaning, _ in rows} == KINDS
    for kind, _, mend in rows:
        assert (f"--repair {kind.strip('`')}" in mend) == (kind.strip("`") in REPAIRS)


def test_old_records_are_migrated_examined_and_repaired(old: Old, folder: Path) -> None:
    for done, links in zip(types(folder, MIGRATE), (3, 0), strict=True):
        assert done.returncode == 0, done.stderr
        assert old.links() == links
    (examined,) = types(folder, example("doctor"))
    assert examined.returncode == 0, examined.stdout + examined.stderr
    old.server.store_file("old/nobody.txt", b"nobody's")
    assert old.server.files is not None
    path = old.server.files / "old/nobody.txt"
    os.utime(path, (0, 0))

    look, remove = types(folder, example("repair"))

    assert (look.returncode, remove.returncode) == (1, 0), look.stderr + remove.stderr
    assert "1 would be repaired" in look.stdout
    assert "repaired: 1" in remove.stdout
    assert not path.exists()
    client = old.server.as_user()
    assert client.get(f"{COLLECTION}/records/r1/attachment").body == b"content 1"


def test_what_is_to_be_done_every_night_finds_nothing_where_nothing_is_wrong(
    old: Old, folder: Path
) -> None:
    for done in types(folder, example("every-night")):
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_store_is_told_that_it_belongs_to_another_database_by_now(
    old: Old, folder: Path
) -> None:
    theirs = b'{"cluster": "1", "database": 1, "name": "theirs"}'
    old.server.registry.attachments.store.set_mark(theirs, replace=True)
    (refused,) = types(folder, "kinto-attachment gc --ini kinto.ini --delete")
    assert refused.returncode == 2
    assert "kinto-attachment claim" in refused.stderr

    (done,) = types(folder, example("claim"))

    assert done.returncode == 0, done.stderr
    assert '"name": "theirs"' in done.stdout
    (collected,) = types(folder, "kinto-attachment gc --ini kinto.ini --delete")
    assert collected.returncode == 0, collected.stderr


@pytest.fixture
def s3_ini(old: Old, folder: Path, s3_store: dict[str, Any]) -> Path:
    """``kinto.ini`` with another store."""
    lines = (folder / "kinto.ini").read_text().splitlines()
    kept = [line for line in lines if "base_path" not in line and "base_url" not in line]
    own = {**s3_store, "kinto.attachment.base_url": CDN}
    more = [f"{name} = {value}" for name, value in own.items() if value is not None]
    path = folder / "s3.ini"
    path.write_text("\n".join([*kept, *more, ""]))
    return path


def test_files_are_verified_and_moved_to_another_store_with_their_records(
    old: Old,
    folder: Path,
    s3_ini: Path,
    make_server: Any,
    s3_store: dict[str, Any],
    postgresql: str,
) -> None:
    user = old.server.as_user()
    for number in range(3):
        user.upload(f"{COLLECTION}/records/new{number}/attachment", b"new %d" % number)
    for done in types(folder, MIGRATE):
        assert done.returncode == 0, done.stderr
    before = {record["uri"]: record for record in old.server.records()}
    transaction.abort()

    for name, codes in (
        (example("verify"), [0, 0]),
        (example("copy"), [0]),
        (example("copy-the-rest"), [0, 0]),
        (example("relocate"), [1, 0]),
    ):
        done = list(types(folder, name))
        assert [one.returncode for one in done] == codes, done

    own = {"kinto.attachment.base_path": None, "kinto.attachment.base_url": CDN}
    on_s3 = make_server({**postgresql_settings(postgresql), **s3_store, **own})
    after = {record["uri"]: record for record in on_s3.records()}
    transaction.abort()
    assert len(after) == 6
    for uri, record in after.items():
        value, former = record.pop("attachment"), before[uri].pop("attachment")
        assert value == {**former, "location": former["location"].replace(BASE_URL, CDN)}
        assert record.pop("last_modified") > before[uri].pop("last_modified")
        assert record == before[uri]
        answer = on_s3.as_user().get(f"{uri}/attachment")
        assert sha256(answer.body) == value["hash"]


def test_records_are_given_urls_at_which_the_plugin_serves_their_files(
    old: Old, folder: Path, make_server: Any, local_store: dict[str, Any], postgresql: str
) -> None:
    for done in types(folder, MIGRATE):
        assert done.returncode == 0, done.stderr
    ini = folder / "kinto.ini"
    lines = ini.read_text().splitlines()
    ini.write_text("\n".join([*(line for line in lines if "base_url" not in line), ""]))

    done = list(types(folder, example("relocate-own")))
    assert [one.returncode for one in done] == [0, 0], done

    settings = {**postgresql_settings(postgresql), **local_store}
    serving = make_server({**settings, "kinto.attachment.base_url": None})
    records = serving.records()
    transaction.abort()
    assert len(records) == 3
    for record in records:
        value = record["attachment"]
        answer = serving.as_user().get(f"/{value['location']}")
        assert sha256(answer.body) == value["hash"]
