"""``kinto-attachment verify``: what the store has is what was stored, or it is told."""

import hashlib
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.commands import main
from kinto_attachment.maintenance.verification.pace import Pace, Stopped, rate_of
from kinto_attachment.maintenance.verification.state import StateFile, UnusableState
from kinto_attachment.maintenance.verification.verifier import Damage, Progress, Verifier
from kinto_attachment.records import last_runs
from kinto_attachment.rows.links import Link
from kinto_attachment.storage.network import MARK
from tests.support.parts import COLLECTION, SETTINGS, Server, postgresql_settings, sha256
from tests.support.processes import started, write_ini
from tests.support.storage_parts import (
    Gate,
    gated_moto,
    new_bucket,
    port_without_server,
    s3_client,
    s3_settings,
)

PROGRAM = "import sys; from kinto_attachment.commands import main; sys.exit(main())"

Verify = Callable[..., tuple[int, Any, list[Any]]]


@pytest.fixture
def server(on_postgresql: Callable[..., Server]) -> Server:
    return on_postgresql({"kinto.attachment.fsync": "false"})


@pytest.fixture
def make_ini(postgresql: str, tmp_path: Path) -> Callable[..., str]:
    """Write an ini for the database of the test, and a store."""

    def write(store: dict[str, Any], name: str = "kinto.ini") -> str:
        found = {**SETTINGS, **postgresql_settings(postgresql), **store}
        given = {key: value for key, value in found.items() if value is not None}
        return str(write_ini(tmp_path / name, given))

    return write


@pytest.fixture
def ini(make_ini: Callable[..., str], local_store: dict[str, Any]) -> str:
    return make_ini(local_store)


@pytest.fixture
def verify(ini: str, capsys: pytest.CaptureFixture[str]) -> Verify:
    """The command with ``--json``; gives its exit code, its summary and its findings."""

    def run(*arguments: str, ini: str = ini) -> tuple[int, Any, list[Any]]:
        transaction.abort()
        capsys.readouterr()
        code = main(["verify", "--ini", ini, "--json", *arguments])
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return code, lines.pop() if lines and "files" in lines[-1] else None, lines

    return run


def plant(server: Server, count: int) -> list[Link]:
    """Files with links, in the order in which they are looked at."""
    assert server.files is not None
    links = []
    with transaction.manager:
        for number in range(count):
            content = b"content %d" % number
            file_id = keys.new_id()
            link = Link(
                file_id,
                f"{COLLECTION}/records/r{number}",
                f"{file_id}.txt",
                sha256(content),
                "text/plain",
                "a.txt",
                len(content),
                {"number": number},
            )
            (server.files / link.key).write_bytes(content)
            server.rows().add([link])
            links.append(link)
    return sorted(links, key=lambda link: link.file_id)


def change(server: Server, link: Link, content: bytes) -> Link:
    """Another content for a file, in the store and in its link."""
    changed = replace(link, hash=sha256(content), size=len(content))
    path_of(server, link).write_bytes(content)
    with transaction.manager:
        server.rows().add([changed])
    return changed


def path_of(server: Server, link: Link) -> Path:
    assert server.files is not None
    return server.files / link.key


def damage(server: Server, missing: Link, size: Link, content: Link) -> None:
    path_of(server, missing).unlink()
    path_of(server, size).write_bytes(b"short")
    path_of(server, content).write_bytes(b"X" * content.size)


def result(server: Server) -> dict[str, Any] | None:
    with transaction.manager:
        return last_runs.last_run(server.registry.storage, last_runs.VERIFY)


def state_of(path: Path) -> Any:
    return json.loads(path.read_text())["progress"]


def open_files(server: Server) -> list[str]:
    found = [file.path for file in psutil.Process().open_files()]
    return [path for path in found if path.startswith(str(server.files))]


def test_a_clean_store_ends_with_0_and_says_what_was_read(
    server: Server, ini: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        server.as_user().upload(f"{COLLECTION}/records/r{number}/attachment", b"hello")
    transaction.abort()

    assert main(["verify", "--ini", ini]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "looked at: 5 of 5 files, 25 bytes",
        "replaced or removed meanwhile: 0",
        "missing or damaged: 0",
    ]
    server.assert_agreement()


def test_a_server_without_files_is_clean(server: Server, verify: Verify) -> None:
    code, summary, _ = verify()

    assert (code, summary["files"], summary["total"]) == (0, 0, 0)


def test_each_damage_is_found_and_nothing_else(
    server: Server, ini: str, capsys: pytest.CaptureFixture[str]
) -> None:
    missing, size, content = plant(server, 30)[4:25:10]
    damage(server, missing, size, content)
    other = sha256(b"X" * content.size)

    assert main(["verify", "--ini", ini]) == 1

    *lines, looked, _, damaged = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{missing.key} of {missing.record_uri}: it is missing; {missing.size} bytes were"
        " expected",
        f"{size.key} of {size.record_uri}: the size differs; {size.size} bytes were expected,"
        " 5 found",
        f"{content.key} of {content.record_uri}: the SHA-256 differs; {content.hash} was"
        f" expected, {other} found",
    ]
    assert looked.startswith("looked at: 30 of 30 files")
    assert damaged == "missing or damaged: 3"


def test_json_has_one_object_for_each_finding_and_the_summary(
    server: Server, verify: Verify
) -> None:
    missing, size, content = plant(server, 3)
    damage(server, missing, size, content)

    code, summary, findings = verify()

    def told(problem: str, link: Link, expected: Any, found: Any) -> dict[str, Any]:
        about = {"key": link.key, "record": link.record_uri, "kept": False}
        return {"problem": problem, **about, "expected": expected, "found": found}

    assert code == 1
    assert findings == [
        told("missing", missing, missing.size, None),
        told("size", size, size.size, 5),
        told("hash", content, content.hash, sha256(b"X" * content.size)),
    ]
    assert summary == {
        "files": 3,
        "total": 3,
        "bytes": 5 + content.size,
        "damaged": 3,
        "gone": 0,
        "sampled": False,
    }


def test_an_empty_and_a_large_file_are_read_whole(server: Server, verify: Verify) -> None:
    empty, large, flipped = plant(server, 3)
    change(server, empty, b"")
    content = os.urandom(1024) * 3000
    change(server, large, content)
    change(server, flipped, content)
    path_of(server, flipped).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    code, summary, findings = verify()

    assert [(f["problem"], f["key"]) for f in findings] == [("hash", flipped.key)]
    assert (code, summary["bytes"]) == (1, 2 * len(content))


def test_a_file_that_several_records_name_is_read_once(server: Server, verify: Verify) -> None:
    (link,) = plant(server, 1)
    with transaction.manager:
        for number in range(5):
            server.rows().add([replace(link, record_uri=f"{COLLECTION}/records/copy{number}")])

    _, summary, _ = verify()

    assert (summary["files"], summary["bytes"]) == (1, link.size)


def test_old_files_that_are_kept_are_looked_at(
    on_postgresql: Callable[..., Server], verify: Verify
) -> None:
    server = on_postgresql({"kinto.attachment.keep_old_files": "true"})
    server.as_user().upload(content=b"old")
    server.as_user().upload(content=b"new")
    with transaction.manager:
        (old,) = [k for page in server.rows().everything() for k in page if k.kept]
    path_of(server, old).unlink()

    code, summary, (finding,) = verify()

    assert (code, summary["files"]) == (1, 2)
    assert (finding["key"], finding["kept"]) == (old.key, True)


def test_files_of_more_than_one_page_are_each_looked_at_once(
    server: Server, verify: Verify
) -> None:
    links = plant(server, 1005)
    path_of(server, links[-1]).unlink()

    _, summary, findings = verify()

    assert (summary["files"], summary["total"]) == (1005, 1005)
    assert [finding["key"] for finding in findings] == [links[-1].key]


def test_a_file_that_is_replaced_or_deleted_meanwhile_is_no_finding(server: Server) -> None:
    owner = server.as_user()
    for number in range(4):
        owner.upload(f"{COLLECTION}/records/r{number}/attachment", b"old")
    with transaction.manager:
        links = [link for page in server.rows().links_by_file() for (link,) in page]
    found: list[Damage] = []

    def work_on(_: float) -> None:
        """When the second file was read: the page of links is known, the others are not read."""
        if len(server.stored_keys()) == 4:
            owner.upload(f"{links[2].record_uri}/attachment", b"new")
            owner.delete(links[3].record_uri)

    pace = Pace(1, clock=lambda: 0, wait=work_on)
    verifier = Verifier(
        server.rows(), server.registry.attachments.store, jobs=1, pace=pace, found=found.append
    )
    end = verifier.verify(Progress())

    assert found == []
    # The file that came meanwhile is looked at too, if its id is behind those already read.
    (new,) = {link.file_id for link in server.all_links()} - {link.file_id for link in links}
    came = int(new > links[-1].file_id)
    assert (end.total, end.files, end.gone, end.damaged) == (4 + came, 2 + came, 2, 0)
    assert not path_of(server, links[2]).exists()
    server.assert_agreement()


def test_a_sample_looks_at_some_and_says_of_how_many(
    server: Server, ini: str, verify: Verify, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(server, 400)

    _, few, _ = verify("--sample", "1%")
    assert main(["verify", "--ini", ini, "--sample", "50%"]) == 0
    looked = re.match(r"looked at: (\d+) of 400 files", capsys.readouterr().out)

    assert (few["total"], few["sampled"]) == (400, True)
    # Chance leaves these bounds less than once in 10**19 runs.
    assert few["files"] < 40
    assert looked
    assert 100 < int(looked[1]) < 300


def test_a_sample_of_100_per_cent_is_everything(server: Server, verify: Verify) -> None:
    plant(server, 50)

    _, summary, _ = verify("--sample", "100%")

    assert (summary["files"], summary["sampled"]) == (50, False)


def test_two_samples_are_not_the_same(server: Server, verify: Verify) -> None:
    for link in plant(server, 200)[1:]:  # Without any file it would be another store.
        path_of(server, link).unlink()

    one, other = ({f["key"] for f in verify("--sample", "50%")[2]} for _ in "ab")

    assert one != other


def test_the_last_complete_result_is_kept_in_the_database(server: Server, verify: Verify) -> None:
    before = time.time_ns() // 10**6
    assert result(server) is None
    links = plant(server, 3)
    path_of(server, links[0]).unlink()

    verify()

    last = result(server)
    assert last
    assert before <= last.pop("finished") <= time.time_ns() // 10**6
    size = links[1].size + links[2].size
    assert last == {"files": 3, "bytes": size, "damaged": 1, "sampled": False}

    path_of(server, links[0]).write_bytes(b"content")
    verify("--sample", "99.9%")

    again = result(server)
    assert again
    assert again["sampled"] is True


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1B/s", 1),
        ("500kB/s", 500_000),
        ("50MB/s", 50_000_000),
        ("1.5GB/s", 1_500_000_000),
        ("2KiB/s", 2048),
        ("3 MiB", 3 * 1024**2),
        ("1GiB", 1024**3),
    ],
)
def test_rates_are_understood(text: str, rate: int) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--max-rate", "50", "as in 50MB/s"),
        ("--max-rate", "50Mb/s", "as in 50MB/s"),
        ("--max-rate", "0MB/s", "as in 50MB/s"),
        ("--max-rate", "-1MB/s", "as in 50MB/s"),
        ("--max-rate", "1MB/h", "as in 50MB/s"),
        ("--sample", "1", "as in 1%"),
        ("--sample", "0%", "as in 1%"),
        ("--sample", "100.1%", "as in 1%"),
        ("--sample", "nan%", "as in 1%"),
        ("--jobs", "0", "a number from 1 to"),
        ("--jobs", "four", "a number from 1 to"),
        ("--jobs", "51", "a number from 1 to"),
    ],
)
def test_a_wrong_value_is_one_sentence_and_2(
    option: str, value: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--ini", "kinto.ini", f"{option}={value}"])

    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


class Clock:
    """Time passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_the_pace_is_kept_and_nothing_is_saved_up() -> None:
    clock = Clock()
    pace = Pace(100, clock=lambda: clock.now, wait=clock.wait)

    for _ in range(11):
        pace.spend(50)
    assert clock.now == 1005  # 500 bytes before the last 50.

    clock.now += 3600
    for _ in range(11):
        pace.spend(50)
    assert clock.now == 1005 + 3600 + 5


def test_all_threads_together_keep_the_pace() -> None:
    lock, waits = threading.Lock(), []

    def wait(seconds: float) -> None:
        with lock:
            waits.append(seconds)

    pace = Pace(100, clock=lambda: 0, wait=wait)

    def spend() -> None:
        for _ in range(25):
            pace.spend(50)

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Nobody has the same turn as anybody else: they are half a second apart.
    assert sorted(waits) == [number / 2 for number in range(1, 100)]


def test_who_waits_for_a_turn_is_stopped_at_once() -> None:
    pace = Pace(1)
    ended = []

    def work() -> None:
        try:
            pace.spend(10**6)
            pace.spend(1)  # Due in eleven days.
        except Stopped:
            ended.append(True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    pace.stop()
    thread.join(30)

    assert ended == [True]


def test_the_rate_option_slows_all_jobs_down(server: Server, verify: Verify) -> None:
    plant(server, 20)

    code, summary, _ = verify("--max-rate", "1GB/s", "--jobs", "3")

    assert (code, summary["files"]) == (0, 20)


@pytest.fixture
def half_way(server: Server, ini: str, tmp_path: Path) -> Callable[..., tuple[list[Link], Any]]:
    """End a real process by a signal when it has told of the second of two missing files, and
    hangs in the file that comes next. Gives the links and what it has said."""

    def run(number: int, *arguments: str) -> tuple[list[Link], Any]:
        links = plant(server, 40)
        for missing in (links[10], links[20]):
            path_of(server, missing).unlink()
        links[21] = change(server, links[21], b"large" * 10**6)
        slow = ["--jobs", "1", "--max-rate", "100kB/s", "--json", *arguments]
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, "verify", "--ini", ini, *slow]
        transaction.abort()
        with started(command, tmp_path, stdout=-1, stderr=-1) as process:
            assert process.stdout
            assert process.stderr
            told = [process.stdout.readline(), process.stdout.readline()]
            process.send_signal(number)
            code = process.wait(60)
            said = (code, [json.loads(line) for line in told], process.stdout.read())
            return links, (*said, process.stderr.read())

    return run


def test_a_killed_run_goes_on_and_counts_each_file_once(
    server: Server, half_way: Callable[..., Any], verify: Verify, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    links, said = half_way(signal.SIGKILL, "--state", str(state))
    ids = [link.file_id for link in links]
    assert said[0] == -signal.SIGKILL
    assert ids.index(state_of(state)["after"]) in (10, 19, 20)
    path_of(server, links[0]).unlink()  # It was looked at before.

    code, summary, findings = verify("--state", str(state))

    again = {finding["key"] for finding in findings}
    assert again <= {links[20].key}  # Told just before the end, and perhaps not noted any more.
    assert code == 1
    assert (summary["total"], summary["files"], summary["damaged"]) == (40, 40, 2)
    assert summary["bytes"] == sum(k.size for k in links if k not in (links[10], links[20]))
    assert not state.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_notes_all_that_it_did(
    server: Server,
    half_way: Callable[..., Any],
    verify: Verify,
    tmp_path: Path,
    number: int,
    code: int,
) -> None:
    state = tmp_path / "state.json"

    links, said = half_way(number, "--state", str(state))

    ended, told, rest, complaint = said
    assert ended == code
    assert [finding["key"] for finding in told] == [links[10].key, links[20].key]
    assert rest == ""
    assert "it goes on from there" in complaint
    assert "Traceback" not in complaint
    progress = state_of(state)
    assert progress["after"] in (links[19].file_id, links[20].file_id)
    assert progress["files"] == progress["total"]
    assert verify("--state", str(state))[1]["files"] == 40


def test_an_interruption_leaves_no_file_open(server: Server) -> None:
    links = plant(server, 4)
    for link in links[1:]:
        change(server, link, b"large" * 10**6)
    path_of(server, links[0]).unlink()

    def interrupt(_: Damage) -> None:
        while not open_files(server):
            pass
        raise KeyboardInterrupt

    store = server.registry.attachments.store
    verifier = Verifier(server.rows(), store, pace=Pace(1), found=interrupt)
    with pytest.raises(KeyboardInterrupt) as interrupted:
        verifier.verify(Progress())

    assert interrupted.traceback  # It keeps what the frames have, so nothing closes by chance.
    assert open_files(server) == []


def test_a_complete_run_removes_its_state_and_the_next_one_begins_anew(
    server: Server, verify: Verify, tmp_path: Path
) -> None:
    plant(server, 5)
    state = tmp_path / "state.json"

    for _ in range(2):
        assert verify("--state", str(state))[1]["files"] == 5
        assert list(tmp_path.glob("state*")) == []


def test_the_state_of_another_run_is_refused_and_stays(
    server: Server,
    ini: str,
    make_ini: Callable[..., str],
    local_store: dict[str, Any],
    verify: Verify,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = tmp_path / "state.json"
    begun = StateFile(str(state), f"--ini {ini} --sample 100%")
    begun.keep(Progress(plant(server, 2)[0].file_id, total=1, files=1, bytes=9, damaged=1))
    before = state.read_bytes()
    other = make_ini(local_store, "other.ini")

    assert main(["verify", "--ini", other, "--state", str(state)]) == 2
    assert f"{ini} --sample 100%: write the same" in capsys.readouterr().err
    assert verify("--sample", "1%", "--state", str(state))[0] == 2

    assert state.read_bytes() == before
    assert verify("--state", str(state))[1]["files"] == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"run": "',
        '{"run": "--ini", "progress": {"after": 1}}',
        '{"run": "--ini", "progress": {"after": "a", "files": "many"}}',
        '{"run": "--ini", "progress": {"else": 1}}',
        "\udcff",
    ],
)
def test_a_broken_state_is_refused_and_stays(tmp_path: Path, content: str) -> None:
    state = tmp_path / "state.json"
    state.write_bytes(content.encode("utf-8", "surrogateescape"))
    before = state.read_bytes()

    with pytest.raises(UnusableState, match="is no state of this command: name another file"):
        StateFile(str(state), "--ini").load()

    assert state.read_bytes() == before


def test_an_unusable_state_ends_with_2(
    server: Server, ini: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state.json"
    state.touch()

    assert main(["verify", "--ini", ini, "--state", str(state)]) == 2

    assert f"{state} is no state of this command" in capsys.readouterr().err
    assert state.read_bytes() == b""


def test_a_state_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path,
) -> None:
    state = tmp_path / "nowhere" / "state.json"

    with pytest.raises(UnusableState, match=r"can't be written \(No such file or directory\)"):
        StateFile(str(state), "--ini").load()


@pytest.fixture(scope="module")
def gated() -> Iterator[tuple[str, Gate]]:
    with gated_moto() as found:
        yield found


@pytest.fixture
def s3_ini(on_postgresql: Callable[..., Server], make_ini: Callable[..., str]) -> Any:
    """Upload some files to an S3, and write an ini for it."""

    def make(store: dict[str, Any], count: int = 3) -> str:
        server = on_postgresql(store)
        for number in range(count):
            server.as_user().upload(f"{COLLECTION}/records/r{number}/attachment", b"hello")
        transaction.abort()
        return make_ini(store)

    return make


def test_files_in_s3_are_verified(
    s3_ini: Callable[..., str], s3_store: dict[str, Any], s3: Any, verify: Verify
) -> None:
    ini = s3_ini(s3_store, 5)
    bucket = s3_store["kinto.attachment.aws.bucket_name"]
    assert verify(ini=ini)[0] == 0
    missing, size, content, *_ = sorted(
        found["Key"]
        for found in s3.list_objects_v2(Bucket=bucket)["Contents"]
        if found["Key"] != MARK
    )
    s3.delete_object(Bucket=bucket, Key=missing)
    s3.put_object(Bucket=bucket, Key=size, Body=b"")
    s3.put_object(Bucket=bucket, Key=content, Body=b"HELLO")

    code, summary, findings = verify(ini=ini)

    assert code == 1
    assert [(f["problem"], f["key"], f["found"]) for f in findings] == [
        ("missing", missing, None),
        ("size", size, 0),
        ("hash", content, hashlib.sha256(b"HELLO").hexdigest()),
    ]
    assert (summary["files"], summary["damaged"]) == (5, 3)


def test_a_store_that_cannot_be_reached_is_an_error_and_no_finding(
    server: Server,
    make_ini: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plant(server, 3)
    state = tmp_path / "state.json"
    with port_without_server() as url:
        ini = make_ini(s3_settings(url, "bucket"))

        assert main(["verify", "--ini", ini]) == 2
        without = capsys.readouterr()
        assert main(["verify", "--ini", ini, "--state", str(state)]) == 2
        with_state = capsys.readouterr()

    assert "The store failed" in without.err
    assert "it begins anew, but with --state FILE it would go on" in without.err
    assert "Run it again with the same --state: it goes on from there" in with_state.err
    assert without.out == with_state.out == ""
    assert not state.exists()
    assert result(server) is None


def test_a_database_that_fails_is_an_error(
    server: Server, ini: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.faults.harness import Database

    plant(server, 1)
    database = Database(server.registry.settings["storage_url"])
    database.execute("ALTER TABLE objects RENAME TO hidden")
    try:
        code = main(["verify", "--ini", ini])
    finally:
        database.execute("ALTER TABLE hidden RENAME TO objects")
        database.close()

    assert code == 2
    assert "The database failed" in capsys.readouterr().err


def test_one_file_that_cannot_be_read_is_a_finding_where_the_store_works(
    server: Server, verify: Verify
) -> None:
    links = plant(server, 3)
    path = path_of(server, links[1])
    path.unlink()
    path.symlink_to(path.name)

    code, summary, findings = verify()

    assert code == 1
    assert [(f["problem"], f["key"]) for f in findings] == [("unreadable", links[1].key)]
    assert (summary["files"], summary["damaged"]) == (3, 1)


def in_a_new_bucket(url: str, **more: str) -> dict[str, Any]:
    with s3_client(url) as client:
        return s3_settings(url, new_bucket(client), **more)


def test_a_connection_that_breaks_once_is_tried_again(
    s3_ini: Callable[..., str], verify: Verify, gated: tuple[str, Gate]
) -> None:
    url, gate = gated
    ini = s3_ini(in_a_new_bucket(url, **{"aws.num_retries": "0"}))
    failures = iter([None, (500, "InternalError")])  # The first one reads the store's mark.
    gate.answer = lambda operation, _: next(failures, None) if operation == "GET" else None

    code, summary, _ = verify(ini=ini)

    assert next(failures, None) is None
    assert (code, summary["files"]) == (0, 3)


def test_a_store_that_is_too_slow_for_a_server_is_verified(
    s3_ini: Callable[..., str], verify: Verify, gated: tuple[str, Gate]
) -> None:
    url, gate = gated
    ini = s3_ini(in_a_new_bucket(url, store_timeout="0.5"))

    def slow(operation: str, _: Any) -> None:
        if operation == "GET":
            threading.Event().wait(0.7)  # It is this slow; nobody waits for anybody.

    gate.answer = slow

    assert verify(ini=ini)[0] == 0


def test_a_backend_that_cannot_read_is_refused(
    server: Server, make_ini: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    ini = make_ini(
        {
            "kinto.attachment.backend": "tests.stores.third_parties.Shelf",
            "kinto.attachment.base_path": None,
        }
    )

    assert main(["verify", "--ini", ini]) == 2

    assert "can't read files back" in capsys.readouterr().err
