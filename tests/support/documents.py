"""README.rst and docs/ as data: code blocks, tables, and what ini examples set."""

import re
import textwrap
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support.processes import Kinto

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.rst", *sorted((ROOT / "docs").rglob("*.rst")))
}
README = DOCUMENTS["README.rst"]
FILES = "/var/lib/kinto/files"
ALICE = ("alice", "secret")
RECORD = "/buckets/default/collections/pictures/records/first"


@dataclass(frozen=True)
class Block:
    document: str
    name: str
    language: str
    text: str


def code_blocks(document: str) -> Iterator[Block]:
    """All of one document's, whatever their indentation."""
    lines = DOCUMENTS[document].splitlines()
    for number, line in enumerate(lines):
        directive = re.fullmatch(r"( *)\.\. code-block:: (\w+)", line)
        if not directive:
            continue
        body = []
        for following in lines[number + 1 :]:
            if following.strip() and not following.startswith(f"{directive[1]}   "):
                break
            body.append(following)
        text = textwrap.dedent("\n".join(body)).strip("\n")
        name = re.match(r":name: ([\w-]+)\n\n", text)
        assert name, f"{document}, line {number + 1}: the code block has no :name:"
        yield Block(document, name[1], directive[2], text[name.end() :])


ALL_BLOCKS = [block for document in DOCUMENTS for block in code_blocks(document)]
BLOCKS = {block.name: block for block in ALL_BLOCKS}


def example(name: str) -> str:
    """The text of one code block."""
    return BLOCKS[name].text


def table(name: str) -> list[list[str]]:
    """The rows of one list-table, without the first, in plain words."""
    start = f".. list-table::\n   :name: {name}\n"
    (body,) = [text.split(start)[1] for text in DOCUMENTS.values() if start in text]
    rows = re.split(r"^   \* - ", body.split("\n\n", 2)[1], flags=re.MULTILINE)[2:]
    cells = [re.split(r"^     - ", row, flags=re.MULTILINE) for row in rows]
    return [[" ".join(cell.split()).replace("``", "`") for cell in row] for row in cells]


def ini(text: str, folder: Path) -> dict[str, str]:
    """What an ini example sets, for a server whose files are below ``folder``."""
    parser = ConfigParser(interpolation=None, default_section="")
    # Keeps the case of names, in the way that Python's documentation has it.
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    section = text if text.startswith("[") else f"[app:main]\n{text}"
    parser.read_string(section.replace(FILES, str(folder / "files")))
    return {key: value for part in parser.sections() for key, value in parser.items(part)}


def capability(kinto: Kinto) -> dict[str, Any]:
    return requests.get(f"{kinto.url}/").json()["capabilities"]["attachments"]


def put(kinto: Kinto, path: str, name: str, content: bytes = b"content") -> requests.Response:
    """A file for the record at ``path``, whose bucket and collection are made where needed."""
    bucket, collection = "/".join(path.split("/")[:3]), "/".join(path.split("/")[:5])
    for parent in (bucket, collection):
        requests.put(f"{kinto.url}{parent}", auth=ALICE).raise_for_status()
    url = f"{kinto.url}{path}/attachment?filename={name}"
    return requests.put(url, data=content, auth=ALICE)
