"""``upload``, ``delete`` and ``ls`` against a real Kinto, over HTTP."""

import contextlib
import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.auth import HTTPBasicAuth

from kinto_attachment.client.ids import QUERY_LENGTH, groups, id_for
from kinto_attachment.client.outcomes import Temporary, refusal
from kinto_attachment.client.transfers import Transfers
from kinto_attachment.commands import main
from tests.commands.front import DROP, Reply, Seen, front, once
from tests.commands.syncing import USER, Album, statuses, told
from tests.support.parts import sha256
from tests.support.processes import environment

Capsys = pytest.CaptureFixture[str]
PUBLIC = {"read": ["system.Everyone"]}
LATER = Reply(503, {"Retry-After": "0"}, b'{"message": "Come back later."}')


def is_post(seen: Seen) -> bool:
    return seen.method == "POST"


def test_files_and_folders_are_uploaded_and_told(album: Album, capsys: Capsys) -> None:
    first = album.file("first", b"1")
    folder = album.file("folder/b.txt", b"2").parent
    album.file("folder/deep/a.txt", b"3")
    album.file("folder/.hidden", b"no")
    album.file("folder/.git/config", b"no")

    assert album.run("upload", str(first), str(folder)) == 0

    lines = told(capsys)
    assert lines["first"] == {
        "file": "first",
        "id": "first",
        "status": "uploaded",
        "size": 1,
        "hash": sha256(b"1"),
    }
    assert {name: album.content(line["id"]) for name, line in lines.items()} == {
        "first": b"1",
        "b.txt": b"2",
        "deep/a.txt": b"3",
    }
    assert len(album.records()) == 3
    assert album.records()["first"]["attachment"]["filename"] == "first"


def test_what_is_there_is_not_sent_again(album: Album, capsys: Capsys) -> None:
    paths = [str(album.file(f"{number}.txt", b"%d" % number)) for number in range(60)]
    assert album.run("upload", *paths) == 0
    before = album.records()
    capsys.readouterr()
    album.front.seen.clear()

    assert album.run("upload", *paths) == 0

    assert set(statuses(capsys).values()) == {"unchanged"}
    assert album.records() == before
    # The root, and look-ups of many files at once, whose cost is not the collection's.
    assert [one.method for one in album.front.seen] == ["GET"] * len(album.front.seen)
    assert len(album.front.seen) <= 4


def test_a_file_that_differs_is_replaced_and_its_other_fields_stay(
    album: Album, capsys: Capsys
) -> None:
    same, other = album.file("same", b"1"), album.file("other", b"2")
    assert album.run("upload", str(same), str(other), "--data", '{"title": "x"}') == 0
    before, stored = album.records(), album.stored()
    capsys.readouterr()
    other.write_bytes(b"new")

    assert album.run("upload", str(same), str(other)) == 0

    assert statuses(capsys) == {"same": "unchanged", "other": "replaced"}
    after = album.records()
    assert after["same"] == before["same"]
    assert after["other"]["title"] == "x"
    assert album.content("other") == b"new"
    assert len(album.stored()) == len(stored)


def test_a_record_without_an_attachment_gets_one(album: Album, capsys: Capsys) -> None:
    requests.put(album.url("first"), json={"data": {"title": "x"}}, auth=USER).raise_for_status()

    assert album.run("upload", str(album.file("first"))) == 0

    assert statuses(capsys) == {"first": "uploaded"}
    assert album.records()["first"]["title"] == "x"


def test_data_and_permissions_go_along(album: Album) -> None:
    fields = ["--data", '{"title": "At the sea"}', "--permissions", json.dumps(PUBLIC)]

    assert album.run("upload", str(album.file("first")), *fields) == 0

    record = requests.get(album.url("first"), auth=USER).json()
    assert record["data"]["title"] == "At the sea"
    assert record["permissions"]["read"] == PUBLIC["read"]


def test_the_same_content_is_one_record_by_its_hash(album: Album, capsys: Capsys) -> None:
    folder = album.file("folder/a", b"same").parent
    for name in ("b", "c", "d/e"):
        album.file(f"folder/{name}", b"same")
    album.file("folder/other", b"other")

    assert album.run("upload", "--id", "hash", str(folder)) == 0
    assert sorted(statuses(capsys).values()) == ["unchanged"] * 3 + ["uploaded"] * 2
    assert album.run("upload", "--id", "hash", str(folder)) == 0

    assert set(statuses(capsys).values()) == {"unchanged"}
    assert set(album.records()) == {sha256(b"same"), sha256(b"other")}
    assert len(album.front.requests("POST")) == 2


def test_two_files_for_one_record_are_refused_before_anything_is_sent(
    album: Album, capsys: Capsys
) -> None:
    paths = [str(album.file(name)) for name in ("0", "x/a.txt", "y/a.txt")]

    assert album.run("upload", *paths) == 2

    assert "would have the same record" in capsys.readouterr().err
    assert album.records() == {}


@pytest.mark.parametrize(
    ("name", "arrived"),
    [
        ('a "b".txt', 'a "b".txt'),
        ("a\nb\r.txt", "ab.txt"),  # The server takes control characters out.
        ("日本.txt", "日本.txt"),
        ("ends;.txt", "ends;.txt"),
    ],
)
def test_unusual_names_arrive(album: Album, name: str, arrived: str, capsys: Capsys) -> None:
    assert album.run("upload", str(album.file(name))) == 0

    (record,) = album.records().values()
    assert record["attachment"]["filename"] == arrived
    assert told(capsys)[name]["id"] == record["id"]


def test_a_name_that_is_no_text_is_uploaded(album: Album) -> None:
    path = os.fsdecode(os.fsencode(album.file("x").parent) + b"/\xff.txt")
    Path(path).write_bytes(b"content")

    assert album.run("upload", path) == 0

    assert len(album.records()) == 1


def test_an_empty_file_is_uploaded(album: Album) -> None:
    assert album.run("upload", str(album.file("empty", b""))) == 0

    assert album.content("empty") == b""


def test_a_refused_file_fails_alone(album: Album, capsys: Capsys) -> None:
    paths = [str(album.file(name)) for name in ("a.txt", "script.exe", "b.txt")]
    bucket = f"{album.kinto.url}/buckets/strict"
    records = f"{bucket}/collections/{album.name}"
    for url in (bucket, records):
        requests.put(url, auth=USER).raise_for_status()

    assert album.run("upload", *paths, "--bucket", "strict") == 1

    captured = capsys.readouterr()
    lines = {line["file"]: line for line in map(json.loads, captured.out.splitlines())}
    assert lines["script.exe"]["status"] == "failed"
    assert "is not allowed here" in lines["script.exe"]["error"]
    assert "failed: 1, uploaded: 2" in captured.err
    assert len(requests.get(f"{records}/records", auth=USER).json()["data"]) == 2
    assert len(album.front.requests("POST", "script")) == 1


def test_a_file_that_cannot_be_read_fails_alone(album: Album, capsys: Capsys) -> None:
    folder = album.file("folder/a.txt").parent
    (folder / "gone.txt").write_bytes(b"")

    def plan(seen: Seen) -> None:
        if "in_id" in seen.path:
            (folder / "gone.txt").unlink()

    album.front.plan = plan

    assert album.run("upload", str(folder)) == 1

    assert statuses(capsys) == {"a.txt": "uploaded", "gone.txt": "failed"}


def test_a_file_that_does_not_exist_is_2(album: Album, capsys: Capsys) -> None:
    assert album.run("upload", str(album.file("a.txt")), "missing.txt") == 2

    assert "missing.txt can't be read" in capsys.readouterr().err
    assert album.records() == {}


def test_a_busy_server_is_asked_again(album: Album, capsys: Capsys) -> None:
    album.front.plan = once(lambda _: True, LATER, LATER, LATER)
    assert album.run("upload", str(album.file("a"))) == 0
    album.front.plan = once(is_post, LATER, LATER)

    assert album.run("upload", str(album.file("b"))) == 0

    assert album.content("b") == b"content"
    assert len(album.front.requests("POST", "/b/")) == 3


def test_a_server_that_stays_busy_fails_the_file(album: Album, capsys: Capsys) -> None:
    album.front.plan = lambda seen: LATER if "/bad/" in seen.path else None
    paths = [str(album.file(name)) for name in ("bad", "good")]

    assert album.run("upload", *paths, "--retries", "2") == 1

    lines = told(capsys)
    assert lines["bad"]["error"] == "the server says 503: Come back later."
    assert lines["good"]["status"] == "uploaded"
    assert len(album.front.requests("POST", "/bad/")) == 3


def test_what_arrived_is_not_sent_again_when_the_answer_is_lost(
    album: Album, capsys: Capsys
) -> None:
    album.front.plan = once(is_post, DROP)

    assert album.run("upload", str(album.file("first"))) == 0

    assert statuses(capsys) == {"first": "uploaded"}
    assert len(album.front.requests("POST")) == 1
    assert album.content("first") == b"content"


@pytest.mark.parametrize(
    ("theirs", "status", "posts"), [(b"theirs", "replaced", 2), (b"mine", "unchanged", 1)]
)
@pytest.mark.parametrize("existed", [True, False])
def test_a_record_that_changes_after_the_look_up_is_looked_up_again(
    album: Album, existed: bool, theirs: bytes, status: str, posts: int, capsys: Capsys
) -> None:
    if existed:
        album.put_file("first", b"old")

    def plan(seen: Seen) -> None:
        if is_post(seen) and len(album.front.requests("POST")) == 1:
            album.put_file("first", theirs)

    album.front.plan = plan

    assert album.run("upload", str(album.file("first", b"mine"))) == 0

    assert statuses(capsys) == {"first": status}
    assert [one.status for one in album.front.requests("POST")] == [412, 200][:posts]
    assert album.content("first") == b"mine"


@pytest.mark.parametrize("now", [b"changed", b"less", b"much more than it was"])
def test_a_file_that_changes_while_it_is_sent_is_sent_as_it_is_then(
    album: Album, now: bytes, capsys: Capsys
) -> None:
    path = album.file("first", b"content")

    def plan(seen: Seen) -> Reply | None:
        if is_post(seen) and len(album.front.requests("POST")) == 1:
            path.write_bytes(now)
            return LATER
        return None

    album.front.plan = plan

    assert album.run("upload", str(path)) == 0

    assert told(capsys)["first"]["hash"] == sha256(now)
    assert album.content("first") == now


def test_a_file_that_does_not_stop_changing_fails(album: Album, capsys: Capsys) -> None:
    path = album.file("first", b"content")

    def plan(seen: Seen) -> Reply | None:
        count = len(album.front.requests("POST"))
        if is_post(seen) and count % 2:
            path.write_bytes(b"changed%d" % count)
            return LATER
        return None

    album.front.plan = plan

    assert album.run("upload", str(path)) == 1

    assert "changes while it is sent" in told(capsys)["first"]["error"]
    assert album.records() == {}


def test_a_server_that_goes_away_ends_the_run_with_2(album: Album, capsys: Capsys) -> None:
    def plan(seen: Seen) -> str | None:
        return DROP if album.front.requests("POST") else None

    album.front.plan = plan
    paths = [str(album.file(f"f{number}")) for number in range(20)]

    assert album.run("upload", *paths, "--retries", "0") == 2

    assert "Run it again" in capsys.readouterr().err
    album.front.plan = lambda _: None
    assert album.run("upload", *paths) == 0
    assert len(album.records()) == 20


@pytest.mark.parametrize("command", ["upload", "download", "delete", "ls"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bucket", "nobodys"], "or there is no such bucket"),
        (["--bucket", "mine", "--collection", "missing"], "there is no such collection"),
        (["--bucket", "mine", "--auth", "alice:wrong"], "these credentials may not read it"),
        (["--auth", ""], "a name and password, or a token, is wanted here"),
        (["--auth", "Bearer secret-token"], "a name and password, or a token, is wanted here"),
        (["--auth", "alice"], "--auth has no password"),
        (["--auth", "Bearer secret-tökén"], "copy it again"),
        (["--auth", "Bearer secret\n-token"], "copy it again"),
    ],
)
def test_what_is_not_there_or_not_allowed_is_2_and_a_sentence(
    album: Album, command: str, options: list[str], sentence: str, capsys: Capsys
) -> None:
    bucket = f"{album.kinto.url}/buckets/mine"
    for url in (bucket, f"{bucket}/collections/{album.name}"):
        requests.put(url, auth=USER).raise_for_status()
    arguments = {
        "upload": [str(album.file("first"))],
        "download": ["--to", str(album.folder / "to")],
        "delete": ["first"],
        "ls": [],
    }

    stored = album.stored()

    assert album.run(command, *arguments[command], *options) == 2

    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""
    assert not any(word in captured.err for word in ("secret", "wrong", "Traceback"))
    assert album.stored() == stored
    assert not (album.folder / "to").exists()


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (Reply(200, {}, b"<html>"), "is not a Kinto server (the answer is no JSON)"),
        (Reply(200, {}, b"[]"), "is not a Kinto server"),
        (Reply(307, {"Location": "/v1/"}, b""), "write the URL with its version"),
        (Reply(404), "is not a Kinto server (the server says 404"),
        (Reply(200, {}, b'{"capabilities": {}}'), "has no kinto-attachment: install it there"),
        (LATER, "can't be reached: the server says 503: Come back later."),
    ],
)
def test_what_is_no_kinto_with_attachments_is_2(reply: Reply, sentence: str, capsys: Any) -> None:
    with front() as fake:
        fake.plan = lambda _: reply

        assert main(["ls", "--server", fake.url, "--collection", "x", "--retries", "1"]) == 2

    assert sentence in capsys.readouterr().err


def test_a_server_that_cannot_be_reached_is_2(capsys: Capsys) -> None:
    with front() as fake:
        url = fake.url

    assert main(["ls", "--server", url, "--collection", "x", "--retries", "0"]) == 2

    assert "can't be reached: the connection failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--server", "kinto.example.org"],
        ["--server", "http://alice:secret@kinto.example.org/v1"],
        ["--bucket", "a/b"],
        ["--retries", "-1"],
        ["--data", "[]"],
        ["--permissions", "{"],
    ],
)
def test_wrong_arguments_are_2(album: Album, wrong: list[str], capsys: Capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["upload", str(album.file("first")), *album.options, *wrong])

    assert ended.value.code == 2
    assert "secret" not in capsys.readouterr().err
    assert album.records() == {}


def test_the_password_may_come_from_the_environment(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KINTO_ATTACHMENT_AUTH", "alice:secret")
    options = ["--server", album.front.url, "--collection", album.name]

    assert main(["upload", str(album.file("first")), *options]) == 0

    assert set(album.records()) == {"first"}


def test_a_password_is_sent_as_utf_8(album: Album) -> None:
    auth = ("zoë", "пароль")
    options = ["--server", album.front.url, "--collection", album.name, "--auth", ":".join(auth)]

    assert main(["upload", str(album.file("first")), *options]) == 0

    pair = HTTPBasicAuth(*(text.encode() for text in auth))
    assert requests.get(album.url("first"), auth=pair).status_code == 200


class Terminal:
    """A command at one, to its end; ``typed`` is what its user answers to a question."""

    def __init__(self, command: list[str], folder: Path, typed: str = "") -> None:
        self.shown = ""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        # Not the terminal of whoever runs the tests.
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(folder, {}),
            start_new_session=True,
        )
        os.close(theirs)
        with contextlib.suppress(OSError):  # Linux says so that nobody is there any more.
            while block := os.read(ours, 65536):
                self.shown += block.decode()
                if typed and self.shown.endswith(": "):
                    os.write(ours, typed.encode())
                    typed = ""
        os.close(ours)
        self.code = process.wait(60)


def test_a_terminal_shows_a_bar_and_problems_alone(album: Album, tmp_path: Path) -> None:
    album.file("good", b"content")
    album.file("bad\x1b[2J", b"content")
    album.front.plan = once(lambda seen: is_post(seen) and "bad" in seen.path, Reply(400))

    terminal = Terminal([*album.command("upload"), str(album.folder)], tmp_path)

    assert terminal.code == 1
    assert "bad\\x1b[2J: the server says 400" in terminal.shown
    assert "\x1b[2J" not in terminal.shown
    assert "%|" in terminal.shown
    assert "failed: 1, uploaded: 1" in terminal.shown
    assert '"status"' not in terminal.shown


def test_a_terminal_shows_lines_where_json_is_wanted(album: Album, tmp_path: Path) -> None:
    command = [*album.command("upload"), "--json", str(album.file("good"))]

    terminal = Terminal(command, tmp_path)

    assert terminal.code == 0
    assert json.loads(terminal.shown.splitlines()[0])["status"] == "uploaded"
    assert "%|" not in terminal.shown


def test_a_terminal_is_asked_for_the_password(album: Album, tmp_path: Path) -> None:
    command = [*album.command("upload"), str(album.file("good")), "--auth", "alice"]

    terminal = Terminal(command, tmp_path, "secret\n")

    assert terminal.code == 0
    assert "Password of alice:" in terminal.shown
    assert set(album.records()) == {"good"}


def test_without_kinto_http_a_sentence_says_what_to_install(
    album: Album, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    monkeypatch.setitem(sys.modules, "kinto_http", None)

    assert album.run("ls") == 2

    assert "pip install 'kinto-attachment[sync]'" in capsys.readouterr().err


def test_attachments_are_deleted_and_a_second_time_is_no_failure(
    album: Album, capsys: Capsys
) -> None:
    before = album.stored()
    paths = [str(album.file(name)) for name in ("a", "b", "c")]
    assert album.run("upload", *paths, "--data", '{"title": "x"}') == 0
    capsys.readouterr()

    assert album.run("delete", "a", "b", "never") == 0
    assert statuses(capsys) == {"a": "deleted", "b": "deleted", "never": "gone"}
    assert album.run("delete", "a", "b", "never") == 0

    assert set(statuses(capsys).values()) == {"gone"}
    # 8.x and 9.x make a record of a deletion that finds none.
    assert len(album.front.requests("DELETE")) == 2
    records = album.records()
    assert set(records) == {"a", "b", "c"}
    assert "attachment" not in records["a"]
    assert records["a"]["title"] == "x"
    assert len(album.stored() - before) == 1


def test_records_are_deleted_with_their_files(album: Album, capsys: Capsys) -> None:
    before = album.stored()
    assert album.run("upload", str(album.file("a")), str(album.file("b"))) == 0
    capsys.readouterr()

    assert album.run("delete", "--records", "a") == 0
    assert album.run("delete", "--records", "a") == 0

    assert set(album.records()) == {"b"}
    assert len(album.stored() - before) == 1


def test_a_deletion_whose_answer_is_lost_is_done(album: Album, capsys: Capsys) -> None:
    assert album.run("upload", str(album.file("a"))) == 0
    capsys.readouterr()
    album.front.plan = once(lambda seen: seen.method == "DELETE", DROP)

    assert album.run("delete", "a") == 0

    assert "attachment" not in album.records()["a"]


def test_a_refused_deletion_fails_alone(album: Album, capsys: Capsys) -> None:
    assert album.run("upload", str(album.file("a")), str(album.file("b"))) == 0
    capsys.readouterr()
    album.front.plan = once(lambda seen: seen.method == "DELETE", Reply(403))

    assert album.run("delete", "a", "b", "--jobs", "1") == 1

    assert statuses(capsys) == {"a": "failed", "b": "deleted"}


def test_ls_has_a_line_for_each_attachment(album: Album, capsys: Capsys) -> None:
    album.put_file("b", b"content", "b.txt")
    requests.put(album.url("none"), auth=USER).raise_for_status()
    requests.put(album.url("null"), json={"data": {"attachment": None}}, auth=USER)
    album.put_record("a", filename="evil\x1b[2J\n\t\u202e.txt", size=1, hash="0", location="x")

    assert album.run("ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert album.run("ls", "--json") == 0

    assert lines == [
        "a\t1\t0\t-\tevil\\x1b[2J\\n\\t\\u202e.txt",
        f"b\t7\t{sha256(b'content')}\ttext/plain\tb.txt",
    ]
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["id"] == "a"
    assert second == {"id": "b", **album.records()["b"]["attachment"]}


def test_ls_lists_more_than_a_page(album: Album, capsys: Capsys) -> None:
    for number in range(120):  # A page has 100.
        attachment = {"filename": "x", "size": 1, "hash": "0", "location": "x"}
        album.put_record(f"r{number}", **attachment)

    assert album.run("ls") == 0

    assert len(set(capsys.readouterr().out.splitlines())) == 120


def test_a_reader_that_stops_reading_sees_no_traceback(album: Album, tmp_path: Path) -> None:
    album.put_file("a", b"content")
    read, write = os.pipe()
    os.close(read)

    done = subprocess.run(
        album.command("ls"),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path, {}),
        timeout=60,
        check=False,
    )

    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 507])
def test_these_statuses_pass_by_themselves(status: int) -> None:
    found = refusal(response(status))

    assert isinstance(found, Temporary)
    assert found.pause is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 412, 413, 415, 501])
def test_these_statuses_are_final(status: int) -> None:
    assert not isinstance(refusal(response(status)), Temporary)


@pytest.mark.parametrize(
    ("asked", "pause"),
    [("7", 7), ("0", 0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0), ("soon", None), ("-1", None)],
)
def test_the_server_says_when_to_come_back(asked: str, pause: float | None) -> None:
    found = refusal(response(503, asked))

    assert isinstance(found, Temporary)
    assert found.pause == pause


def response(status: int, retry_after: str | None = None) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    made._content = b"<html>"
    if retry_after is not None:
        made.headers["Retry-After"] = retry_after
    return made


@pytest.mark.parametrize("name", ["a", "photo-1", "A_b", "0"])
def test_a_name_that_is_an_id_is_the_id(name: str) -> None:
    assert id_for(name) == name


def test_other_names_have_ids_that_are_valid_readable_and_different() -> None:
    names = ["a.txt", "a-txt", "a/txt", "a txt", ".", "-", "", "日本", "日木", "x" * 3000 + "."]

    ids = [id_for(name) for name in names]

    assert len(set(ids)) == len(names)
    assert ids[0].startswith("a-txt-")
    assert all(id_for(one) == one and len(one) < 120 for one in ids)


def test_a_name_has_one_id_however_its_letters_are_composed() -> None:
    assert id_for("e\u0301.txt") == id_for("é.txt")


def test_look_ups_stay_short_enough_for_every_proxy() -> None:
    ids = [sha256(b"%d" % number) for number in range(100)]

    made = list(groups(ids))

    assert [one for group in made for one in group] == ids
    assert all(len("%2C".join(f"%22{one}%22" for one in group)) <= QUERY_LENGTH for group in made)


@pytest.mark.parametrize(
    ("url", "owned"),
    [
        ("https://kinto.example.org/v1/buckets/x", True),
        ("HTTPS://KINTO.example.org:443/v1/x", True),
        ("http://kinto.example.org/v1/x", False),
        ("https://kinto.example.org:8443/v1/x", False),
        ("https://kinto.example.org/v11/x", False),
        ("https://kinto.example.org/v1/../x", False),
        ("https://kinto.example.org/v1/%2e%2e/x", False),
        ("https://kinto.example.org/files/x", False),
        ("https://other.example.org/v1/x", False),
        ("https://kinto.example.org@other.example.org/v1/x", False),
        ("https://other.example.org\\@kinto.example.org/v1/x", False),
        ("file:///v1/x", False),
    ],
)
def test_credentials_go_to_urls_below_the_servers_alone(url: str, owned: bool) -> None:
    transfers = Transfers("https://kinto.example.org/v1", USER)

    assert transfers.owns(url) == owned


@pytest.mark.parametrize("arguments", [["ls"], ["download", "--to", "to"]], ids=["ls", "download"])
def test_where_nothing_is_to_be_seen_that_is_told(
    album: Album,
    capsys: Capsys,
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong password is another user's, where each has a bucket of his own."""
    monkeypatch.chdir(tmp_path)
    album.put_file("a", b"content")

    assert album.run(*arguments, "--auth", "alice:wrong") == 0

    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"the collection {album.name} of the bucket default has an attachment" in shown.err
