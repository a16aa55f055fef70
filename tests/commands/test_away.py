"""Operators' commands where something is away: 2, one sentence on stderr, and nothing else."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import transaction
from kinto.core.utils import sqlalchemy

from kinto_attachment.commands import main
from tests.support import storage_parts
from tests.support.parts import COLLECTION, SETTINGS, Server, postgresql_settings
from tests.support.processes import run, write_ini
from tests.support.storage_parts import Gate

COMMANDS = {
    "gc": ["gc"],
    "gc --delete": ["gc", "--delete"],
    "doctor": ["doctor"],
    "doctor --repair": ["doctor", "--repair", "dead-link"],
    "verify": ["verify"],
    "claim": ["claim"],
    "copy": ["copy", "--to", "other.ini"],
    "relocate": ["relocate", "--from", "", "--to", "https://cdn.example.org/"],
    "relocate --apply": ["relocate", "--from", "", "--to", "https://cdn.example.org/", "--apply"],
}


class Place(NamedTuple):
    """A server with three files, and the inis of the commands."""

    server: Server
    folder: Path
    settings: dict[str, Any]

    def ini(self, name: str = "kinto.ini", **more: Any) -> str:
        found = {**self.settings, **more}
        given = {key: value for key, value in found.items() if value is not None}
        return str(write_ini(self.folder / name, given))

    def run(self, command: str, ini: str) -> int | str | None:
        """The exit code, as a shell would have it."""
        arguments = [str(self.folder / a) if a == "other.ini" else a for a in COMMANDS[command]]
        try:
            return main([*arguments, "--ini", ini])
        except SystemExit as ended:
            return ended.code


@pytest.fixture
def place(
    on_postgresql: Callable[..., Server],
    postgresql: str,
    local_store: dict[str, Any],
    tmp_path: Path,
) -> Place:
    server = on_postgresql()
    for number in range(3):
        server.as_user().upload(f"{COLLECTION}/records/r{number}/attachment", status=201)
    transaction.abort()
    base_url = {"kinto.attachment.base_url": "https://cdn.example.org/"}
    settings = {**SETTINGS, **postgresql_settings(postgresql), **local_store, **base_url}
    made = Place(server, tmp_path, settings)
    made.ini("other.ini", **{"kinto.attachment.base_path": str(tmp_path / "other")})
    return made


def refused_database(place: Place, _: Any) -> Iterator[str]:
    with storage_parts.port_without_server() as url:
        away = url.replace("http://", "postgresql://u:pa55word@") + "/kinto"
        other = {"kinto.attachment.base_path": str(place.folder / "other")}
        place.ini("other.ini", **postgresql_settings(away), **other)
        yield place.ini(**postgresql_settings(away))


def database_that_goes(place: Place, _: Any) -> Iterator[str]:
    """Its connection is closed by the server as soon as a statement about attachments comes."""
    other = sqlalchemy.create_engine(
        place.settings["kinto.storage_url"].replace("postgresql://", "postgresql+psycopg2://")
    )

    def kill(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "objects" in statement or "identifier" in statement:
            pid = cursor.connection.info.backend_pid
            with other.connect() as killer:
                killer.execute(sqlalchemy.text(f"SELECT pg_terminate_backend({pid}, 5000)"))

    events = (sqlalchemy.engine.Engine, "before_cursor_execute", kill)
    ini = place.ini()
    with other.connect():  # Its own first statements are not counted.
        pass
    sqlalchemy.event.listen(*events)
    try:
        yield ini
    finally:
        sqlalchemy.event.remove(*events)
        other.dispose()


def unmounted_store(place: Place, _: Any) -> Iterator[str]:
    empty = place.folder / "empty"
    empty.mkdir()
    yield place.ini(**{"kinto.attachment.base_path": str(empty)})
    assert list(empty.iterdir()) == []


def missing_store(place: Place, _: Any) -> Iterator[str]:
    yield place.ini(**{"kinto.attachment.base_path": str(place.folder / "gone" / "files")})
    assert not (place.folder / "gone").exists()


def broken_store(place: Place, _: Any) -> Iterator[str]:
    """An error of the disk's: the mark is a folder, which can't be read as a file."""
    files = place.folder / "broken"
    (files / ".kinto-attachment-mark").mkdir(parents=True)
    yield place.ini(**{"kinto.attachment.base_path": str(files)})


def refused_s3(place: Place, _: Any) -> Iterator[str]:
    with storage_parts.port_without_server() as url:
        yield place.ini(**storage_parts.s3_settings(url, "bucket", **{"aws.num_retries": "0"}))


def silent_s3(place: Place, _: Any) -> Iterator[str]:
    with storage_parts.server_that_never_answers() as url:
        yield place.ini(**storage_parts.s3_settings(url, "bucket", store_timeout="0.2"))


def forbidding_s3(place: Place, request: Any) -> Iterator[str]:
    url, gate = request.getfixturevalue("gated_s3")
    gate.answer = lambda *_: (403, "AccessDenied")
    yield place.ini(**storage_parts.s3_settings(url, "bucket", **{"aws.num_retries": "0"}))


def no_ini(place: Place, _: Any) -> Iterator[str]:
    yield str(place.folder / "none.ini")


def folder_as_ini(place: Place, _: Any) -> Iterator[str]:
    yield str(place.folder)


def no_ini_at_all(place: Place, _: Any) -> Iterator[str]:
    path = place.folder / "notes.ini"
    path.write_text("kinto.storage_url postgresql\n")
    yield str(path)


def binary_ini(place: Place, _: Any) -> Iterator[str]:
    path = place.folder / "kinto.ini"
    path.write_bytes(b"\x89PNG\xff\x00")
    yield str(path)


def misspelt_setting(place: Place, _: Any) -> Iterator[str]:
    yield place.ini(**{"kinto.attachment.base_paht": "/tmp"})


def misspelt_include(place: Place, _: Any) -> Iterator[str]:
    yield place.ini(**{"kinto.includes": "kinto_atachment"})


def without_the_plugin(place: Place, _: Any) -> Iterator[str]:
    yield place.ini(**{"kinto.includes": "kinto.plugins.history"})


def percent_sign(place: Place, _: Any) -> Iterator[str]:
    path = Path(place.ini())
    path.write_text(path.read_text() + "kinto.userid_hmac_secret = 50%\n")
    yield str(path)


Away = Callable[[Place, Any], Iterator[str]]

AWAY: dict[Away, str] = {
    refused_database: "The database failed",
    database_that_goes: "The database failed",
    unmounted_store: "the store has none of them",
    missing_store: "the store has none of them",
    broken_store: "The store failed",
    refused_s3: "The store failed",
    silent_s3: "did not answer within 2.4 seconds",
    forbidding_s3: "S3 answered 403 AccessDenied",
    no_ini: "does not exist",
    folder_as_ini: "can't be read",
    no_ini_at_all: "can't be used",
    binary_ini: "can't be read",
    misspelt_setting: "write kinto.attachment.base_path",
    misspelt_include: "kinto_atachment",
    without_the_plugin: "does not include kinto_attachment",
    percent_sign: "can't be used",
}

WITHOUT_THE_STORE = {"relocate"}
"""A dry run that looks at rows alone."""
MARKS = {("claim", unmounted_store), ("claim", missing_store)}
"""It is there to say that the store is right, whatever it has."""

PAIRS = [
    (command, away)
    for command in COMMANDS
    for away in AWAY
    if (command, away) not in MARKS
    and not (command in WITHOUT_THE_STORE and away.__name__.endswith(("store", "s3")))
]


@pytest.fixture(scope="module")
def gated_s3() -> Iterator[tuple[str, Gate]]:
    with storage_parts.gated_moto() as found:
        yield found


@pytest.mark.parametrize(
    ("command", "away"), PAIRS, ids=[f"{command}-{away.__name__}" for command, away in PAIRS]
)
def test_it_is_2_and_one_sentence(
    command: str,
    away: Away,
    place: Place,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with contextlib.contextmanager(away)(place, request) as ini:
        transaction.abort()
        place.server.release()
        capsys.readouterr()
        code = place.run(command, ini)

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert AWAY[away] in told.err
    assert "Traceback" not in told.err
    assert len(told.err.strip().splitlines()) == 1
    assert "pa55word" not in told.err
    place.server.assert_agreement()


WITHOUT_RIGHTS = """
import ctypes, os, sys
for right in (1, 2):  # Root may read and write what it likes by these two: CAP_DAC_*.
    ctypes.CDLL(None).prctl(24, right, 0, 0, 0)  # PR_CAPBSET_DROP
program = "import sys; from kinto_attachment.commands import main; sys.exit(main())"
os.execv(sys.executable, [sys.executable, "-c", program, *sys.argv[1:]])
"""


@pytest.mark.parametrize("unreadable", ["the store", "the ini"])
@pytest.mark.parametrize("command", ["gc"])
def test_without_permission_it_is_2_and_one_sentence(
    place: Place, command: str, unreadable: str
) -> None:
    ini = place.ini()
    forbidden = place.server.files if unreadable == "the store" else Path(ini)
    assert forbidden is not None
    mode = forbidden.stat().st_mode
    forbidden.chmod(0)
    try:
        done = run(
            [sys.executable, "-c", WITHOUT_RIGHTS, command, "--ini", ini],
            place.folder,
            {"PYTHONWARNINGS": ""},
        )
    finally:
        forbidden.chmod(mode)

    assert (done.returncode, done.stdout) == (2, "")
    assert "Permission denied" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    place.server.assert_agreement()
