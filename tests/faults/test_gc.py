"""``kinto-attachment gc``: finds what nothing names, and leaves everything else alone."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.rows.links import Link
from tests.faults.harness import collect
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    SETTINGS,
    Server,
    postgresql_settings,
)


@pytest.fixture
def server(on_postgresql: Callable[..., Server]) -> Server:
    made = on_postgresql()
    for number in range(20):
        made.as_user().upload(f"{COLLECTION}/records/r{number}/attachment")
    return made


@pytest.fixture
def run(server: Server, postgresql: str, tmp_path: Path) -> Callable[..., Any]:
    """The real command on a real ini."""
    ini = tmp_path / "kinto.ini"
    settings = {
        **SETTINGS,
        **postgresql_settings(postgresql),
        "kinto.attachment.base_path": str(server.files),
    }
    lines = [f"{name} = {value}".replace("%", "%%") for name, value in settings.items()]
    ini.write_text("\n".join(["[app:main]", "use = egg:kinto", *lines]))

    def command(*arguments: str) -> Any:
        program = [sys.executable, "-W", "ignore", "-c"]
        main = "import sys; from kinto_attachment.commands import main; sys.exit(main())"
        return subprocess.run(
            [*program, main, "gc", "--ini", str(ini), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def orphan(server: Server, age: float = 7200, name: str = "") -> Path:
    """A file of ours that no link names, as a killed server leaves it."""
    assert server.files is not None
    path = server.files / (name or f"{keys.new_id()}.jpg")
    path.write_bytes(b"orphan")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_clean_store_ends_with_0_and_nothing_changes(
    server: Server, run: Callable[..., Any]
) -> None:
    ended = run("--delete", "--grace", "0")

    assert ended.returncode == 0, ended.stderr
    assert "files: 20, links: 20" in ended.stdout
    server.assert_agreement()


def test_a_dry_run_finds_and_changes_nothing(server: Server, run: Callable[..., Any]) -> None:
    path = orphan(server)

    ended = run()

    assert ended.returncode == 1
    assert "files that nothing names: 1, removed: 0" in ended.stdout
    assert path.exists()


def test_delete_removes_orphans_that_are_older_than_the_grace_period(
    server: Server, run: Callable[..., Any]
) -> None:
    old, young, foreign = orphan(server), orphan(server, age=60), orphan(server, name="else.jpg")
    unfinished = orphan(server, name=".unfinished/left")

    ended = run("--delete")

    assert ended.returncode == 0, ended.stderr
    assert not old.exists()
    assert not unfinished.exists()
    assert young.exists()
    assert foreign.exists()


def test_links_that_no_record_backs_go_with_their_files(server: Server) -> None:
    # A record that Kinto's own lost update, or a deletion by hand in SQL, has taken away.
    server.registry.storage.delete(
        resource_name="record", parent_id=COLLECTION, object_id="r0", with_deleted=False
    )
    server.registry.storage.update(
        resource_name="record", parent_id=COLLECTION, object_id="r1", obj={"title": "no file"}
    )
    transaction.commit()

    report = collect(server)

    assert (report.removed_links, report.removed_files) == (2, 2)
    server.assert_agreement()


def test_a_shared_file_stays_while_one_record_names_it(server: Server) -> None:
    client = server.as_user()
    shared = client.get(f"{COLLECTION}/records/r0").json["data"]["attachment"]
    client.json("put", f"{COLLECTION}/records/copy", {"data": {"attachment": shared}})
    server.registry.storage.delete(
        resource_name="record", parent_id=COLLECTION, object_id="r0", with_deleted=False
    )
    transaction.commit()

    collect(server)

    assert client.get(f"{COLLECTION}/records/copy/attachment").body == b"hello"
    server.assert_agreement()


def test_kept_old_files_are_kept(on_postgresql: Callable[..., Server]) -> None:
    server = on_postgresql({"kinto.attachment.keep_old_files": "true"})
    client = server.as_user()
    client.upload(content=b"old")
    client.upload(content=b"new")
    client.delete(RECORD)

    report = collect(server)

    assert report.findings == 0
    assert len(server.stored_keys()) == 2


def test_the_file_of_a_record_that_is_gone_without_a_word_is_kept_where_old_files_are(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql({"kinto.attachment.keep_old_files": "90d"})
    server.as_user().upload()
    stored = server.stored_keys()
    server.registry.storage.delete(
        resource_name="record", parent_id=COLLECTION, object_id="first", with_deleted=False
    )
    transaction.commit()

    first, second = collect(server), collect(server)

    assert (first.dead_links, first.removed_files) == (1, 0)
    assert second.findings == 0
    assert server.stored_keys() == stored


def age_kept_links(server: Server, days: float) -> None:
    """Make the rows of kept files look as if they had been written that long ago."""
    storage = server.registry.storage
    for link in [link for page in server.rows().everything() for link in page if link.kept]:
        storage.update(
            resource_name="attachments",
            parent_id=link.parent,
            object_id=link.file_id,
            obj={**link.data(), "last_modified": link.modified - int(days * 86400 * 1000)},
        )
    transaction.commit()


def test_old_files_go_when_they_were_kept_for_long_enough_and_not_before(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql({"kinto.attachment.keep_old_files": "90d"})
    client = server.as_user()
    client.upload(content=b"old")
    client.upload(content=b"new")
    age_kept_links(server, 89)
    assert collect(server).expired == 0
    client.upload(content=b"newer")
    assert len(server.stored_keys()) == 3

    age_kept_links(server, 2)
    report = collect(server)

    assert (report.expired, report.removed_links, report.removed_files) == (1, 1, 1)
    assert report.findings == 0
    assert len(server.stored_keys()) == 2
    assert client.get(ATTACHMENT).body == b"newer"
    server.assert_agreement()


def test_old_files_stay_for_good_where_keeping_is_switched_off_again(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql({"kinto.attachment.keep_old_files": "90d"})
    server.as_user().upload(content=b"old")
    server.as_user().upload(content=b"new")
    age_kept_links(server, 1000)
    quiet = {k: replace(v, keep_old_files=0) for k, v in policies(server).items()}
    attachments = server.registry.attachments
    settings = replace(attachments.settings, policies=quiet)
    server.registry.attachments = replace(attachments, settings=settings)

    assert collect(server).expired == 0
    assert len(server.stored_keys()) == 2


def policies(server: Server) -> Any:
    return server.registry.attachments.settings.policies


def test_a_file_that_a_young_history_entry_names_is_still_there(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql(
        {
            "kinto.includes": "kinto.plugins.history kinto_attachment",
            "kinto.attachment.keep_old_files": "90d",
        }
    )
    client = server.as_user()
    client.upload(content=b"in history")
    client.upload(content=b"new")
    age_kept_links(server, 89.9)

    collect(server)

    query = f"/buckets/pictures/history?resource_name=record&uri={RECORD}"
    entries = client.get(query).json["data"]
    named = {entry["target"]["data"]["attachment"]["location"] for entry in entries}
    ids = {keys.id_in_location(location) for location in named}
    assert len(ids) == 2
    assert ids == {keys.id_of_key(key) for key in server.stored_keys()}


def test_more_than_the_ceiling_is_refused_unless_told(
    server: Server, run: Callable[..., Any]
) -> None:
    paths = [orphan(server) for _ in range(150)]

    ended = run("--delete")

    assert ended.returncode == 2
    assert "Refused: 88 % of the files" in ended.stderr
    assert all(path.exists() for path in paths)
    assert run("--delete", "--ceiling", "95").returncode == 0
    server.assert_agreement()


def test_a_database_that_names_no_file_at_all_is_refused(
    server: Server, run: Callable[..., Any]
) -> None:
    for backend in ("storage", "permission"):
        getattr(server.registry, backend).flush()
    transaction.commit()

    ended = run("--delete", "--grace", "0")

    assert ended.returncode == 2
    assert len(server.stored_keys()) == 20


def test_two_at_once_do_no_harm(server: Server, run: Callable[..., Any]) -> None:
    import threading

    for _ in range(2):
        orphan(server)
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(run("--delete").returncode)) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [0, 0]
    server.assert_agreement()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist"),
        ("kinto.includes =", "does not include kinto_attachment"),
        ("kinto.includes = kinto_attachment\nkinto.attachment.base_path = {}", "in memory"),
        ("kinto.includes = kinto_attachment", "base_path is missing"),
    ],
)
def test_an_ini_that_cannot_be_used_is_one_sentence_and_2(
    run: Callable[..., Any], tmp_path: Path, content: str | None, sentence: str
) -> None:
    ini = tmp_path / "other.ini"
    if content is not None:
        head = "[app:main]\nuse = egg:kinto\nkinto.userid_hmac_secret = x\n"
        ini.write_text(head + content.format(tmp_path / "other"))

    ended = run("--ini", str(ini))

    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_link_that_its_record_names_again_is_put_back(server: Server) -> None:
    (link,) = server.rows().of_records([f"{COLLECTION}/records/r0"])
    from kinto_attachment.maintenance.garbage import Collector

    removed = Collector(server.registry, 0)._remove_link(Link(**vars(link)))

    assert removed is False
    server.assert_agreement()


def test_the_server_works_on_while_gc_runs(server: Server, run: Callable[..., Any]) -> None:
    import threading

    collecting = threading.Thread(target=run, args=("--delete", "--grace", "3600"))
    collecting.start()
    for number in range(20):
        server.as_user().upload(content=b"%d" % number)
        server.as_user().delete(ATTACHMENT)
    collecting.join()

    server.assert_agreement()
