"""The real parts that tests run against, and the client that talks to them."""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kinto
import pytest
import transaction
import webtest
from kinto.core.testing import get_user_headers

from kinto_attachment import keys
from kinto_attachment.attachments import intake, sniffing
from kinto_attachment.attachments.locations import Locations
from kinto_attachment.attachments.values import FilePart, StoredAttachment
from kinto_attachment.rows import Rows, rows_of
from kinto_attachment.rows.links import Link, State, same
from kinto_attachment.settings import Settings
from kinto_attachment.storage import Listable, Store
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.network import MARK
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.targets import Target

OWNER, OTHER = "owner", "other"
BUCKET = "/buckets/pictures"
COLLECTION = f"{BUCKET}/collections/album"
RECORD = f"{COLLECTION}/records/first"
ATTACHMENT = f"{RECORD}/attachment"

MEMORY = {
    "kinto.storage_backend": "kinto.core.storage.memory",
    "kinto.permission_backend": "kinto.core.permission.memory",
    "kinto.cache_backend": "kinto.core.cache.memory",
}

SETTINGS = {
    "kinto.userid_hmac_secret": "tests",
    "multiauth.policies": "basicauth",
    "kinto.http_scheme": "https",  # Else Kinto warns that it is not in use.
    "kinto.http_host": "localhost",
    "kinto.includes": "kinto_attachment",
    "kinto.experimental_collection_schema_validation": "true",
    "kinto.attachment.extensions": "default+audio+video",
}


def take_in(part: FilePart, target: Target, settings: Settings, store: Store) -> StoredAttachment:
    """A file as an upload takes it in, without the upload."""
    head, chunks = sniffing.peek(part.chunks) if settings.sniff else (None, part.chunks)
    policy = settings.policy_for(target.bucket_id, target.collection_id)
    plan = intake.plan(part, head, target, policy)
    received = intake.receive(plan, chunks, store)
    locations = Locations(settings.base_url)
    location = locations.of(received.key, target.uri, plan.file_id, policy.private, "")
    return intake.seal(plan, received, location, settings.legacy_format)


def postgresql_settings(url: str, **more: str) -> dict[str, str]:
    """Kinto's settings for one PostgreSQL database."""
    found = {}
    for part in ("storage", "permission", "cache"):
        found[f"kinto.{part}_backend"] = f"kinto.core.{part}.postgresql"
        found[f"kinto.{part}_url"] = url
    return {**found, **more}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server:
    """A real Kinto application with the plugin, called through WSGI."""

    def __init__(self, settings: Mapping[str, str | None]) -> None:
        given = {name: value for name, value in settings.items() if value is not None}
        self.app = webtest.TestApp(kinto.main({}, **given))
        self.registry = self.app.app.registry
        self._attachments = self.registry.attachments
        storage = self._attachments.store
        local = isinstance(storage, LocalFileStorage)
        self.files = Path(storage.base_path) if local else None
        if given.get("kinto.readonly") == "true":
            self._backends = []  # It looks at what another server made.
        else:
            names = ("storage", "permission", "cache")
            self._backends = [getattr(self.registry, name) for name in names]
        for backend in self._backends:
            backend.initialize_schema()

    def reset(self) -> None:
        """Become as new: no records, no files, and the store that the settings name."""
        self.forget_records()
        self.registry.attachments = self._attachments
        storage: Store = self._attachments.store
        self._attachments.custody.forget()
        if self.files is not None:
            for path in self.files.glob("*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            # A thread that hung until the end of its test may make it as well.
            (self.files / ".unfinished").mkdir(parents=True, exist_ok=True)
        elif isinstance(storage, Listable):
            storage.delete_many([file.key for file in storage.files()])
            if isinstance(storage, S3FileStorage):
                storage.s3_client.delete_object(Bucket=storage.bucket_name, Key=MARK)

    def forget_records(self) -> None:
        transaction.abort()
        for backend in self._backends:
            backend.flush()

    def release(self) -> None:
        """Give the thread's connection to the database back."""
        client = getattr(self.registry.storage, "client", None)
        if client is not None:
            client.session_factory.remove()

    def close(self) -> None:
        """Leave no connection open, neither to the store nor to the database."""
        getattr(self.registry.attachments.store, "close", lambda: None)()
        self.release()

    def as_user(self, user: str | None = OWNER) -> "Client":
        return Client(self, user)

    def store_file(self, key: str, content: bytes) -> None:
        """Put a file into the store, past the plugin."""
        writer = self.registry.attachments.store.open_writer(key, mimetype="", filename="")
        writer.write(content)
        writer.close()

    def stored_keys(self) -> set[str]:
        """What lies in the store."""
        return {file.key for file in self.registry.attachments.store.files()}

    def unfinished(self) -> list[str]:
        """What writers left behind (local store)."""
        assert self.files is not None
        return [path.name for path in (self.files / ".unfinished").iterdir()]

    def rows(self) -> Rows:
        """Links and records, past Kinto's capped interface."""
        return rows_of(self.registry.storage)

    def all_links(self) -> list[Link]:
        """Every link of a record that names its file."""
        links = [link for page in self.rows().everything() for link in page]
        return [link for link in links if link.state is State.HELD]

    def records(self) -> list[dict[str, Any]]:
        """Every record that names a file, with its URI."""
        named = [row for page in self.rows().records_with_attachment() for row in page]
        return [
            {
                "uri": row.target.uri,
                **self.registry.storage.get(
                    resource_name="record",
                    parent_id=row.target.collection_uri,
                    object_id=row.target.record_id,
                ),
            }
            for row in named
            if row.value
        ]

    def assert_agreement(self) -> None:
        """Records, links and files say the same, both ways, hashes included."""
        transaction.abort()  # Look at what is committed, and hold no transaction open.
        locations = self.registry.attachments.locations
        records = {
            (r["uri"], locations.file_id_in(r["attachment"]["location"])): r
            for r in self.records()
        }
        links = {(link.record_uri, link.file_id): link for link in self.all_links()}
        assert set(records) == set(links)
        contents: dict[str, tuple[str, int]] = {}
        for who, link in links.items():
            assert same(link.value, records[who]["attachment"])
            if link.key not in contents:
                content = b"".join(self.registry.attachments.store.open(link.key))
                contents[link.key] = (sha256(content), len(content))
            assert contents[link.key] == (link.hash, link.size)
        everything = [link for page in self.rows().everything() for link in page]
        held = {link.key for link in everything if link.state is not State.RELEASED}
        assert {key for key in self.stored_keys() if keys.is_ours(key)} == {
            key for key in held if keys.is_ours(key)
        }
        assert held <= self.stored_keys()
        if self.files is not None:
            assert self.unfinished() == []
        transaction.abort()


class Client:
    """One user's requests."""

    def __init__(self, server: Server, user: str | None) -> None:
        self.server = server
        self.headers = get_user_headers(user) if user else {}

    @property
    def principal(self) -> str:
        return self.get("/").json["user"]["id"]

    def request(self, method: str, path: str, status: Any = None, **how: Any) -> Any:
        headers = {**self.headers, **how.pop("headers", {})}
        return self.server.app.request(
            f"/v1{path}", method=method, headers=headers, status=status, **how
        )

    def json(
        self, method: str, path: str, body: Any = None, status: Any = None, **headers: str
    ) -> Any:
        name = method.lower()
        call = getattr(self.server.app, f"{name}_json")
        headers = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return call(f"/v1{path}", {} if body is None else body, headers=headers, status=status)

    def get(self, path: str, status: Any = None, **headers: str) -> Any:
        return self.request("GET", path, status, headers=_named(headers))

    def delete(self, path: str, status: Any = None, **headers: str) -> Any:
        return self.request("DELETE", path, status, headers=_named(headers))

    def put(self, path: str, body: bytes, status: Any = None, **headers: str) -> Any:
        return self.request("PUT", path, status, body=body, headers=_named(headers))

    def upload(
        self,
        path: str = ATTACHMENT,
        content: bytes = b"hello",
        filename: str = "photo.jpg",
        mimetype: str | None = "image/jpeg",
        status: Any = None,
        fields: dict[str, str] | None = None,
        **headers: str,
    ) -> Any:
        """A multipart POST, as a browser would send it."""
        body, content_type = multipart(
            [(k, None, None, v.encode()) for k, v in (fields or {}).items()]
            + [("attachment", filename, mimetype, content)]
        )
        return self.post(path, body, content_type, status, **headers)

    def post(
        self, path: str, body: bytes, content_type: str, status: Any = None, **headers: str
    ) -> Any:
        headers = {"Content-Type": content_type, **_named(headers)}
        return self.request("POST", path, status, body=body, headers=headers)

    def make_collection(
        self, uri: str = COLLECTION, data: Any = None, permissions: Any = None
    ) -> None:
        bucket = "/".join(uri.split("/")[:3])
        self.json("put", bucket)
        self.json("put", uri, {"data": data or {}, "permissions": permissions or {}})


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


Part = tuple[str, str | None, str | None, bytes]
"""Of a form: name, filename, media type, content."""


def multipart(parts: Sequence[Part], boundary: str = "frontier") -> tuple[bytes, str]:
    """A multipart body, and its Content-Type."""
    body = b""
    for name, filename, mimetype, content in parts:
        disposition = f'form-data; name="{name}"'
        if filename is not None:
            disposition += f'; filename="{filename}"'
        head = f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        if mimetype:
            head += f"Content-Type: {mimetype}\r\n"
        body += head.encode() + b"\r\n" + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def every_backend() -> Any:
    """Run a test on each of Kinto's storages that behave differently."""
    return pytest.mark.parametrize(
        "backend", ["memory", "postgresql", "postgresql-autocommit"], indirect=True
    )


def every_store() -> Any:
    """Run a module's tests on a directory and on S3."""
    return pytest.mark.parametrize("store", ["local_store", "s3_store"], indirect=True)
