"""``download`` of records whose ids, names and paths are chosen by somebody who means harm.

It runs where names are refused that Windows refuses. All files are kept apart, in the folder.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kinto_attachment.client import locks, naming, notes
from tests.commands import like_windows
from tests.commands.front import Reply, Seen, front
from tests.support.parts import sha256
from tests.support.processes import run

CONTENT = b"content"
PART = f".a.txt.{sha256(CONTENT)[:16]}.part"

NASTY = [
    *("../up", "../../../etc/passwd", "/etc/passwd", "..", ".", "", "/", "//", "a/.."),
    *("a/../../b", "..\\up", "C:\\x.txt", "C:x.txt", "\\\\host\\share\\x", "a:stream"),
    *("\\\\?\\C:\\x", "a\\b", "sub/a\\b"),
    *("CON", "con.txt", "NUL", "nul.tar.gz", "Aux .txt", "COM1", "com¹.txt", "LPT9.x", "CONIN$"),
    *("a.txt.", "a.txt ", "a.txt. .", " a.txt", "a.txt\u3000", "...", ". .", "x. /y. /z"),
    *("A.TXT", "a.txt", "a.TXT", "ａ.txt", "a.txt\0", "\0", "a\0b", "a\r\nb", "a\tb", "\x1b[2J"),
    *("txt\u202egnp.exe", "\u200f", "a\u200b.txt", "a\u200c.txt", "a\u2028b", "\ud800", "\ufeffa"),
    *("é", "e\u0301", "É", "ß", "ss", "ﬁ", "fi", "ı", "i", "İ"),
    *("x" * 255, "x" * 256, "x" * 5000, "日" * 255, "x" * 250 + ".jpeg", "x." + "y" * 300),
    *("/".join("x" * 100), "/".join(["y" * 255] * 20), "x" * 199 + ". y"),
    *(PART, f"{PART}/x", f"sub/{PART}", notes.NAME, f"{notes.NAME}.new", locks.NAME),
    *(f"{locks.NAME}/x", f"{notes.NAME}/x", ".hidden", "sub/.hidden/x"),
    *("a.txt/b", "a.txt/b/c", "A.txt/B", "b", "b/a.txt", "B/a.txt",),
    *("-rf", "--", "~", "~/x", "$HOME"),
    *('<script>"', "a|b", "a?b", "a*b", "`id`", "%2e%2e%2fx", "a\xa0", "\x7f", "\x85", "\x9b2J"),
]  # fmt: skip

Records = Callable[[], Iterator[dict[str, Any]]]


def record(record_id: str, filename: Any, path: Any = None) -> dict[str, Any]:
    content = record_id.encode("utf-8", "surrogatepass")
    attachment = {
        "filename": filename,
        "location": f"x/{sha256(content)}",
        "mimetype": "text/plain",
    }
    attachment |= {"size": len(content), "hash": sha256(content)}
    made = {"id": record_id, "last_modified": 1, "attachment": attachment}
    return made | ({"path": path} if path is not None else {})


def in_names() -> Iterator[dict[str, Any]]:
    return (record(f"r{number}", name) for number, name in enumerate(NASTY))


def in_paths() -> Iterator[dict[str, Any]]:
    return (record(f"r{number}", "a.txt", name) for number, name in enumerate(NASTY))


def in_ids() -> Iterator[dict[str, Any]]:
    """All files have one name, so that ids become a part of it."""
    return (record(name, "a.txt") for name in dict.fromkeys(NASTY) if name)


def that_foresee() -> Iterator[dict[str, Any]]:
    """Called like the names that others get when theirs are taken, as far as anybody may go."""
    yield record("A", "x.txt")
    yield record("B", "x.txt")
    for turn in range(3):
        made = naming.names_for({"A": "x.txt", "B": "x.txt"} | ({"C": "x-A.txt"} if turn else {}))
        yield record(f"C{turn}", made["A"])
    for number, name in enumerate(itertools.islice(naming.alternatives("x.txt", "A"), 20)):
        yield record(f"D{number}", name, f"{name}/y")


@pytest.mark.parametrize("records", [in_names, in_paths, in_ids, that_foresee])
@pytest.mark.parametrize("paths", [[], ["--path-field", "path"]], ids=["flat", "folders"])
def test_all_files_are_kept_apart_and_in_the_folder(
    records: Records, paths: list[str], tmp_path: Path
) -> None:
    made = list(records())
    contents = {sha256(one := r["id"].encode("utf-8", "surrogatepass")): one for r in made}

    def plan(seen: Seen) -> Reply:
        if seen.path == "/v1/":
            told = {"attachments": {"base_url": f"{server.origin}/files/"}}
            return Reply(200, {}, json.dumps({"capabilities": told}).encode())
        if seen.path.startswith("/files/"):
            return Reply(200, {}, contents[seen.path.rsplit("/", 1)[-1]])
        return Reply(200, {}, json.dumps({"data": made}).encode())

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(Path(like_windows.__file__).read_text())
    disk = tmp_path / "disk"
    disk.mkdir()
    env = {"PYTHONPATH": str(tmp_path / "site"), "LIKE_WINDOWS": str(disk)}
    to = disk / "one" / "two"
    with front() as server:
        server.plan = plan
        command = ["kinto-attachment", "download", "--server", server.url, "--collection", "c"]
        done = run([*command, "--to", str(to), *paths], tmp_path, env)
        again = run([*command, "--to", str(to), *paths], tmp_path, env)

    assert (done.returncode, again.returncode) == (0, 0), done.stdout + done.stderr
    found = [path for path in disk.rglob("*") if path.is_file()]
    assert sorted(path.read_bytes() for path in found) == sorted(contents.values())
    names = [path.relative_to(to).as_posix() for path in found]
    assert len({naming.key(name) for name in names}) == len(made)
    assert not any(part.startswith(".") for name in names for part in name.split("/"))
    assert again.stdout.count('"unchanged"') == len(made)
