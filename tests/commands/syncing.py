"""A collection of a running server, and the commands that work on it."""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment.commands import main
from tests.commands.front import Front
from tests.support import processes
from tests.support.processes import Kinto

USER = ("alice", "secret")
SERVER_SETTINGS = {
    # So that records can say what only another server would let them say.
    "kinto.attachment.accept_unknown_metadata": "true",
    "kinto.attachment.extensions": "any",
    "kinto.attachment.resources.strict.extensions": "text",
    "kinto.paginate_by": "100",
}

_numbers = itertools.count()


@dataclass
class Album:
    """A collection of its own on the server, seen through a front."""

    kinto: Kinto
    front: Front
    folder: Path
    name: str = field(default_factory=lambda: f"album{next(_numbers)}")

    @property
    def options(self) -> list[str]:
        own = ["--server", self.front.url, "--collection", self.name]
        return [*own, "--auth", ":".join(USER)]

    def run(self, command: str, *arguments: str) -> int:
        return main([command, *self.options, *arguments])

    def command(self, name: str) -> list[str]:
        """For a process of its own."""
        return [str(processes.BIN / "kinto-attachment"), name, *self.options]

    def file(self, name: str, content: bytes | str = b"content") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def url(self, record_id: str = "") -> str:
        return f"{self.kinto.url}/buckets/default/collections/{self.name}/records/{record_id}"

    def records(self) -> dict[str, dict[str, Any]]:
        """All of them, by id, past the front."""
        found: dict[str, dict[str, Any]] = {}
        url = self.url().rstrip("/")
        while url:
            answer = requests.get(url, auth=USER)
            found |= {record["id"]: record for record in answer.json()["data"]}
            url = answer.headers.get("Next-Page", "")
        return found

    def put_file(self, record_id: str, content: bytes, filename: str = "a.txt") -> None:
        """As somebody else does it."""
        url = f"{self.url(record_id)}/attachment"
        answer = requests.put(url, content, params={"filename": filename}, auth=USER)
        answer.raise_for_status()

    def put_record(self, record_id: str, **attachment: Any) -> None:
        """With an attachment that no upload made."""
        body = {"data": {"attachment": attachment}}
        requests.put(self.url(record_id), json=body, auth=USER).raise_for_status()

    def content(self, record_id: str) -> bytes:
        answer = requests.get(f"{self.url(record_id)}/attachment", auth=USER)
        answer.raise_for_status()
        return answer.content

    def stored(self) -> set[Path]:
        """Files in the store, of all collections."""
        return {path for path in self.kinto.files.rglob("*") if path.is_file()}


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    """The lines of a command, by file; by id where a file has no name."""
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return {line.get("file", line.get("id")): line for line in lines}


def statuses(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    return {name: line["status"] for name, line in told(capsys).items()}
