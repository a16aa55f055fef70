"""POST and PUT: a file is attached to a record."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from kinto_attachment.media_types import TYPES
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    Server,
    every_backend,
    every_store,
    multipart,
    sha256,
)

pytestmark = every_store()


@every_backend()
def test_a_first_upload_creates_the_record_and_answers_the_attachment(owner: Client) -> None:
    answer = owner.upload(content=b"picture", status=201)

    assert set(answer.json) == {"filename", "hash", "location", "mimetype", "size"}
    assert answer.json["filename"] == "photo.jpg"
    assert answer.json["hash"] == sha256(b"picture")
    assert answer.json["mimetype"] == "image/jpeg"
    assert answer.json["size"] == 7
    assert owner.get(RECORD).json["data"]["attachment"] == answer.json
    owner.server.assert_agreement()


@every_backend()
def test_a_second_upload_replaces_the_file_and_keeps_the_other_fields(owner: Client) -> None:
    owner.upload(content=b"old", fields={"data": '{"title": "kept"}'}, status=201)
    before = owner.server.stored_keys()

    answer = owner.upload(content=b"new", filename="new.png", mimetype="image/png", status=200)

    record = owner.get(RECORD).json["data"]
    assert record["title"] == "kept"
    assert record["attachment"] == answer.json
    assert owner.server.stored_keys().isdisjoint(before)
    owner.server.assert_agreement()


def test_the_answer_carries_the_records_location_etag_and_date(owner: Client) -> None:
    answer = owner.upload()

    record = owner.get(RECORD)
    assert answer.headers["Location"] == f"https://localhost/v1{RECORD}"
    assert answer.headers["ETag"] == record.headers["ETag"]
    assert answer.headers["Last-Modified"] == record.headers["Last-Modified"]
    assert answer.content_type == "application/json"


@every_backend()
def test_data_and_permissions_come_with_the_file_in_any_order(owner: Client) -> None:
    parts = [
        ("permissions", None, None, b'{"read": ["system.Everyone"]}'),
        ("attachment", "a.txt", "text/plain", b"text"),
        ("data", None, None, b'{"title": "new"}'),
    ]
    owner.post(ATTACHMENT, *multipart(parts), status=201)

    record = owner.server.as_user(None).get(RECORD).json
    assert record["data"]["title"] == "new"
    assert record["data"]["attachment"]["size"] == 4


def test_data_may_carry_the_whole_old_record_as_kinto_admin_sends_it(owner: Client) -> None:
    owner.upload(content=b"old")
    old = owner.get(RECORD).json["data"]
    whole = json.dumps({**old, "schema": 123, "title": "edited"})
    owner.upload(content=b"new", fields={"data": whole}, status=200)

    record = owner.get(RECORD).json["data"]
    assert record["attachment"]["hash"] == sha256(b"new")
    assert record["last_modified"] > old["last_modified"]
    assert record["title"] == "edited"
    owner.server.assert_agreement()


def test_unknown_query_parameters_of_old_clients_are_let_through(owner: Client) -> None:
    owner.upload(f"{ATTACHMENT}?gzipped=false", status=201)


@every_backend()
def test_put_stores_the_body_as_it_is(owner: Client) -> None:
    answer = owner.put(
        f"{ATTACHMENT}?filename=notes.txt", b"raw bytes", 201, Content_Type="text/plain"
    )

    assert answer.json["filename"] == "notes.txt"
    assert answer.json["hash"] == sha256(b"raw bytes")
    owner.server.assert_agreement()


def test_put_takes_the_name_from_content_disposition_first(owner: Client) -> None:
    header = "attachment; filename=\"plain.txt\"; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt"
    answer = owner.put(f"{ATTACHMENT}?filename=no.txt", b"x", Content_Disposition=header)

    assert answer.json["filename"] == "日本.txt"


def test_put_without_a_name_is_named_after_the_record_and_the_type(owner: Client) -> None:
    answer = owner.put(ATTACHMENT, b"x", 201, Content_Type="image/png")

    assert answer.json["filename"] == "first.png"


def test_an_empty_file_is_a_file(owner: Client) -> None:
    assert owner.put(f"{ATTACHMENT}?filename=empty.txt", b"", 201).json["size"] == 0
    assert owner.upload(content=b"", status=200).json["hash"] == sha256(b"")
    owner.server.assert_agreement()


def test_a_part_without_a_file_name_is_named_after_the_record(owner: Client) -> None:
    parts = [("attachment", None, "image/png", b"data URI")]
    answer = owner.post(ATTACHMENT, *multipart(parts), status=201)

    assert answer.json["filename"] == "first.png"


@pytest.mark.parametrize(
    "name", ["日本.txt", "naïve été.txt", "हिन्दी.txt", "..hidden.txt", "a/../b.txt"]
)
def test_the_file_name_is_kept_in_the_record_without_its_path(owner: Client, name: str) -> None:
    answer = owner.upload(filename=name, mimetype=None)

    assert answer.json["filename"] == name.rsplit("/", 1)[-1]
    assert answer.json["mimetype"] == "text/plain"
    owner.server.assert_agreement()


@pytest.mark.parametrize(
    ("sent", "filename", "stored"),
    [
        ("image/x-own", "a.jpg", "image/x-own"),
        ("text/html", "a.jpg", "image/jpeg"),
        ("image/png", "a.dvr", "image/png"),
        (None, "a.jpg", "image/jpeg"),
        ("application/octet-stream", "a.jpg", "image/jpeg"),
        ("application/octet-stream", "a.abw", "application/x-abiword"),
        ("text/plain; charset=utf-8", "a.txt", "text/plain"),
        ("no media type", "a.txt", "text/plain"),
    ],
)
def test_the_clients_type_counts_unless_it_says_nothing_or_would_run(
    owner: Client, sent: str | None, filename: str, stored: str
) -> None:
    assert owner.upload(filename=filename, mimetype=sent).json["mimetype"] == stored


TODAY = "webp avif heic tif odt odp docx xlsx pptx epub md tsv log ico geojson gpx jpg json"


def test_what_people_send_is_stored_by_default(make_server: Callable[..., Server]) -> None:
    owner = make_server({"kinto.attachment.extensions": None}).as_user()
    owner.make_collection()

    for name in TODAY.split():
        answer = owner.upload(content=b"PK\x03\x04", filename=f"a.{name}", mimetype=None)
        assert answer.json["mimetype"] == TYPES[f".{name}"]
        assert owner.get(ATTACHMENT).content_type == TYPES[f".{name}"]


def test_a_filename_pattern_makes_keys_that_consumers_can_take_apart(
    make_server: Callable[..., Server],
) -> None:
    pattern = {"kinto.attachment.filename_pattern": "{rid}-{datetime}-{filename}"}
    server = make_server({**pattern, "kinto.attachment.folder": "{bucket_id}/{collection_id}"})
    owner = server.as_user()
    owner.make_collection()
    for content in (b"one", b"two"):
        owner.upload(content=content, filename="Photo One.JPG")

    (key,) = server.stored_keys()
    assert re.fullmatch(r"pictures/album/first-\d{14}-[0-9a-f-]{36}\.jpg", key)
    server.assert_agreement()
    owner.delete(RECORD)
    assert server.stored_keys() == set()


def test_the_operators_types_come_before_the_clients(make_server: Callable[..., Server]) -> None:
    server = make_server({"kinto.attachment.mimetypes": ".txt:text/fluent;.db:application/x-db"})
    client = server.as_user()
    client.make_collection()

    assert client.upload(filename="a.txt", mimetype="text/plain").json["mimetype"] == "text/fluent"


@pytest.mark.parametrize("header", ["Repr_Digest", "Content_Digest"])
def test_a_matching_digest_is_accepted(owner: Client, header: str) -> None:
    digest = base64.b64encode(hashlib.sha256(b"hello").digest()).decode()
    said: dict[str, Any] = {header: f"sha-512=:AAAA:, sha-256=:{digest}:"}

    owner.upload(content=b"hello", status=201, **said)
    owner.put(f"{ATTACHMENT}?filename=a.txt", b"hello", 200, **said)


def test_a_content_digest_of_the_whole_form_is_accepted(owner: Client) -> None:
    body, content_type = multipart([("attachment", "a.txt", None, b"x")])
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()

    owner.post(ATTACHMENT, body, content_type, 201, Content_Digest=f"sha-256=:{digest}:")


def test_a_plain_html_form_lands_on_the_record(owner: Client) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

    answer = owner.upload(status=303, Accept=accept)

    assert answer.headers["Location"] == f"https://localhost/v1{RECORD}"
    owner.server.assert_agreement()


def test_a_client_that_takes_anything_gets_json(owner: Client) -> None:
    assert owner.upload(Accept="*/*", status=201).json["size"] == 5


def test_legacy_format_answers_and_stores_as_the_first_api(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(
        {"kinto.attachment.legacy_format": "true", "kinto.attachment.base_url": "https://cdn/"}
    )
    client = server.as_user()
    client.make_collection()

    answer = client.upload(content=b"hello", status=303)

    assert answer.headers["Location"] == f"https://localhost/v1{RECORD}"
    (key,) = server.stored_keys()
    assert client.get(RECORD).json["data"]["attachment"] == {
        "filename": "photo.jpg",
        "filesize": 5,
        "hash": base64.b64encode(hashlib.sha256(b"hello").digest()).decode(),
        "location": key,
        "mimetype": "image/jpeg",
    }
    client.delete(ATTACHMENT, 204)
    assert server.stored_keys() == set()


@pytest.mark.parametrize(
    "includes",
    [
        "kinto_attachment kinto.plugins.default_bucket",
        "kinto.plugins.default_bucket kinto_attachment",
    ],
)
@every_backend()
def test_the_default_bucket_works_whichever_plugin_is_included_first(
    make_server: Callable[..., Server], includes: str
) -> None:
    server = make_server({"kinto.includes": includes})
    client = server.as_user()
    alias = "/buckets/default/collections/album/records/first"
    bucket = client.get("/").json["user"]["bucket"]

    answer = client.upload(f"{alias}/attachment", status=201)

    assert answer.json["location"].startswith(f"buckets/{bucket}/collections/album/")
    assert answer.headers["Location"].endswith(
        f"/buckets/{bucket}/collections/album/records/first"
    )
    assert client.get(alias).json["data"]["attachment"] == answer.json
    assert client.get(f"{alias}/attachment").body == b"hello"
    client.upload(f"{alias}/attachment", content=b"again", status=200)
    client.delete(f"{alias}/attachment", 204)
    server.as_user(None).upload(f"{alias}/attachment", status=401)
    server.assert_agreement()


def test_the_files_folder_and_name_follow_the_settings(make_server: Callable[..., Server]) -> None:
    server = make_server(
        {
            "kinto.attachment.folder": "{bucket_id}/{collection_id}",
            "kinto.attachment.resources.pictures.randomize": "false",
            "kinto.attachment.resources.pictures.album.folder": "special",
            "kinto.attachment.resources.pictures.album.filename_pattern": "{rid}-{filename}",
        }
    )
    client = server.as_user()
    client.make_collection()
    client.make_collection("/buckets/pictures/collections/plain")
    client.make_collection("/buckets/others/collections/album")

    client.upload(filename="été.jpg")
    client.upload("/buckets/pictures/collections/plain/records/r/attachment", filename="été.jpg")
    client.upload("/buckets/others/collections/album/records/r/attachment")

    by_folder = {key.split("/", 1)[0]: key for key in sorted(server.stored_keys())}
    assert by_folder["special"].endswith("/first-été.jpg")
    assert by_folder["pictures"].startswith("pictures/plain/")
    assert by_folder["pictures"].endswith("/été.jpg")
    assert by_folder["others"].startswith("others/album/")
    server.assert_agreement()


@pytest.mark.parametrize(
    ("base_url", "prefix"),
    [("https://cdn.example.org/files", "https://cdn.example.org/files/"), ("", "")],
)
def test_with_a_base_url_the_location_is_that_url_and_the_key(
    make_server: Callable[..., Server], base_url: str, prefix: str
) -> None:
    server = make_server({"kinto.attachment.base_url": base_url})
    client = server.as_user()
    client.make_collection()

    answer = client.upload()

    (key,) = server.stored_keys()
    assert answer.json["location"] == prefix + key


def test_without_a_base_url_the_location_opens_below_the_servers_own(owner: Client) -> None:
    location = owner.upload(content=b"bytes").json["location"]

    base_url = owner.get("/").json["capabilities"]["attachments"]["base_url"]
    assert base_url == "https://localhost/v1/"
    assert owner.get(f"/{location}").body == b"bytes"


@pytest.mark.parametrize("base_url", [None, "https://cdn.example.org/", ""])
def test_a_host_that_a_client_makes_up_is_in_no_record(
    make_server: Callable[..., Server], base_url: str | None
) -> None:
    own = {"kinto.attachment.private": "true", "kinto.attachment.base_url": base_url}
    client = make_server(own).as_user()
    client.make_collection()

    location = client.upload(Host="evil.example").json["location"]

    assert "evil.example" not in client.get(RECORD).text
    path = location.removeprefix("https://localhost/v1").lstrip("/")
    assert client.get(f"/{path}").body == b"hello"


def test_preconditions_hold_as_on_the_record(owner: Client) -> None:
    etag = owner.upload(status=201, If_None_Match="*").headers["ETag"]

    etag = owner.upload(content=b"2", status=200, If_Match=etag).headers["ETag"]
    owner.put(f"{ATTACHMENT}?filename=a.txt", b"3", 200, If_Match="*")
    owner.server.assert_agreement()


def test_a_collection_with_kinto_admins_metadata_works_as_any_other(
    make_server: Callable[..., Server],
) -> None:
    client = make_server().as_user()
    client.make_collection(data={"attachment": {"enabled": False, "required": True}})

    client.upload(status=201)
    client.json("put", f"{COLLECTION}/records/without", {"data": {}})


def test_history_shows_the_records_own_uri(make_server: Callable[..., Server]) -> None:
    server = make_server({"kinto.includes": "kinto.plugins.history kinto_attachment"})
    client = server.as_user()
    client.make_collection()

    client.upload(Response_Behavior="light")
    client.delete(ATTACHMENT)

    entries = client.get("/buckets/pictures/history?resource_name=record").json["data"]
    assert [(e["action"], e["uri"]) for e in entries] == [("update", RECORD), ("create", RECORD)]
    assert "attachment" in entries[1]["target"]["data"]


def test_a_user_with_record_create_alone_may_upload_a_new_record_only(owner: Client) -> None:
    creator = owner.server.as_user("creator")
    owner.json("patch", COLLECTION, {"permissions": {"record:create": [creator.principal]}})

    creator.upload(status=201)

    another = owner.server.as_user("another")
    another.upload(status=403)
    owner.server.assert_agreement()
