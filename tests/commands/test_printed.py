"""What came from elsewhere is printed so that no terminal obeys to it, and no line ends early."""

import ast
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction

import kinto_attachment.commands
from kinto_attachment import keys
from kinto_attachment.commands import main, reporting
from kinto_attachment.rows.links import Link
from tests.commands.hostile import EVIL
from tests.support.parts import COLLECTION, SETTINGS, Server, postgresql_settings
from tests.support.processes import write_ini

Capsys = pytest.CaptureFixture[str]
COMMANDS = Path(kinto_attachment.commands.__file__).parent

OLD = "https://old.example.org/"

OPERATORS = [
    ["doctor", "--grace", "-60"],
    ["doctor", "--grace", "-60", "--json"],
    ["doctor", "--grace", "-60", "--repair", "dead-link", "--dry-run"],
    ["verify"],
    ["verify", "--json"],
    ["gc", "--grace", "-60"],
    ["relocate", "--from", OLD, "--to", "https://new.example.org/"],
    ["relocate", "--from", OLD, "--to", "https://new.example.org/", "--json"],
    ["copy", "--to", "to.ini"],
    ["copy", "--to", "to.ini", "--json"],
    ["claim"],
]


@pytest.fixture
def server(
    on_postgresql: Callable[..., Server],
    postgresql: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Server:
    """One with two inis, whose records, links and files have nasty texts wherever they can."""
    made = on_postgresql()
    monkeypatch.chdir(tmp_path)
    for name, folder in (("kinto.ini", made.files), ("to.ini", tmp_path / "to")):
        own = {"kinto.attachment.base_path": str(folder)}
        write_ini(tmp_path / name, {**SETTINGS, **postgresql_settings(postgresql), **own})
    uri = f"{COLLECTION}/records/r"
    made.as_user().upload(f"{uri}/attachment")
    (link,) = made.rows().of_records([uri])
    made.rows().add([nasty(link, key=EVIL), nasty(link, key=link.key)])
    where = {"resource_name": "record", "parent_id": COLLECTION}
    for record_id in ("r", "other"):
        record = {"id": record_id, "attachment": nasty(link, EVIL).value}
        write = made.registry.storage.update
        write(**where, object_id=record_id, obj=record)
    transaction.commit()
    assert made.files is not None
    (made.files / EVIL.replace("/", "")).write_bytes(b"x")
    return made


def nasty(link: Link, key: str) -> Link:
    """A link of a file that is not there."""
    value: dict[str, Any] = {**link.value, "location": OLD + EVIL, "filename": EVIL}
    return dataclasses.replace(link, key=key, file_id=keys.new_id(), value=value, filename=EVIL)


@pytest.mark.parametrize("command", OPERATORS, ids=" ".join)
def test_operators_see_nothing_raw(server: Server, command: list[str], capsys: Capsys) -> None:
    code = main([command[0], "--ini", "kinto.ini", *command[1:]])
    transaction.abort()

    captured = capsys.readouterr()
    assert code in (0, 1, 2)
    for text in (captured.out, captured.err):
        assert all(character.isprintable() for character in text.replace("\n", "")), text
    if command[0] in ("doctor", "verify", "relocate", "copy"):
        assert "evil" in captured.out


def test_a_sentence_on_stderr_is_one_line(capsys: Capsys) -> None:
    reporting.complain(EVIL)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.isprintable()


def test_commands_for_clients_print_through_the_functions_that_escape() -> None:
    for path in (COMMANDS / "clients").glob("*.py"):
        called = (n.func for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
        names = {func.id for func in called if isinstance(func, ast.Name)}
        assert "print" not in names, path
