"""GET and HEAD: the file comes back to whoever may read the record."""

import base64
import hashlib
from typing import Any

import pytest

from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    every_backend,
    every_store,
    sha256,
)

pytestmark = every_store()


@every_backend()
def test_the_bytes_come_back_with_safe_headers(owner: Client) -> None:
    owner.upload(content=b"picture", filename="été.jpg")

    answer = owner.get(ATTACHMENT, 200)

    assert answer.body == b"picture"
    headers = answer.headers
    assert answer.content_type == "image/jpeg"
    assert headers["Content-Length"] == "7"
    assert headers["ETag"] == f'"{sha256(b"picture")}"'
    digest = base64.b64encode(hashlib.sha256(b"picture").digest()).decode()
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["Accept-Ranges"] == "bytes"
    disposition = "inline; filename=\"_t_.jpg\"; filename*=UTF-8''%C3%A9t%C3%A9.jpg"
    assert headers["Content-Disposition"] == disposition


@pytest.mark.parametrize(
    ("filename", "mimetype"),
    [("a.svg", "image/svg+xml"), ("a.xml", "text/html"), ("a.pdf", "application/pdf")],
)
def test_types_that_can_run_script_are_downloads(
    owner: Client, filename: str, mimetype: str
) -> None:
    owner.upload(filename=filename, mimetype=mimetype)

    assert owner.get(ATTACHMENT).headers["Content-Disposition"].startswith("attachment;")


def test_head_has_the_headers_and_no_body(owner: Client) -> None:
    owner.upload(content=b"picture")

    answer = owner.request("HEAD", ATTACHMENT, 200)

    assert answer.headers["Content-Length"] == "7"
    assert answer.body == b""


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_one_range_is_served(
    owner: Client, asked: str, status: int, body: bytes | None, content_range: str | None
) -> None:
    owner.upload(content=b"0123456789", filename="a.txt", mimetype="text/plain")

    answer = owner.get(ATTACHMENT, status, Range=asked)

    if body is not None:
        assert answer.body == body
    assert answer.headers.get("Content-Range") == content_range


def test_an_unchanged_file_is_304_and_if_range_protects_a_changed_one(owner: Client) -> None:
    etag = owner.upload(content=b"0123456789").json["hash"]

    owner.get(ATTACHMENT, 304, If_None_Match=f'"{etag}"')
    assert owner.get(ATTACHMENT, 206, Range="bytes=1-2", If_Range=f'"{etag}"').body == b"12"
    owner.upload(content=b"abcdefghij")
    answer = owner.get(ATTACHMENT, 200, Range="bytes=1-2", If_Range=f'"{etag}"')
    assert answer.body == b"abcdefghij"


PERMISSIONS: Any = {
    "private": {},
    "readable by a reader": {"read": ["reader"]},
    "readable by everyone": {"read": ["system.Everyone"]},
    "readable by the authenticated": {"read": ["system.Authenticated"]},
    "writable by a reader": {"write": ["reader"]},
}


@pytest.mark.parametrize("shared", PERMISSIONS)
@every_backend()
def test_a_file_is_exactly_as_readable_as_its_record(owner: Client, shared: str) -> None:
    server = owner.server
    users = {name: server.as_user(name) for name in ("owner", "reader", "stranger")}
    users["anonymous"] = server.as_user(None)
    reader = users["reader"].principal
    owner.upload()
    permissions = {
        name: [reader if who == "reader" else who for who in principals]
        for name, principals in PERMISSIONS[shared].items()
    }
    owner.json("patch", RECORD, {"permissions": permissions})
    location = owner.get(RECORD).json["data"]["attachment"]["location"]

    for client in users.values():
        as_kinto = client.get(RECORD, "*").status_code
        for path in (ATTACHMENT, f"/{location}"):
            assert client.get(path, "*").status_code == as_kinto
            assert client.request("HEAD", path, "*").status_code == as_kinto
        missing = client.get(f"{COLLECTION}/records/none", "*")
        answer = client.get(f"{COLLECTION}/records/none/attachment", "*")
        assert answer.status_code == missing.status_code
        assert answer.json["errno"] == missing.json["errno"]


def test_a_record_without_attachment_is_404(owner: Client) -> None:
    owner.json("put", RECORD, {"data": {}})

    assert "has no attachment" in owner.get(ATTACHMENT, 404).json["message"]


def test_a_file_that_was_lost_is_404_with_a_sentence(owner: Client) -> None:
    owner.upload()
    (key,) = owner.server.stored_keys()
    owner.server.registry.attachments.store.delete(key)

    assert "can't be found" in owner.get(ATTACHMENT, 404).json["message"]


def test_the_default_buckets_files_are_private(make_server: Any) -> None:
    server = make_server({"kinto.includes": "kinto_attachment kinto.plugins.default_bucket"})
    path = "/buckets/default/collections/album/records/first/attachment"
    location = server.as_user().upload(path).json["location"]

    server.as_user("other").get(path, (403, 404))
    server.as_user("other").get(f"/{location}", 403)
    server.as_user(None).get(path, 401)


UPLOADERS: Any = {
    "write on the record": ("record", {"write": ["user"]}),
    "read on the record": ("record", {"read": ["user"]}),
    "write on the collection": ("collection", {"write": ["user"]}),
    "record:create": ("collection", {"record:create": ["user"]}),
    "nothing": ("collection", {}),
}


@pytest.mark.parametrize("grant", UPLOADERS)
@pytest.mark.parametrize("exists", [True, False])
def test_uploads_and_deletions_are_allowed_as_kinto_allows_put_and_patch(
    owner: Client, grant: str, exists: bool
) -> None:
    level, permissions = UPLOADERS[grant]
    user = owner.server.as_user("user")
    granted = {
        name: [user.principal if p == "user" else p for p in who]
        for name, who in permissions.items()
    }
    twin, record = f"{COLLECTION}/records/twin", RECORD
    if exists:
        for path in (twin, record):
            owner.json("put", path, {"data": {}})
            if level == "record":
                owner.json("patch", path, {"permissions": granted})
    if level == "collection":
        owner.json("patch", COLLECTION, {"permissions": granted})

    removed = user.json("patch", twin, {"data": {"x": 1}}, "*").status_code
    put = user.json("put", twin, {"data": {}}, "*").status_code

    refused = user.delete(ATTACHMENT, "*").status_code
    assert refused == (404 if removed == 200 else removed)  # Allowed, but without attachment.
    assert user.upload(status="*").status_code == put
    owner.server.assert_agreement()
