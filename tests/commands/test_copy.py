"""``kinto-attachment copy``: all files into another store, checked, whatever interrupts it."""

import errno
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from hashlib import md5
from pathlib import Path
from typing import Any, NoReturn

import pytest
import transaction

from kinto_attachment import keys
from kinto_attachment.commands import main
from kinto_attachment.maintenance.copying import Copier, CopyReport
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.links import Link
from kinto_attachment.storage import StoreUnavailable
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.network import MARK
from tests.support.parts import COLLECTION, SETTINGS, Server, postgresql_settings, sha256
from tests.support.processes import BIN, started, write_ini
from tests.support.storage_parts import port_without_server, s3_settings

NUMBER = int(os.environ.get("COPY_FILES", "120"))
"""Files of the test that kills: a release is checked with COPY_FILES=10000."""

SECRET = "/buckets/pictures/collections/secret"

CONTENTS = {
    "empty.txt": b"",
    "one.txt": b"1",
    "some kB.txt": b"kilobyte" * 1500,
    "日本 ünïcode.txt": "日本".encode(),
    "large.zip": os.urandom(1024) * 17 * 1024,
}

Copy = Callable[..., int]


@pytest.fixture
def server(on_postgresql: Callable[..., Server]) -> Server:
    """Files under readable names, in folders."""
    return on_postgresql(
        {
            "kinto.attachment.randomize": "false",
            "kinto.attachment.folder": "{bucket_id}/{collection_id}",
            "kinto.attachment.extensions": "any",
            "kinto.attachment.fsync": "false",
        }
    )


@pytest.fixture
def ini(postgresql: str, tmp_path: Path) -> Callable[..., str]:
    """Write an ini for the database of the test, and a store."""

    def write(name: str, settings: dict[str, Any]) -> str:
        found = {**SETTINGS, **postgresql_settings(postgresql), **settings}
        given = {key: value for key, value in found.items() if value is not None}
        return str(write_ini(tmp_path / name, given))

    return write


@pytest.fixture
def source(ini: Callable[..., str], local_store: dict[str, Any]) -> str:
    return ini("kinto.ini", local_store)


@pytest.fixture
def destination(ini: Callable[..., str], s3_url: str, bucket: str) -> str:
    return ini("other.ini", s3_settings(s3_url, bucket))


@pytest.fixture
def copy(server: Server, source: str, destination: str) -> Copy:
    """The command, in this process."""

    def run(*arguments: str, to: str = destination) -> int:
        return main(["copy", "--ini", source, "--to", to, *arguments])

    return run


def upload(server: Server, contents: dict[str, bytes]) -> None:
    for number, (name, content) in enumerate(contents.items()):
        place = f"{COLLECTION}/records/r{number}/attachment"
        server.as_user().upload(place, content, name, mimetype=None)


def links_of(server: Server) -> list[Link]:
    with transaction.manager:
        return [link for page in server.rows().everything() for link in page]


def path_of(server: Server, link: Link) -> Path:
    assert server.files is not None
    return server.files / link.key


def names(s3: Any, bucket: str) -> list[str]:
    """What lies in the bucket, seen past our own code."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return [name for name in found if name != MARK]


def stored(s3: Any, bucket: str) -> dict[str, bytes]:
    """The same, with the contents."""
    found = names(s3, bucket)
    return {name: s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in found}


def test_every_file_is_at_the_destination_under_the_same_key(
    server: Server, copy: Copy, s3: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(server, CONTENTS)

    assert copy() == 0

    found = stored(s3, bucket)
    assert found == {k.key: path_of(server, k).read_bytes() for k in links_of(server)}
    assert sorted(map(len, found.values())) == sorted(map(len, CONTENTS.values()))
    size = sum(map(len, CONTENTS.values()))
    assert f"copied: 5 files, {size} bytes\nalready there: 0\n" in capsys.readouterr().out
    server.assert_agreement()


def test_type_and_name_are_stored_with_the_file(
    server: Server, copy: Copy, s3: Any, bucket: str
) -> None:
    server.as_user().upload(filename="mein bild.jpg")
    (link,) = links_of(server)

    copy()

    head = s3.head_object(Bucket=bucket, Key=link.key)
    assert head["ContentType"] == "image/jpeg"
    assert "mein%20bild.jpg" in head["ContentDisposition"]


def test_a_second_run_copies_only_what_is_new(
    server: Server, copy: Copy, capsys: pytest.CaptureFixture[str]
) -> None:
    upload(server, {"a.txt": b"a", "empty.txt": b""})
    copy()
    server.as_user().upload(content=b"new")
    capsys.readouterr()

    assert copy("--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert told == {"copied": 1, "present": 2, "gone": 0, "findings": 0, "bytes": 3}


def test_a_readonly_server_can_be_copied(
    server: Server,
    ini: Callable[..., str],
    local_store: dict[str, Any],
    destination: str,
    s3: Any,
    bucket: str,
) -> None:
    server.as_user().upload(content=b"hello")
    source = ini("readonly.ini", {**local_store, "kinto.readonly": "true"})

    assert main(["copy", "--ini", source, "--to", destination]) == 0

    assert list(stored(s3, bucket).values()) == [b"hello"]


def test_the_file_of_a_copied_record_is_copied_once(
    server: Server, copy: Copy, s3: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client = server.as_user()
    value = client.upload(content=b"shared").json
    for number in range(3):
        client.json("put", f"{COLLECTION}/records/c{number}", {"data": {"attachment": value}})

    assert copy() == 0

    assert list(stored(s3, bucket).values()) == [b"shared"]
    assert "copied: 1 files" in capsys.readouterr().out


def test_old_files_that_are_kept_are_copied(
    on_postgresql: Callable[..., Server], copy: Copy, s3: Any, bucket: str
) -> None:
    client = on_postgresql({"kinto.attachment.keep_old_files": "true"}).as_user()
    client.upload(content=b"old")
    client.upload(content=b"new")

    copy()

    assert sorted(stored(s3, bucket).values()) == [b"new", b"old"]


def test_a_file_is_private_as_soon_as_one_of_its_collections_is(
    server: Server, copy: Copy, ini: Callable[..., str], s3: Any, s3_url: str, bucket: str
) -> None:
    client = server.as_user()
    client.make_collection(SECRET)
    client.upload(content=b"public")
    value = client.upload(f"{COLLECTION}/records/shared/attachment", content=b"shared").json
    client.json("put", f"{SECRET}/records/copy", {"data": {"attachment": value}})
    private = {"kinto.attachment.resources.pictures.secret.private": "true"}
    to = ini("acl.ini", {**s3_settings(s3_url, bucket, **{"aws.acl": "public-read"}), **private})

    copy(to=to)

    granted = {
        content: len(s3.get_object_acl(Bucket=bucket, Key=key)["Grants"])
        for key, content in stored(s3, bucket).items()
    }
    assert granted == {b"public": 2, b"shared": 1}


def test_damaged_files_are_findings_and_nothing_of_them_lands(
    server: Server, copy: Copy, s3: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damages: dict[str, Callable[[Path], object]] = {
        "hash": lambda path: path.write_bytes(b"h3llo"),
        "size": lambda path: path.write_bytes(b"hell"),
        "size ": lambda path: path.write_bytes(b"hello!"),
        "missing": lambda path: path.unlink(),
    }
    upload(server, {"sound.txt": b"sound", **{f"{name}.txt": b"hello" for name in damages}})
    by_name = {link.filename.removesuffix(".txt"): link for link in links_of(server)}
    for name, damage in damages.items():
        damage(path_of(server, by_name[name]))

    assert copy("--json") == 1

    *findings, summary = map(json.loads, capsys.readouterr().out.splitlines())
    expected = []
    for name in damages:
        named = {"key": by_name[name].key, "record": by_name[name].record_uri, "kept": False}
        expected.append({"problem": name.strip(), **named})
    assert sorted(findings, key=str) == sorted(expected, key=str)
    assert (summary["copied"], summary["findings"]) == (1, 4)
    assert list(stored(s3, bucket).values()) == [b"sound"]


def test_a_large_damaged_file_leaves_no_parts_behind(
    server: Server, copy: Copy, s3: Any, bucket: str
) -> None:
    upload(server, {"large.zip": CONTENTS["large.zip"]})
    (link,) = links_of(server)
    path_of(server, link).write_bytes(b"x" * link.size)

    assert copy() == 1

    assert stored(s3, bucket) == {}
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_another_file_at_the_destination_is_a_finding_and_left_alone(
    server: Server, copy: Copy, s3: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.as_user().upload(content=b"hello")
    (link,) = links_of(server)
    s3.put_object(Bucket=bucket, Key=link.key, Body=b"somebody else's")

    assert copy() == 1

    assert "the destination has another file" in capsys.readouterr().out
    assert list(stored(s3, bucket).values()) == [b"somebody else's"]


def test_the_empty_file_that_a_killed_copy_left_in_a_directory_is_replaced(
    server: Server, copy: Copy, ini: Callable[..., str], tmp_path: Path
) -> None:
    server.as_user().upload(content=b"hello")
    (link,) = links_of(server)
    left = tmp_path / "files" / link.key
    left.parent.mkdir(parents=True)
    left.touch()
    to = ini("local.ini", {"kinto.attachment.base_path": str(tmp_path / "files")})

    assert copy(to=to) == 0

    assert left.read_bytes() == b"hello"


class Interfering(LocalFileStorage):
    """A directory where something happens just before the first file is read."""

    interfere: Callable[[], object] | None = None

    def open(self, *where: Any) -> Any:
        happens, self.interfere = self.interfere, None
        if happens:
            happens()
        return super().open(*where)


def copier(
    server: Server,
    base_path: Path,
    source: LocalFileStorage | None = None,
    found: Callable[[str, Link], object] = lambda problem, link: None,
) -> Copier:
    attachments = server.registry.attachments
    return Copier(
        rows_of(server.registry.storage),
        source or attachments.store,
        LocalFileStorage(str(base_path)),
        attachments.settings,
        jobs=4,
        found=found,
    )


@pytest.mark.parametrize("operation", ["replace", "remove", "delete"])
def test_a_file_that_goes_meanwhile_is_no_finding(
    server: Server, tmp_path: Path, operation: str
) -> None:
    client, record = server.as_user(), f"{COLLECTION}/records/r0"
    upload(server, {"old.txt": b"old"})
    store = Interfering(str(server.files))

    def interfere() -> None:
        if operation == "replace":
            client.upload(f"{record}/attachment", b"new")
        else:
            client.delete(f"{record}/attachment" if operation == "remove" else record)
        server.release()  # This runs in a thread of the copy.

    store.interfere = interfere
    report = CopyReport()

    copier(server, tmp_path / "files", store).copy(report)

    # What has replaced it may come later in the order of files, and be copied.
    assert (report.gone, report.findings, report.present) == (1, 0, 0)
    server.assert_agreement()


@pytest.mark.parametrize("error", [StoreUnavailable("no"), OSError(errno.EIO, "no")])
def test_a_file_that_a_working_store_does_not_give_out_is_a_finding(
    server: Server, tmp_path: Path, error: Exception
) -> None:
    upload(server, {"a.txt": b"a", "b.txt": b"b"})
    store, found = Interfering(str(server.files)), []

    def interfere() -> None:
        raise error

    store.interfere = interfere
    report = CopyReport()

    copier(server, tmp_path / "files", store, lambda *told: found.append(told[0])).copy(report)

    assert found == ["unreadable"]
    assert report == CopyReport(copied=1, findings=1, bytes=1)


def test_a_store_that_goes_away_ends_the_copy(server: Server, tmp_path: Path) -> None:
    upload(server, {f"{number}.txt": b"a" for number in range(10)})
    store = Interfering(str(server.files))

    def interfere() -> None:
        store.stat = no  # type: ignore[method-assign]
        no()

    def no(key: str = "") -> NoReturn:
        raise StoreUnavailable("away")

    store.interfere = interfere
    report = CopyReport()

    with pytest.raises(StoreUnavailable, match="away"):
        copier(server, tmp_path / "files", store).copy(report)

    assert list((tmp_path / "files" / ".unfinished").iterdir()) == []
    copier(server, tmp_path / "files").copy(report)
    for link in links_of(server):
        assert (tmp_path / "files" / link.key).read_bytes() == b"a"


def test_two_at_once_copy_everything_and_find_nothing(server: Server, tmp_path: Path) -> None:
    upload(server, {f"{number}.txt": b"%d" % number * 1000 for number in range(40)})
    reports = [CopyReport(), CopyReport()]

    def run(report: CopyReport) -> None:
        copier(server, tmp_path / "files").copy(report)
        server.release()

    threads = [threading.Thread(target=run, args=[report]) for report in reports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.copied + report.present for report in reports] == [40, 40]
    assert [report.findings for report in reports] == [0, 0]
    for link in links_of(server):
        assert (tmp_path / "files" / link.key).read_bytes() == path_of(server, link).read_bytes()


def fill(server: Server, number: int) -> list[Link]:
    """Many records with files, by their rows: uploading each would take minutes."""
    links = []
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
            size = len(content)
            value = {**described, "size": size, "location": f"{uri}/attachment?file={file_id}"}
            record = {"id": f"r{index}", "attachment": value}
            server.registry.storage.create(
                resource_name="record", parent_id=COLLECTION, obj=record
            )
            links.append(Link(file_id, uri, key, size=size, value=value, **described))
            server.rows().add([links[-1]])
    return sorted(links, key=lambda link: link.file_id)


def digests(s3: Any, bucket: str) -> dict[str, str]:
    """The MD5 of each file in the bucket, as S3 knows it of files that came in one request."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [content for page in pages for content in page["Contents"]]
    files = [content for content in found if content["Key"] != MARK]
    return {content["Key"]: content["ETag"].strip('"') for content in files}


def wait_for(key: str, s3: Any, bucket: str, process: Any) -> None:
    """Until a file has arrived."""
    while "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix=key):
        assert process.poll() is None
        time.sleep(0.05)  # Between two looks; nothing relies on how long it is.


def test_a_copy_that_is_killed_three_times_and_run_again_is_complete(
    server: Server,
    copy: Copy,
    source: str,
    destination: str,
    s3: Any,
    bucket: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    links = fill(server, NUMBER)
    script = "import sys; from kinto_attachment.commands import main; sys.exit(main())"
    command = [str(BIN / Path(sys.executable).name), "-W", "ignore", "-c", script]
    command += ["copy", "--ini", source, "--to", destination, "--jobs", "2"]

    for fifth in (1, 2, 3):
        with started(command, tmp_path) as process:
            wait_for(links[NUMBER * fifth // 5].key, s3, bucket, process)
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
    assert len(names(s3, bucket)) < NUMBER

    assert copy("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["copied"] + told["present"] == NUMBER
    assert told["present"] >= NUMBER * 3 // 5
    sent = {k.key: md5(path_of(server, k).read_bytes()).hexdigest() for k in links}
    assert sent.items() <= digests(s3, bucket).items()
    assert main(["verify", "--ini", destination]) == 0
    # A copy that is killed while it compares the stores leaves its probe to gc.
    assert len(names(s3, bucket)) <= NUMBER + 3
    server.assert_agreement()


def test_the_same_store_is_refused_by_whatever_name_it_is_reached(
    server: Server, copy: Copy, ini: Callable[..., str], tmp_path: Path, capsys: Any
) -> None:
    upload(server, {"a.txt": b"a"})
    (tmp_path / "alias").symlink_to(str(server.files))
    to = ini("same.ini", {"kinto.attachment.base_path": str(tmp_path / "alias")})

    assert copy(to=to) == 2

    assert "name the same store" in capsys.readouterr().err
    server.assert_agreement()


def test_the_same_bucket_is_refused(
    server: Server, destination: str, s3: Any, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["copy", "--ini", destination, "--to", destination]) == 2

    assert "name the same store" in capsys.readouterr().err
    assert stored(s3, bucket) == {}


def test_another_database_is_refused(
    server: Server,
    copy: Copy,
    ini: Callable[..., str],
    postgresql: str,
    tmp_path: Path,
    capsys: Any,
) -> None:
    other = {
        "kinto.attachment.base_path": str(tmp_path / "files"),
        "kinto.storage_url": postgresql.replace("/postgres?", "/template1?"),
    }
    assert other["kinto.storage_url"] != postgresql

    assert copy(to=ini("database.ini", other)) == 2

    assert "different databases" in capsys.readouterr().err


def test_a_backend_that_cannot_read_is_refused(
    server: Server, copy: Copy, ini: Callable[..., str], tmp_path: Path, capsys: Any
) -> None:
    to = ini(
        "third.ini",
        {
            "kinto.attachment.backend": "tests.stores.third_parties.Shelf",
        },
    )

    assert copy(to=to) == 2

    assert "can't read or list files" in capsys.readouterr().err


def test_a_store_that_cannot_be_reached_is_2_and_a_sentence(
    server: Server, copy: Copy, ini: Callable[..., str], bucket: str, capsys: Any
) -> None:
    upload(server, {"a.txt": b"a"})
    with port_without_server() as url:
        assert copy(to=ini("away.ini", s3_settings(url, bucket))) == 2

    told = capsys.readouterr()
    assert "Run it again: it goes on." in told.err
    assert told.out == ""


@pytest.mark.parametrize("jobs", ["0", "51", "many"])
def test_a_number_of_jobs_that_makes_no_sense_is_2(copy: Copy, jobs: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        copy("--jobs", jobs)

    assert ended.value.code == 2
