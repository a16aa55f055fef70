"""The collection that clients work in, looked at past them."""

import json
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support.processes import Kinto

OWNER = ("owner", "secret")
COLLECTION = "/buckets/clients/collections/album"
PUBLIC = {"read": ["system.Everyone"]}
KINDS = ["waitress", "gunicorn"]
BUILD = Path(os.environ.get("ADMIN", ".venv-admin")).resolve() / "kinto/plugins/admin/build"
PACKAGES = Path(os.environ.get("NODE_PACKAGES", ".venv-node/node_modules")).resolve()
PATIENCE = 60_000
"""Milliseconds that an element of a page may take to appear; most take some ten."""
PLUGINS = ("default_bucket", "flush", "admin")
SETTINGS: dict[str, Any] = {
    "includes": " ".join([*(f"kinto.plugins.{name}" for name in PLUGINS), "kinto_attachment"]),
    "admin_assets_path": str(BUILD),
    "cors_origins": "* http://127.0.0.1:*",  # Everybody's scripts, and forms of our pages.
    "attachment__resources__clients__free__extensions": "any",
    "attachment__resources__clients__small__max_size_bytes": "1000",
}
"""What a server needs for all clients, as :func:`tests.support.streaming.server` takes it."""


@dataclass(frozen=True)
class Album:
    """A user's collection, on a server that has nothing else."""

    kinto: Kinto
    user: tuple[str, str] = OWNER
    collection: str = COLLECTION

    @property
    def first(self) -> str:
        """The path of the record that most tests are about."""
        return f"{self.collection}/records/first"

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:
        answer = requests.request(method, f"{self.kinto.url}{path}", **{"auth": self.user, **how})
        answer.raise_for_status()
        return answer

    def begin(self, **collection: Any) -> None:
        """Make the collection, with no record, no file and no other collection.

        :param collection: its ``data`` and ``permissions``.
        """
        self.ask("POST", "/__flush__")
        self.ask("PUT", self.collection.split("/collections")[0])
        self.ask("PUT", self.collection, json=collection)

    def attach(self, content: bytes, name: str, **fields: Any) -> dict[str, Any]:
        """Attach a file to the first record; returns the record."""
        form = {field: json.dumps(value) for field, value in fields.items()}
        files = {"attachment": (name, content)}
        self.ask("POST", f"{self.first}/attachment", files=files, data=form)
        return self.record()

    def full(self) -> dict[str, Any]:
        """The first record with its permissions."""
        found: dict[str, Any] = self.ask("GET", self.first).json()
        return found

    def record(self) -> Any:
        return self.full()["data"]

    def records(self) -> Any:
        return self.ask("GET", f"{self.collection}/records").json()["data"]

    def files(self) -> list[bytes]:
        """What lies in the store."""
        paths = [path for path in self.kinto.files.rglob("[!.]*") if path.is_file()]
        return [path.read_bytes() for path in paths]


def png(side: int, stripes: list[tuple[int, int, int]]) -> bytes:
    """A square picture: stripes of colours, one below the other."""
    rows = [b"\0" + bytes(stripes[y * len(stripes) // side]) * side for y in range(side)]
    made = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(rows))),
        (b"IEND", b""),
    ):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        made += struct.pack(">I", len(data)) + kind + data + checksum
    return made
