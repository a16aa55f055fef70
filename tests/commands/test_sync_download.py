"""``download`` from a real Kinto, over HTTP: what arrives, under which name, and from where."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment.client import naming
from kinto_attachment.client.partial_file import Damaged, PartialFile
from tests.commands.front import DROP, Front, Reply, Seen, front
from tests.commands.syncing import USER, Album, statuses, told
from tests.support.parts import sha256
from tests.support.processes import run

Capsys = pytest.CaptureFixture[str]
BIG = bytes(range(256)) * 8192
HALF = len(BIG) // 2


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "to"


@pytest.fixture
def elsewhere() -> Iterator[Front]:
    """A server of somebody else's, with one file."""
    with front() as server:
        server.plan = lambda _: Reply(200, {}, BIG)
        yield server


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def part_of(name: str, content: bytes) -> str:
    return f".{name}.{sha256(content)[:16]}.part"


def is_file(seen: Seen) -> bool:
    return "/attachment" in seen.path and seen.method == "GET"


def test_all_files_arrive_and_are_passed_over_next_time(
    album: Album, to: Path, capsys: Capsys
) -> None:
    album.put_file("a", BIG, "big.txt")
    album.put_file("b", b"", "empty.txt")

    assert album.run("download", "--to", str(to)) == 0
    assert statuses(capsys) == {"big.txt": "downloaded", "empty.txt": "downloaded"}
    assert contents(to) == {"big.txt": BIG, "empty.txt": b""}
    (to / "big.txt").write_bytes(BIG[::-1])
    album.front.seen.clear()
    assert album.run("download", "--to", str(to)) == 0

    assert statuses(capsys) == {"big.txt": "downloaded", "empty.txt": "unchanged"}
    assert contents(to) == {"big.txt": BIG, "empty.txt": b""}
    assert len([one for one in album.front.seen if is_file(one)]) == 1


def test_named_records_are_fetched_alone(album: Album, to: Path, capsys: Capsys) -> None:
    for one in ("a", "b", "123", "true"):
        album.put_file(one, one.encode(), f"{one}.txt")

    assert album.run("download", "--to", str(to), "a", "123", "true", "missing") == 1

    assert told(capsys)["missing"]["error"] == "no such record, or it has no attachment"
    assert contents(to) == {"a.txt": b"a", "123.txt": b"123", "true.txt": b"true"}


def test_more_than_a_page_of_the_listing_arrives(album: Album, to: Path) -> None:
    for number in range(105):  # A page has 100.
        album.put_record(
            f"r{number}", filename=f"{number}", size=0, hash=sha256(b""), location="x"
        )

    assert album.run("download", "--to", str(to)) == 0

    assert len(contents(to)) == 105


def test_records_that_share_a_name_each_have_their_id_in_it(album: Album, to: Path) -> None:
    album.put_file("r1", b"1", "photo.txt")
    album.put_file("r2", b"2", "PHOTO.TXT")
    album.put_file("r3", b"3", "other.txt")

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"photo-r1.txt": b"1", "PHOTO-r2.TXT": b"2", "other.txt": b"3"}


def test_no_name_leads_out_of_the_folder(album: Album, to: Path) -> None:
    for number, name in enumerate(("../up.txt", "/etc/x.txt", "..", ".hidden", "a\\b\nc.txt")):
        here = {"size": 1, "hash": sha256(b"x"), "location": f"{album.name}-{number}"}
        album.put_record(f"r{number}", filename=name, **here)
        (to / naming.safe(name)).parent.mkdir(exist_ok=True)
        (to / naming.safe(name)).write_bytes(b"x")

    assert album.run("download", "--to", str(to)) == 0  # All are there: they would be fetched so.

    assert set(contents(to)) == {"up.txt", "x.txt", "file", "_.hidden", "bc.txt"}


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("a.txt", "a.txt"),
        ("日本.txt", "日本.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        ("dots...", "dots"),
        (".bashrc", "_.bashrc"),
        ("a\x00b\x1b\x7f\ud800.txt", "ab.txt"),
        ('a<b>:"|?*.txt', "a_b______.txt"),
        ("NUL.txt", "_NUL.txt"),
        ("  a.txt ", "a.txt"),
    ],
)
def test_a_name_is_made_safe(filename: str, safe: str) -> None:
    assert naming.safe(filename) == safe


def test_a_long_name_keeps_its_extension() -> None:
    safe = naming.safe("日" * 300 + ".jpeg")

    assert safe.endswith("日.jpeg")
    assert len(safe.encode()) <= naming.MOST_BYTES


def test_no_two_records_have_one_name_however_they_are_called() -> None:
    filenames = {
        "a": "x.txt",
        "A": "X.txt",
        "b": "x-a.txt",
        "c": "e\u0301",
        "d": "É",
        "e" * 300: "",
    }

    names = naming.names_for({one: naming.safe(name) for one, name in filenames.items()})

    assert len({naming.key(name) for name in names.values()}) == len(filenames)
    assert max(len(name.encode()) for name in names.values()) <= naming.MOST_BYTES


def test_a_connection_that_breaks_is_continued_where_it_broke(album: Album, to: Path) -> None:
    album.put_file("a", BIG)
    album.front.plan = lambda seen: HALF if is_file(seen) and "Range" not in seen.headers else None

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": BIG}
    first, second = (one for one in album.front.seen if is_file(one))
    assert second.headers["Range"] == f"bytes={first.sent}-"
    assert second.headers["If-Range"] == f'"{sha256(BIG)}"'
    assert (second.status, first.sent + second.sent) == (206, len(BIG))


@pytest.mark.parametrize(
    "left", [b"x" * HALF, BIG[:-1] + b"x", b"x" * len(BIG), BIG + b"x"], ids=len
)
def test_a_damaged_part_is_begun_anew(album: Album, to: Path, left: bytes) -> None:
    album.put_file("a", BIG)
    to.mkdir()
    (to / part_of("a.txt", BIG)).write_bytes(left)

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": BIG}


def test_a_part_that_is_whole_is_not_fetched_again(album: Album, to: Path) -> None:
    album.put_file("a", BIG)
    to.mkdir()
    (to / part_of("a.txt", BIG)).write_bytes(BIG)

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": BIG}
    assert not [one for one in album.front.seen if is_file(one)]


REST = f"bytes {HALF}-{len(BIG) - 1}/{len(BIG)}"


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        pytest.param(Reply(200, {}, BIG), 1, id="whole"),
        pytest.param(Reply(416), 2, id="no range"),
        pytest.param(Reply(206, {}, BIG[:10]), 2, id="silent"),
        pytest.param(Reply(206, {"Content-Range": "bytes 0-9/20"}, BIG[:10]), 2, id="another"),
        pytest.param(
            Reply(206, {"Content-Range": REST, "Content-Encoding": "gzip"}, b"rest of a gzip"),
            2,
            id="gzip",
        ),
    ],
)
def test_a_server_that_does_not_continue_begins_anew(
    album: Album, to: Path, reply: Reply, asked: int
) -> None:
    album.put_file("a", BIG)
    to.mkdir()
    (to / part_of("a.txt", BIG)).write_bytes(BIG[:HALF])
    album.front.plan = lambda seen: reply if "Range" in seen.headers else None

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": BIG}
    assert len([one for one in album.front.seen if is_file(one)]) == asked


def test_a_file_that_does_not_end_does_not_fill_the_disk(tmp_path: Path) -> None:
    part = PartialFile(tmp_path, "a.txt", 10, sha256(b"0123456789"))

    with part.opened() as writing:
        writing.write(b"01234567")
        with pytest.raises(Damaged):
            writing.write(b"89more")

    assert part.path.read_bytes() == b"01234567"


@pytest.mark.parametrize("content", [BIG[::-1], BIG + b"more"], ids=["other", "longer"])
def test_a_file_that_is_not_what_the_record_says_fails_and_leaves_the_old_one(
    album: Album, to: Path, content: bytes, capsys: Capsys
) -> None:
    album.put_file("a", BIG)
    to.mkdir()
    (to / "a.txt").write_bytes(b"old")
    album.front.plan = lambda seen: Reply(200, {}, content) if is_file(seen) else None

    assert album.run("download", "--to", str(to)) == 1

    assert "not what the record says" in told(capsys)["a.txt"]["error"]
    assert contents(to) == {"a.txt": b"old"}
    assert len([one for one in album.front.seen if is_file(one)]) == 2


def test_a_record_that_gets_another_file_meanwhile_is_looked_up_again(
    album: Album, to: Path, capsys: Capsys
) -> None:
    for one in ("same", "renamed", "clash"):
        album.put_file(one, b"old", f"{one}.txt")
    album.put_file("other", b"other", "other.txt")
    to.mkdir()
    (to / part_of("same.txt", b"old")).write_bytes(b"ol")
    new = {"same": "same.txt", "renamed": "new.txt", "clash": "OTHER.txt"}

    def plan(seen: Seen) -> None:
        one = next((one for one in new if f"/{one}/attachment" in seen.path), None)
        if one and new[one]:
            album.put_file(one, b"new", new[one])
            new[one] = ""

    album.front.plan = plan

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {
        "same.txt": b"new",
        "new.txt": b"new",
        "OTHER-clash.txt": b"new",
        "other.txt": b"other",
    }


def test_a_record_that_is_mended_meanwhile_is_looked_up_again(album: Album, to: Path) -> None:
    album.put_record("a", filename="a.txt", hash="../../x")

    def plan(seen: Seen) -> None:
        if "/records/a?" in seen.path:
            album.put_file("a", b"content")

    album.front.plan = plan

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": b"content"}


def test_a_record_that_is_gone_meanwhile_is_no_failure(
    album: Album, to: Path, capsys: Capsys
) -> None:
    album.put_file("a", b"content")

    def plan(seen: Seen) -> None:
        if is_file(seen):
            requests.delete(album.url("a"), auth=USER).raise_for_status()

    album.front.plan = plan

    assert album.run("download", "--to", str(to)) == 0

    assert '"status": "gone"' in capsys.readouterr().out
    assert contents(to) == {}


def test_a_file_that_the_store_has_lost_fails_alone(
    album: Album, to: Path, capsys: Capsys
) -> None:
    before = album.stored()
    album.put_file("a", b"lost", "lost.txt")
    (album.stored() - before).pop().unlink()
    album.put_file("b", b"content")

    assert album.run("download", "--to", str(to)) == 1

    assert statuses(capsys) == {"lost.txt": "failed", "a.txt": "downloaded"}


def test_old_parts_go_and_other_hidden_files_stay(album: Album, to: Path) -> None:
    album.put_file("a", b"content")
    to.mkdir()
    for name in (part_of("a.txt", b"old"), ".mine", ".a.txt.part"):
        (to / name).write_bytes(b"x")

    assert album.run("download", "--to", str(to)) == 0

    assert set(contents(to)) == {"a.txt", ".mine", ".a.txt.part"}


def test_a_folder_in_a_files_place_fails_that_file(album: Album, to: Path, capsys: Capsys) -> None:
    album.put_file("a", b"content")
    (to / "a.txt").mkdir(parents=True)

    assert album.run("download", "--to", str(to)) == 1

    assert "directory" in told(capsys)["a.txt"]["error"]


def test_a_folder_that_is_none_is_2(album: Album, to: Path, capsys: Capsys) -> None:
    to.write_bytes(b"")

    assert album.run("download", "--to", str(to)) == 2

    assert "give another --to" in capsys.readouterr().err


def test_a_second_download_into_a_folder_is_refused(
    album: Album, to: Path, tmp_path: Path
) -> None:
    album.put_file("a", b"content")
    second = []

    def plan(seen: Seen) -> None:
        if is_file(seen):
            second.append(run([*album.command("download"), "--to", str(to)], tmp_path))

    album.front.plan = plan

    assert album.run("download", "--to", str(to)) == 0

    assert [done.returncode for done in second] == [2]
    assert "Another download into" in second[0].stderr


def test_a_location_elsewhere_is_read_without_credentials(
    album: Album, to: Path, elsewhere: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login alice password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    here = {"size": len(BIG), "hash": sha256(BIG), "filename": "a.txt"}
    album.put_record("a", location=f"{elsewhere.origin}/v1/file", **here)
    to.mkdir()
    (to / part_of("a.txt", BIG)).write_bytes(b"x")

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": BIG}
    (seen,) = elsewhere.seen
    assert "Authorization" not in seen.headers
    assert seen.headers["Range"] == "bytes=1-"
    assert "If-Range" not in seen.headers  # Their ETags are none of our business.


def test_a_redirect_elsewhere_is_followed_without_credentials(
    album: Album, to: Path, elsewhere: Front
) -> None:
    album.put_file("a", BIG)
    there = Reply(302, {"Location": f"{elsewhere.origin}/v1/file?signature=1"})
    album.front.plan = lambda seen: there if is_file(seen) else None

    assert album.run("download", "--to", str(to)) == 0

    assert contents(to) == {"a.txt": BIG}
    (asked,) = [one for one in album.front.seen if is_file(one)]
    assert "Authorization" in asked.headers
    assert "Authorization" not in elsewhere.seen[0].headers


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(302, {"Location": "/v1/again"}), "there is no end of redirects"),
        (Reply(401), "no password was sent to"),
    ],
)
def test_what_goes_wrong_elsewhere_is_told_without_the_signature(
    album: Album, to: Path, elsewhere: Front, reply: Reply, sentence: str, capsys: Any
) -> None:
    here = {"size": 1, "hash": sha256(b"x"), "filename": "a.txt"}
    album.put_record("a", location=f"{elsewhere.origin}/file?signature=1", **here)
    elsewhere.plan = lambda _: reply

    assert album.run("download", "--to", str(to)) == 1

    error = told(capsys)["a.txt"]["error"]
    assert sentence in error
    assert "signature" not in error


@pytest.mark.parametrize(
    "wrong",
    [
        {"hash": "../../x"},
        {"hash": None},
        {"size": "1"},
        {"location": None},
        {"location": "file:/"},
    ],
)
def test_an_attachment_that_was_written_by_hand_fails_that_file(
    album: Album, to: Path, wrong: dict[str, Any], capsys: Capsys
) -> None:
    right = {"size": 1, "hash": sha256(b"x"), "filename": "a.txt", "location": "x"}
    album.put_record("a", **{**right, **wrong})
    album.put_file("b", b"content", "b.txt")

    assert album.run("download", "--to", str(to)) == 1

    assert statuses(capsys) == {"a.txt": "failed", "b.txt": "downloaded"}
    assert "b.txt" in contents(to)
    assert "a.txt" not in contents(to)


def test_a_server_that_goes_away_ends_the_run_with_2_and_it_goes_on_later(
    album: Album, to: Path, capsys: Capsys
) -> None:
    for number in range(10):
        album.put_file(f"r{number}", BIG, f"{number}.txt")

    def plan(seen: Seen) -> str | None:
        return DROP if len([one for one in album.front.seen if is_file(one)]) > 4 else None

    album.front.plan = plan
    assert album.run("download", "--to", str(to), "--retries", "0", "--jobs", "1") == 2
    assert "Run it again" in capsys.readouterr().err
    album.front.plan = lambda _: None

    assert album.run("download", "--to", str(to)) == 0

    assert sorted(statuses(capsys).values()) == ["downloaded"] * 6 + ["unchanged"] * 4
    assert contents(to) == {f"{number}.txt": BIG for number in range(10)}
