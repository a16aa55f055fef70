"""Every refusal: the right answer, and afterwards nothing has changed."""

import base64
import hashlib
import io
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    Server,
    every_backend,
    every_store,
    multipart,
    postgresql_settings,
)

pytestmark = every_store()

FILE = ("attachment", "photo.jpg", "image/jpeg", b"new content")


def form(*parts: Any) -> tuple[bytes, str]:
    return multipart(list(parts))


def field(name: str, content: bytes) -> tuple[str, None, None, bytes]:
    return (name, None, None, content)


WHOLE, FORM = form(FILE)
LONG = "multipart/form-data; boundary="

BAD_FORMS: dict[str, tuple[bytes, str, int, str]] = {
    "not multipart": (b"{}", "application/json", 415, "Content-Type"),
    "no type at all": (WHOLE, "", 415, "Content-Type"),
    "a type that is none": (WHOLE, "; boundary=b", 415, "Content-Type"),
    "no boundary": (WHOLE, "multipart/form-data", 400, "boundary"),
    "a boundary of 71 characters": (
        WHOLE,
        f"{LONG}{'b' * 71}",
        400,
        "boundary",
    ),
    "another boundary": (
        WHOLE,
        "multipart/form-data; boundary=other",
        400,
        "broken or incomplete",
    ),
    "cut in the file": (WHOLE[:-30], FORM, 400, "broken or incomplete"),
    "cut in the headers": (WHOLE[:30], FORM, 400, "broken or incomplete"),
    "an empty body": (b"", FORM, 400, "broken or incomplete"),
    "no attachment": (*form(field("data", b"{}")), 400, "part named 'attachment'"),
    "two attachments": (*form(FILE, FILE), 400, "two parts named 'attachment'"),
    "data twice": (*form(FILE, field("data", b"{}"), field("data", b"{}")), 400, "'data'"),
    "an unknown file": (*form(FILE, ("second", "b.jpg", None, b"x")), 400, "'second' is a file"),
    "an unknown file first": (*form(("file", "b.jpg", None, b"x"), FILE), 400, "'file' is a file"),
    "an unknown picture": (
        *form(FILE, ("icon", None, "image/png", b"x")),
        400,
        "'icon' is a file",
    ),
    "text that nobody asked for": (*form(FILE, field("note", b"x" * 65537)), 400, "65536 bytes"),
    "65 parts": (*form(FILE, *[field(str(n), b"x") for n in range(64)]), 400, "segment count"),
    "a name in Shift_JIS": (
        form(("attachment", "NAME.jpg", None, b"x"))[0].replace(b"NAME", "表".encode("shift_jis")),
        FORM,
        400,
        "name of the file is not UTF-8",
    ),
    "a part in base64": (
        WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1),
        FORM,
        400,
        "Content-Transfer-Encoding base64",
    ),
    "a part in quoted-printable": (
        WHOLE.replace(b"\r\n\r\n", b"\r\ncontent-transfer-encoding: Quoted-Printable\r\n\r\n", 1),
        FORM,
        400,
        "quoted-printable",
    ),
    "a part that is packed": (
        WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1),
        FORM,
        400,
        "Content-Encoding gzip",
    ),
    "data is no JSON": (*form(FILE, field("data", b"{")), 400, "'data' must be a JSON object"),
    "data is a list": (*form(FILE, field("data", b"[]")), 400, "'data' must be a JSON object"),
    "data is no UTF-8": (*form(FILE, field("data", b"\xff")), 400, "'data' must be a JSON object"),
    "permissions is no object": (*form(FILE, field("permissions", b"3")), 400, "'permissions'"),
    "permissions are unknown": (*form(FILE, field("permissions", b'{"readx": []}')), 400, "readx"),
    "data with another id": (*form(FILE, field("data", b'{"id": "other"}')), 400, "id"),
    "data above 1 MiB": (*form(FILE, field("data", b" " * 1048577)), 400, "1048576 bytes"),
    "a forbidden extension": (*form(("attachment", "a.exe", None, b"x")), 400, "'a.exe'"),
    "a name without extension": (*form(("attachment", "Makefile", None, b"x")), 400, "'Makefile'"),
    "dots for a name": (*form(("attachment", "..", "no/thing", b"x")), 400, "not allowed here"),
    "a digest in hexadecimal": (WHOLE, FORM, 400, "Repr-Digest is not understood"),
    "another digest": (WHOLE, FORM, 400, "another SHA-256"),
    "a malformed If-Match": (WHOLE, FORM, 400, "If-Match"),
    "a stale If-Match": (WHOLE, FORM, 412, "modified meanwhile"),
    "If-None-Match: *": (WHOLE, FORM, 412, "modified meanwhile"),
}
HEADERS = {
    "a digest in hexadecimal": {"Repr_Digest": "sha-256=:00ff:"},
    "another digest": {"Repr_Digest": f"sha-256=:{'A' * 43}=:"},
    "a malformed If-Match": {"If_Match": "abc"},
    "a stale If-Match": {"If_Match": '"12345"'},
    "If-None-Match: *": {"If_None_Match": "*"},
}


def unchanged(client: Client, act: Callable[[], Any], status: int, words: str) -> Any:
    """Act, and see that the answer says why and that nothing has changed."""
    record, before = client.get(RECORD).json, client.server.stored_keys()

    answer = act()

    assert answer.status_code == status, answer.body
    assert answer.json["code"] == status
    assert words in json.dumps(answer.json)
    assert client.get(RECORD).json == record
    assert client.server.stored_keys() == before
    client.server.assert_agreement()
    return answer


@pytest.mark.parametrize("name", BAD_FORMS)
@every_backend()
def test_a_refused_replacement_leaves_record_and_file_as_they_were(
    owner: Client, name: str
) -> None:
    owner.upload(content=b"old", fields={"data": '{"title": "old"}'})
    body, content_type, status, words = BAD_FORMS[name]

    def act() -> Any:
        return owner.post(ATTACHMENT, body, content_type, "*", **HEADERS.get(name, {}))

    unchanged(owner, act, status, words)


RIGHT, WRONG, UNREADABLE = (
    f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:{more}"
    for content, more in ((b"new", ";q=1"), (b"other", ""), (b"new", "!"))
)


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("of_file", [RIGHT, WRONG, UNREADABLE, None])
@pytest.mark.parametrize("of_body", [RIGHT, WRONG, UNREADABLE, None])
def test_each_digest_that_is_sent_has_to_be_right(
    owner: Client, method: str, of_file: str | None, of_body: str | None
) -> None:
    said = {"Repr-Digest": of_file, "Content-Digest": of_body}
    headers: dict[str, Any] = {name: v for name, v in said.items() if v is not None}
    owner.upload(content=b"old")
    before = owner.get(RECORD).json, owner.server.stored_keys()
    bad = UNREADABLE in headers.values()
    wrong = WRONG in headers.values()

    answer = (
        owner.upload(content=b"new", status="*", **headers)
        if method == "POST"
        else (owner.put(f"{ATTACHMENT}?filename=a.txt", b"new", "*", **headers))
    )

    if bad or wrong:
        assert answer.status_code == 400
        assert answer.json["details"]["reason"] == ("bad_digest" if bad else "digest_differs")
        assert (owner.get(RECORD).json, owner.server.stored_keys()) == before
    else:
        assert answer.status_code == 200
    owner.server.assert_agreement()


EMPTY_INPUT = ("attachment", "", "application/octet-stream", b"")


@pytest.mark.parametrize(
    ("reason", "status", "parts"),
    [
        ("missing_file", 400, [field("data", b"{}")]),
        ("missing_file", 400, [EMPTY_INPUT]),
        ("extension", 400, [("attachment", "a.zzz", None, b"x")]),
        ("too_large", 413, [("attachment", "a.jpg", None, b"x" * 6)]),
    ],
)
def test_what_clients_of_9x_know_has_its_errno_and_a_reason_of_its_own(
    make_server: Callable[..., Server], reason: str, status: int, parts: list[Any]
) -> None:
    owner = make_server({"kinto.attachment.max_size_bytes": "5"}).as_user()
    owner.make_collection()

    answer = owner.post(ATTACHMENT, *form(*parts), status)

    assert (answer.json["errno"], answer.json["details"]["reason"]) == (107, reason)
    owner.get(RECORD, 404)
    assert owner.server.stored_keys() == set()


@pytest.mark.parametrize("name", [n for n in BAD_FORMS if n != "If-None-Match: *"])
def test_a_refused_first_upload_leaves_nothing(owner: Client, name: str) -> None:
    body, content_type, status, _ = BAD_FORMS[name]

    owner.post(ATTACHMENT, body, content_type, status, **HEADERS.get(name, {}))

    owner.get(RECORD, 404)
    assert owner.server.stored_keys() == set()
    owner.server.assert_agreement()


REASONS = {
    "no attachment": "missing_file",
    "two attachments": "second_file",
    "a forbidden extension": "extension",
    "a digest in hexadecimal": "bad_digest",
    "another digest": "digest_differs",
    "cut in the file": "malformed_body",
    "a name in Shift_JIS": "undecodable_name",
    "a part in base64": "coded_part",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_refusal_names_its_reason_for_programs(owner: Client, name: str) -> None:
    body, content_type, status, _ = BAD_FORMS[name]

    answer = owner.post(ATTACHMENT, body, content_type, status, **HEADERS.get(name, {}))

    assert answer.json["details"]["reason"] == REASONS[name]


@every_backend()
def test_a_schema_that_refuses_the_record_refuses_the_upload(owner: Client) -> None:
    owner.upload(content=b"old", fields={"data": '{"title": "old"}'})
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    owner.json("patch", COLLECTION, {"data": {"schema": schema}})

    def act() -> Any:
        return owner.upload(fields={"data": '{"title": 3}'}, status="*")

    unchanged(owner, act, 400, "title")


@pytest.mark.parametrize("size", [101, 5_000_000])
@every_backend()
def test_a_file_above_the_limit_is_refused_with_the_limit(
    make_server: Callable[..., Server], size: int
) -> None:
    server = make_server({"kinto.attachment.resources.pictures.album.max_size": "100"})
    client = server.as_user()
    client.make_collection()
    client.upload(content=b"x" * 100, status=201)

    unchanged(client, lambda: client.upload(content=b"x" * size, status="*"), 413, "100 bytes")
    url = f"{ATTACHMENT}?filename=a.txt"
    unchanged(client, lambda: client.put(url, b"x" * size, "*"), 413, "100 bytes")


def test_put_with_less_bytes_than_announced_is_refused(owner: Client) -> None:
    owner.upload(content=b"old")

    def act() -> Any:
        headers = {"Content-Length": "10"}
        url = f"{ATTACHMENT}?filename=a.txt"
        return owner.request("PUT", url, "*", body_file=io.BytesIO(b"short"), headers=headers)

    unchanged(owner, act, 400, "after 5 of 10 bytes")


@every_backend()
def test_strangers_and_readers_may_not_upload_nor_delete(owner: Client) -> None:
    reader = owner.server.as_user("reader")
    permissions = json.dumps({"read": [reader.principal]})
    owner.upload(content=b"old", fields={"permissions": permissions})

    for client, status in ((reader, 403), (owner.server.as_user(None), 401)):
        unchanged(owner, partial(client.upload, status="*"), status, "")
        unchanged(owner, partial(client.put, ATTACHMENT, b"x", "*"), status, "")
        unchanged(owner, partial(client.delete, ATTACHMENT, "*"), status, "")


def test_the_body_is_not_read_before_permission_is_given(owner: Client) -> None:
    class Untouchable(io.BytesIO):
        def read(self, _: Any = -1) -> bytes:
            raise AssertionError("the body was read")

    headers = {"Content-Type": FORM, "Content-Length": "1000"}
    for user, status in (("other", 403), (None, 401)):
        client = owner.server.as_user(user)
        client.request("POST", ATTACHMENT, status, body_file=Untouchable(), headers=headers)
    stale = {**headers, "If-Match": '"1"'}
    owner.request("POST", ATTACHMENT, 412, body_file=Untouchable(), headers=stale)


@pytest.mark.parametrize(
    "parent", ["/buckets/none/collections/album", "/buckets/pictures/collections/none"]
)
def test_a_missing_bucket_or_collection_is_as_kinto_says(owner: Client, parent: str) -> None:
    record = f"{parent}/records/first"
    as_kinto = owner.json("put", record, {"data": {}}, "*")

    answer = owner.upload(f"{record}/attachment", status=as_kinto.status_code)

    assert answer.json["errno"] == as_kinto.json["errno"]
    assert owner.server.stored_keys() == set()


@every_backend()
def test_deleting_what_is_not_there_is_404_and_creates_nothing(owner: Client) -> None:
    owner.delete(ATTACHMENT, 404)
    owner.get(RECORD, 404)
    owner.json("put", RECORD, {"data": {"title": "plain"}})

    owner.delete(ATTACHMENT, 404)

    assert owner.get(RECORD).json["data"]["title"] == "plain"


@pytest.mark.parametrize("headers", [{"If_Match": '"1"'}, {"If_None_Match": "*"}])
def test_a_failed_precondition_refuses_the_deletion(owner: Client, headers: Any) -> None:
    owner.upload(content=b"old")

    unchanged(owner, lambda: owner.delete(ATTACHMENT, "*", **headers), 412, "modified meanwhile")


@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data", "application/json", None])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
def test_files_do_not_travel_in_batches(
    owner: Client, method: str, content_type: str | None
) -> None:
    owner.upload(content=b"old")
    one: dict[str, Any] = {"method": method, "path": ATTACHMENT}
    if content_type:
        one["headers"] = {"Content-Type": content_type}

    def act() -> Any:
        answer = owner.json("post", "/batch", {"requests": [one]})
        (inner,) = answer.json["responses"]
        assert inner["status"] == 400
        assert inner["body"]["details"]["reason"] == "in_batch"
        return owner.json("patch", RECORD, {}, "*")  # A plain refusal, to look at the rest.

    unchanged(owner, act, 400, "")


def test_patch_is_no_method_of_an_attachment(owner: Client) -> None:
    owner.json("patch", ATTACHMENT, {}, 405)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_readonly_server_serves_files_and_refuses_the_rest(
    make_server: Callable[..., Server], postgresql: str, method: str
) -> None:
    settings = postgresql_settings(postgresql)
    writable = make_server(settings)
    writable.as_user().make_collection()
    writable.as_user().upload(content=b"old")
    readonly = make_server({**settings, "kinto.readonly": "true"})
    client = readonly.as_user()

    client.request(method, ATTACHMENT, 405)

    assert client.get(ATTACHMENT).body == b"old"
    assert client.get("/__heartbeat__").json["attachments"] is True
    writable.assert_agreement()


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_precondition_that_only_begins_with_a_star_is_refused(
    owner: Client, method: str, header: str
) -> None:
    owner.upload(content=b"old")

    answer = owner.request(method, ATTACHMENT, 400, headers={header: "*x"})

    assert "integer between double quotes" in answer.json["message"]
    assert owner.get(ATTACHMENT).body == b"old"
    owner.server.assert_agreement()
