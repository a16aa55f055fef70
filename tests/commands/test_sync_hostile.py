"""The commands for clients against a server that says whatever it likes.

However it answers: they end by themselves with an exit code that tells the truth, they print no
character that a terminal obeys to, they write nothing outside their folder, and their password
goes nowhere else.
"""

import gzip
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kinto_attachment.client import notes
from kinto_attachment.commands import main
from tests.commands.front import Front, Reply, front
from tests.commands.hostile import CONTENT, EVIL, Answer, Hostile, as_json, hostile, record
from tests.support.parts import sha256
from tests.support.processes import run as process

Capsys = pytest.CaptureFixture[str]
OK, SOME_FAILED, UNUSABLE = 0, 1, 2
MOST_SHOWN = 5000
"""Characters of a line on stderr."""

COMMANDS = {
    "ls": ["ls"],
    "ls --json": ["ls", "--json"],
    "download": ["download", "--to", "to"],
    "download --records": ["download", "--to", "to", "--records", "--path-field", "path"],
    "download a": ["download", "--to", "to", "a"],
    "upload": ["upload", "files", "--path-field", "path"],
    "upload --records": ["upload", "noted", "--records"],
    "delete": ["delete", "a"],
    "delete --records": ["delete", "a", "--records"],
}
MIB = b" " * 2**20


@dataclass(frozen=True)
class Endless:
    """The blocks of a body that has no end."""

    start: bytes

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain([self.start], itertools.repeat(MIB))


def endless(start: bytes = b"", status: int = 200) -> Answer:
    return Answer(status, Endless(start))


def bomb() -> Answer:
    """A few KiB that unpack to more than anybody wants to have in memory."""
    packed = gzip.compress(b"[" + b" " * 2**27)
    return Answer(body=(packed,), headers={"Content-Encoding": "gzip"})


def listing(*records: object, following: str = "") -> Answer:
    """:param following: URL of the next page."""
    more = {"Next_Page": following} if following else {}
    return as_json({"data": list(records)}, 200, **more)


DEEP = b"[" * 100_000

# What the server says, for what it is asked.
SAID: dict[str, dict[str, Answer]] = {
    "ids": {"list": listing(record(EVIL), record("../../up"), record("a\0b"), record("x" * 5000))},
    "names": {"list": listing(record(filename=EVIL, mimetype=EVIL, hash=EVIL))},
    "paths": {"list": listing({**record(), "path": f"../{EVIL}/../../x"})},
    "no names": {"list": listing(record(filename=None), record("b", filename={"x": [EVIL]}))},
    "locations": {
        "record": as_json({}, 403),
        "list": listing(
            *(
                record(f"r{number}", filename=f"{number}", location=location)
                for number, location in enumerate(
                    (
                        "http://[",
                        "http://\0",
                        EVIL,
                        "file:///etc/passwd",
                        "//",
                        "http://",
                        "\ud800",
                    )
                )
            )
        ),
    },
    "sizes": {
        "record": as_json({}, 403),
        "list": listing(
            *(record(f"r{n}", size=n) for n in (-1, 2**62, 10**400, 1e308, True, "7", None))
        ),
    },
    "no ids": {"list": listing({"last_modified": 1})},
    "ids that are numbers": {"list": listing(record(1))},
    "no records": {"list": listing(1, None, EVIL)},
    "a record for a list": {"list": as_json({"data": record()})},
    "no data": {"list": as_json([EVIL])},
    "deep lists": {"list": as_json(DEEP)},
    "deep roots": {"root": as_json(DEEP)},
    "other look-ups": {"look-up": listing(record("b"), record(EVIL))},
    "moments that are text": {"look-up": listing({**record(), "last_modified": EVIL})},
    "no JSON": {"list": Answer(body=(EVIL.encode(),))},
    "no attachments": {"root": as_json({"capabilities": {"attachments": EVIL}})},
    "no root": {"root": as_json({"capabilities": [EVIL]})},
    "a refused root": {"root": as_json({"message": EVIL}, 403)},
    "a busy root": {"root": as_json({"message": EVIL}, 503, Retry_After=EVIL[4:6])},
    "refused lists": {"list": as_json({"message": EVIL}, 400)},
    "refused files": {"file": as_json({"message": [EVIL]}, 403)},
    "refused changes": {
        what: as_json({"message": EVIL * 10_000}, 400) for what in ("post", "put", "delete")
    },
    "refused at look-up": {"look-up": as_json({"message": EVIL}, 500)},
    "moments to come back": {
        "file": as_json({}, 503, Retry_After="Mon, 01 Jan 0001 00:00:00 -0000")
    },
    "pauses": {"root": as_json({"capabilities": {"attachments": {}}}, Backoff="9" * 5000)},
    "alerts": {"root": as_json({"capabilities": {"attachments": {}}}, Alert="\x1b[2J")},
    "reasons": {"list": Answer(line=b"HTTP/1.1 400 \x1b[2J\x9b\x07\r\n", body=(b"x",))},
    "first lines": {"list": Answer(line=b"\x1b[2J\r\n")},
    "pages that go round": {"list": listing(record(), following="/v1/x/records?_token=1")},
    "empty pages": {"list": listing(following="/v1/x/records?_token=1")},
    "pages that are no URL": {"list": listing(record(), following="http://[")},
    "endless roots": {"root": endless()},
    "endless lists": {"list": endless(b'{"data": ["')},
    "endless look-ups": {"look-up": endless(b'{"data": ["')},
    "endless errors": {"list": endless(status=400)},
    "endless refusals": {what: endless(status=400) for what in ("post", "put", "delete", "file")},
    "endless answers": {what: endless(status=201) for what in ("post", "put")},
    "endless files": {"file": endless(CONTENT)},
    "packed lists": {"list": bomb()},
    "files that are too long": {"file": Answer(body=(CONTENT + b"more",))},
    "files that are too short": {"file": Answer(body=(CONTENT[:-1],))},
    "other files": {"file": Answer(body=(CONTENT[::-1],))},
    "files that break off": {"file": Answer(body=(CONTENT[:-1],), length="99")},
    "files of no length": {"file": Answer(body=(CONTENT[:-1],), length="-7")},
    "lists that break off": {"list": Answer(body=(b'{"data": []}',), length="99")},
    "no file": {"file": Answer(204, ())},
    "not modified": {"file": Answer(304, ())},
    "ranges": {"file": Answer(206, (CONTENT,), {"Content-Range": EVIL[4:6]})},
    "redirects to disk": {"file": Answer(302, (), {"Location": "file:///etc/passwd"})},
    "redirects to no URL": {"file": Answer(302, (), {"Location": "http://["})},
    "redirects of lists": {"list": Answer(307, (), {"Location": "/elsewhere"})},
    "redirects of uploads": {"post": Answer(307, (), {"Location": "/\x1b[2J"})},
    "another's answers": {"post": as_json(record(hash="0")["attachment"])},
    "uploads of nothing": {"post": as_json([EVIL])},
    "changes of nothing": {"put": as_json({"data": EVIL})},
}

ASKED = {
    "ls": {"root", "list"},
    "download": {"root", "list", "record", "file"},
    "download a": {"root", "look-up", "record", "file"},
    "upload": {"root", "look-up", "post", "put"},
    "delete": {"root", "look-up", "delete"},
}
"""What the commands ask for."""

PAIRS = [
    (said, command)
    for said, answers in SAID.items()
    for command in COMMANDS
    if answers.keys() & ASKED[command if command in ASKED else command.split()[0]]
    # The root is asked for in the same way, whatever the options.
    and (command in ASKED or answers.keys() != {"root"})
]

CODES = {
    # What is harmless, once it has been made safe.
    **{said: {"ls": OK, "download": OK} for said in ("ids", "names", "paths", "no names")},
    # Whoever asks for nothing more, has all that there is.
    **{
        said: {"ls": OK, "download": SOME_FAILED, "download a": OK}
        for said in ("locations", "sizes")
    },
    "alerts": {"ls": OK, "download": SOME_FAILED, "upload": OK, "delete": OK},
    "other look-ups": {"download": SOME_FAILED, "upload": OK, "delete": OK},
}


def code_for(said: str, command: str) -> int:
    """The exit code that tells the truth."""
    unusable = SAID[said].keys() & {"root", "list", "look-up"}
    known = CODES.get(said, {})
    name = command.split(maxsplit=1)[0]
    return known.get(command, known.get(name, UNUSABLE if unusable else SOME_FAILED))


@pytest.fixture
def server() -> Iterator[Hostile]:
    with hostile() as made:
        yield made


@pytest.fixture
def elsewhere() -> Iterator[Front]:
    """Another machine."""
    with front() as other:
        other.plan = lambda _: Reply(200, {}, CONTENT)
        yield other


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands are typed: it has files to send."""
    made = tmp_path / "home"
    for name in ("a", "b"):
        path = made / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    noted = made / "noted"
    (noted / "sub").mkdir(parents=True)
    (noted / "sub" / "a.txt").write_bytes(CONTENT)
    bare = {"id": "c", "last_modified": 1, "title": "x"}
    notes.write(noted, [("sub/a.txt", record("b")), (None, bare)])
    monkeypatch.chdir(made)
    return made


def around(home: Path) -> dict[str, bytes]:
    """What is on the disk, but for the folder that downloads go to."""
    root = home.parent
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {str(p): (root / p).read_bytes() for p in paths if p.parts[1:2] != ("to",)}


def run(server: Hostile, command: str) -> int:
    options = ["--server", server.url, "--collection", "c", "--retries", "0"]
    return main([*COMMANDS[command], *options, "--auth", "alice:secret"])


def is_plain(text: str) -> bool:
    return all(character.isprintable() for character in text.replace("\n", ""))


@pytest.mark.parametrize(("said", "command"), PAIRS)
def test_whatever_it_says_the_command_ends_in_order(
    server: Hostile, home: Path, said: str, command: str, capsys: Capsys
) -> None:
    server.says = SAID[said]
    before = around(home)

    code = run(server, command)

    captured = capsys.readouterr()
    assert code == code_for(said, command), captured
    # Tabs are between the columns.
    assert is_plain(captured.out.replace("\t", "") if command == "ls" else captured.out)
    assert is_plain(captured.err)
    assert max(map(len, captured.err.split("\n"))) < MOST_SHOWN
    assert around(home) == before


@pytest.mark.parametrize(
    ("command", "asked"), [(one, asked) for one in ASKED for asked in sorted(ASKED[one])]
)
@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_password_follows_no_redirect(
    server: Hostile, elsewhere: Front, home: Path, status: int, asked: str, command: str
) -> None:
    to = Answer(status, (), {"Location": f"{elsewhere.url}/x"})
    server.says = {asked: to}

    code = run(server, command)

    assert [one for one in elsewhere.seen if "Authorization" in one.headers] == []
    if asked == "file":
        assert (code, (home / "to" / "a.txt").read_bytes()) == (OK, CONTENT)
    else:
        assert elsewhere.seen == []
    assert server.passwords


@pytest.mark.parametrize("path", ["/v1/../files/x", "/v1/%2e%2e/x", "/files/x", "/v10/x"])
def test_a_password_stays_below_the_servers_url(server: Hostile, home: Path, path: str) -> None:
    server.says = {"list": listing(record(location=f"{server.origin}{path}"))}

    assert run(server, "download") == OK

    assert len(server.passwords) == 2  # For the root, and for the list.


def test_a_link_in_place_of_an_unfinished_file_is_not_followed(
    server: Hostile, home: Path
) -> None:
    outside = home / "outside"
    (home / "to").mkdir()
    part = home / "to" / f".a.txt.{sha256(CONTENT)[:16]}.part"
    for link in (part.symlink_to, part.hardlink_to):
        outside.write_bytes(b"")
        link(outside)

        assert run(server, "download") == OK

        assert outside.read_bytes() == b""
        assert (home / "to" / "a.txt").read_bytes() == CONTENT
        (home / "to" / "a.txt").unlink()


def test_a_link_in_place_of_a_sub_folder_is_not_followed(
    server: Hostile, home: Path, capsys: Capsys
) -> None:
    outside = home / "outside"
    outside.mkdir()
    (home / "to").mkdir()
    (home / "to" / "sub").symlink_to(outside)

    assert run(server, "download --records") == SOME_FAILED

    assert list(outside.iterdir()) == []
    assert "leads out of to: remove that link" in capsys.readouterr().out


def test_a_link_in_place_of_the_notes_is_replaced(server: Hostile, home: Path) -> None:
    outside = home / "outside"
    outside.write_bytes(b"mine")
    (home / "to").mkdir()
    for name in (notes.NAME, f"{notes.NAME}.new"):
        (home / "to" / name).symlink_to(outside)

    assert run(server, "download --records") == OK

    assert outside.read_bytes() == b"mine"
    assert json.loads((home / "to" / notes.NAME).read_text())["record"] == record()


@pytest.mark.parametrize(
    "line",
    [
        {"file": "../outside", "record": record()},
        {"file": "/etc/passwd", "record": record()},
        {"file": "a/../../outside", "record": record()},
        {"file": "a.txt", "record": record("../x")},
        {"file": "a.txt", "record": record(EVIL)},
        {"file": "a.txt", "record": record(size=-1)},
        {"file": 1, "record": record()},
        {"file": "a.txt"},
        [],
        EVIL,
    ],
)
def test_notes_that_no_download_wrote_send_nothing(
    server: Hostile, home: Path, line: object, capsys: Capsys
) -> None:
    (home / "outside").write_bytes(CONTENT)
    (home / "noted" / notes.NAME).write_text(json.dumps(line))
    server.says = {"post": as_json({}, 500)}

    assert run(server, "upload --records") == UNUSABLE

    told = capsys.readouterr().err
    assert "is damaged" in told
    assert is_plain(told)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_the_streams_encoding_lacks_is_told_in_another_way(
    server: Hostile, home: Path, encoding: str
) -> None:
    server.says = {"list": listing(record(filename="日本.txt"))}
    options = ["--server", server.url, "--collection", "c"]

    done = process(["kinto-attachment", "ls", *options], home, {"PYTHONIOENCODING": encoding})

    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u65e5\\u672c" in done.stdout
