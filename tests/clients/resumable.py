"""Servers that take files in several requests, and what they have after one has come."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from kinto_attachment.testing import noise
from tests.clients.lines import Line, line_to
from tests.clients.servers import OWNER
from tests.support.parts import sha256
from tests.support.processes import Kinto
from tests.support.streaming import server

CONTENT = noise(300_000)
PIECE = 100_000
COLLECTION = "/buckets/default/collections/album"
ON = {"attachment__uploads": "true", "attachment__extensions": "any"}
NEVER_SEEN = ".kinto-attachment-uploads"
"""Where a directory keeps what is unfinished."""


@dataclass(frozen=True)
class Uploads:
    """A server, and the line that clients reach it by."""

    kinto: Kinto
    line: Line
    collection: str = COLLECTION

    @property
    def records_url(self) -> str:
        return f"{self.line.url}{self.collection}/records"

    def record_url(self, record: str) -> str:
        return f"{self.records_url}/{record}"

    def attachment_url(self, record: str) -> str:
        return f"{self.record_url(record)}/attachment"

    def tus_url(self, record: str) -> str:
        """Where uploads of a record's file begin."""
        return f"{self.attachment_url(record)}/uploads"

    def ask(self, method: str, url: str, **how: Any) -> requests.Response:
        return requests.request(method, url, **{"auth": OWNER, "timeout": 60, **how})

    def assert_has(self, content: bytes, record: str = "first", alone: bool = True) -> None:
        """The record names the file, the file is what it says.

        :param alone: whether no upload is unfinished.
        """
        said = self.ask("GET", self.record_url(record)).json()["data"]["attachment"]
        assert (said["hash"], said["size"]) == (sha256(content), len(content))
        answer = self.ask("GET", self.attachment_url(record))
        assert answer.content == content
        if alone and self.kinto.files.exists():
            assert list((self.kinto.files / NEVER_SEEN).iterdir()) == []

    def assert_has_none(self, record: str) -> None:
        """The record names no file."""
        answer = self.ask("GET", self.record_url(record))
        assert answer.status_code == 404 or "attachment" not in answer.json()["data"]

    def fail(self, times: int) -> None:
        """Have the next writes of records fail, with a fault that passes
        (503); see tests/support/failing_records.py."""
        (self.kinto.folder / "failures").write_text(str(times))

    def set_schema(self, schema: dict[str, Any]) -> None:
        """Give the collection one, which records have to follow."""
        collection, data = f"{self.line.url}{self.collection}", {"schema": schema}
        self.ask("PUT", collection, json={"data": data}).raise_for_status()

    def wait(self) -> None:
        """Until the only unfinished upload has some bytes on the disk."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = (self.kinto.files / NEVER_SEEN).glob("[0-9a-f]" * 32)
            if any(path.stat().st_size for path in found):
                return
            time.sleep(0.01)  # Between two looks; nothing relies on how long it is.
        raise AssertionError("no byte was stored")

    def remove(self, record: str) -> None:
        """Take the record away, for the next test."""
        self.ask("DELETE", self.record_url(record))


def of_a_bucket(uploads: Uploads) -> Uploads:
    """The same server, and a collection of a bucket that is nobody's default."""
    made = replace(uploads, collection="/buckets/clients/collections/album")
    for path in ("/buckets/clients", made.collection):
        made.ask("PUT", f"{made.line.url}{path}").raise_for_status()
    return made


@contextlib.contextmanager
def taking_uploads(kind: str, folder: Path, **more: str) -> Iterator[Uploads]:
    """A server of a kind, with settings as :func:`server` takes them."""
    settings: dict[str, Any] = {**ON, **more}
    with server(kind, folder, **settings) as kinto, line_to(kinto.origin) as line:
        yield Uploads(kinto, line)
