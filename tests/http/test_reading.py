"""A file is exactly as readable as its record: by permission, by signed link, and privately."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from kinto_attachment.attachments.signatures import Token
from kinto_attachment.rows.links import Link
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    Server,
    every_backend,
    every_store,
    sha256,
)

pytestmark = every_store()

LINK = f"{ATTACHMENT}/link"
USERS = ["owner", "reader", "writer", "other", None]
CDN = {"kinto.attachment.base_url": "https://cdn.example.org/"}


def shared(owner: Client, everyone: bool) -> None:
    """The record, with a reader and a writer; perhaps everyone may read it."""
    server = owner.server
    read = [server.as_user("reader").principal]
    write = [server.as_user("writer").principal]
    permissions = {"read": [*read, *(["system.Everyone"] if everyone else [])], "write": write}
    owner.json("patch", RECORD, {"permissions": permissions})


def link_of(client: Client, **data: Any) -> Any:
    return client.json("post", LINK, {"data": data}, 200).json["data"]


def path_of(link: Any) -> str:
    url: str = link["url"]
    assert url.startswith("https://localhost/v1/")
    return url.removeprefix("https://localhost/v1")


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("everyone", [True, False], ids=["public", "shared"])
@pytest.mark.parametrize("private", ["true", "false"])
@every_backend()
def test_every_user_gets_the_answer_that_kinto_gives_for_the_record(
    make_server: Callable[..., Server], private: str, everyone: bool, user: str | None
) -> None:
    server = make_server({"kinto.attachment.private": private})
    owner, client = server.as_user(), server.as_user(user)
    owner.make_collection()
    owner.upload(content=b"picture")
    shared(owner, everyone)
    missing = f"{COLLECTION}/records/missing"

    expected = client.get(RECORD, "*")
    for method in ("GET", "HEAD"):
        answer = client.request(method, ATTACHMENT, "*")
        assert answer.status_code == expected.status_code
    if expected.status_code >= 400:
        assert client.get(ATTACHMENT, "*").json["errno"] == expected.json["errno"]
    link = client.json("post", LINK, {}, "*")
    assert link.status_code == expected.status_code
    absent = client.get(missing, "*")
    assert client.get(f"{missing}/attachment", "*").json == absent.json
    assert client.json("post", f"{missing}/attachment/link", {}, "*").json == absent.json


@pytest.mark.parametrize("path", ["/buckets/no", f"{COLLECTION[:-5]}no"])
@pytest.mark.parametrize("user", USERS)
def test_missing_parents_are_answered_as_kinto_does(
    owner: Client, path: str, user: str | None
) -> None:
    client = owner.server.as_user(user)
    record = f"{path if 'collections' in path else f'{path}/collections/c'}/records/r"

    expected = client.get(record, "*")

    assert client.get(f"{record}/attachment", "*").json == expected.json
    assert client.json("post", f"{record}/attachment/link", {}, "*").json == expected.json


# Signed links


def test_a_link_opens_the_file_without_credentials_for_get_head_and_ranges(
    owner: Client, anonymous: Client
) -> None:
    owner.upload(content=b"0123456789", filename="日本.txt")
    before = int(time.time())

    link = link_of(owner, expires_in=60)

    path = path_of(link)
    assert link["expires_in"] == 60
    assert before + 60 <= link["expires"] <= int(time.time()) + 60
    answer = anonymous.get(path, 200)
    assert answer.body == b"0123456789"
    assert "filename*=UTF-8''%E6%97%A5" in answer.headers["Content-Disposition"]
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert anonymous.get(path, 206, Range="bytes=2-4").body == b"234"
    assert anonymous.request("HEAD", path, 200).headers["Content-Length"] == "10"
    anonymous.get(path, 304, If_None_Match=answer.headers["ETag"])
    anonymous.get(ATTACHMENT, 401)


def test_a_reader_may_make_a_link_and_without_a_wish_it_lives_five_minutes(owner: Client) -> None:
    owner.upload()
    shared(owner, everyone=False)
    reader = owner.server.as_user("reader")

    assert link_of(reader)["expires_in"] == 300
    empty = reader.request("POST", LINK, 200)
    assert empty.json["data"]["expires_in"] == 300


def test_a_link_dies_when_its_file_is_replaced_or_removed(
    owner: Client, anonymous: Client
) -> None:
    owner.upload(content=b"old")
    path = path_of(link_of(owner))
    anonymous.get(path, 200)

    owner.upload(content=b"new")
    assert "no longer" in anonymous.get(path, 403).json["message"]
    path = path_of(link_of(owner))
    assert anonymous.get(path, 200).body == b"new"
    owner.delete(ATTACHMENT)
    anonymous.get(path, 403)
    owner.upload(content=b"new")
    anonymous.get(path, 403)
    owner.delete(RECORD)
    anonymous.get(path, 403)


def test_a_link_that_was_tampered_with_opens_nothing(owner: Client, anonymous: Client) -> None:
    owner.upload(content=b"one")
    second = f"{COLLECTION}/records/second"
    owner.upload(f"{second}/attachment", content=b"two")
    path = path_of(link_of(owner))
    head, _, text = path.rpartition("/")
    token = Token.read(text)
    assert token
    other = Token.read(
        path_of(owner.json("post", f"{second}/attachment/link").json["data"]).rpartition("/")[2]
    )
    assert other

    tampered = [
        f"{token.file_id}.{token.expires + 1}.{token.code}",
        f"{other.file_id}.{token.expires}.{token.code}",
        f"{token.file_id}.{token.expires}.{other.code}",
        f"{token.file_id}.{token.expires}.{token.code[:-1]}",
        f"{token.file_id}.{token.expires}.{token.code}A",
        "x",
    ]
    for wrong in tampered:
        assert anonymous.get(f"{head}/{wrong}", 403).json["errno"] == 121
    for elsewhere in (f"{second}/attachment/link", f"{COLLECTION}/records/no/attachment/link"):
        anonymous.get(f"{elsewhere}/{text}", 403)
    anonymous.get(f"{head}/{text}", 200)


def test_an_expired_link_says_so(owner: Client, anonymous: Client) -> None:
    owner.upload()
    attachments = owner.server.registry.attachments
    (row,) = owner.server.rows().of_records([RECORD])
    assert isinstance(row, Link)
    expired = attachments.signer.sign(row, int(time.time()) - 1)

    answer = anonymous.get(f"{LINK}/{expired}", 403)

    assert "has expired" in answer.json["message"]


@pytest.mark.parametrize("seconds", [0, -1, 601, "60", 1.5, True, None])
def test_a_link_that_lives_too_long_or_not_at_all_is_refused(
    make_server: Callable[..., Server], seconds: Any
) -> None:
    client = make_server({"kinto.attachment.link_max_age": "600"}).as_user()
    client.make_collection()
    client.upload()

    answer = client.json("post", LINK, {"data": {"expires_in": seconds}}, 400)

    assert "at most 600" in answer.json["message"]
    assert client.json("post", LINK, {"data": {"expires_in": 600}}, 200)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data": []}'])
def test_a_link_that_is_ordered_in_other_words_is_refused(owner: Client, body: bytes) -> None:
    owner.upload()
    headers = {"Content-Type": "application/json"}

    owner.request("POST", LINK, 400, body=body, headers=headers)


def test_a_link_of_a_user_whose_permission_was_taken_lives_on_until_it_expires(
    owner: Client, anonymous: Client
) -> None:
    owner.upload(content=b"picture")
    shared(owner, everyone=False)
    reader = owner.server.as_user("reader")
    path = path_of(link_of(reader))

    owner.json("patch", RECORD, {"permissions": {"read": []}})

    reader.json("post", LINK, {}, 403)
    assert anonymous.get(path, 200).body == b"picture"


def test_servers_with_another_secret_do_not_open_each_others_links(
    make_server: Callable[..., Server], postgresql: str
) -> None:
    from tests.support.parts import postgresql_settings

    settings = postgresql_settings(postgresql)
    first = make_server(settings)
    second = make_server({**settings, "kinto.attachment.link_secret": "another"})
    first.as_user().make_collection()
    first.as_user().upload(content=b"picture")
    path = path_of(link_of(first.as_user()))

    assert make_server(settings).as_user(None).get(path, 200).body == b"picture"
    second.as_user(None).get(path, 403)
    assert "another" not in repr(second.registry.attachments)


def test_a_link_can_be_ordered_in_a_batch_and_in_the_default_bucket(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({"kinto.includes": "kinto_attachment kinto.plugins.default_bucket"})
    owner = server.as_user()
    attachment = "/buckets/default/collections/album/records/first/attachment"
    owner.upload(attachment, content=b"mine")
    requests = [{"method": "POST", "path": f"{attachment}/link", "body": {}}]

    (answer,) = owner.json("post", "/batch", {"requests": requests}).json["responses"]

    assert answer["status"] == 200
    assert server.as_user(None).get(path_of(answer["body"]["data"]), 200).body == b"mine"
    server.as_user("other").json("post", f"{attachment}/link", {}, (403, 404))


# Private files


def test_a_private_file_has_the_endpoint_for_its_location_and_others_the_stores(
    make_server: Callable[..., Server],
) -> None:
    own = {"kinto.attachment.resources.pictures.private": "true"}
    server = make_server({**CDN, **own})
    owner = server.as_user()
    owner.make_collection()
    owner.make_collection("/buckets/open/collections/album")

    private = owner.upload(content=b"private").json["location"]
    public = owner.upload("/buckets/open/collections/album/records/r/attachment").json["location"]

    assert private.startswith(f"https://localhost/v1{ATTACHMENT}?file=")
    assert public.startswith("https://cdn.example.org/")
    path = private.removeprefix("https://localhost/v1")
    assert owner.get(path, 200).body == b"private"
    server.as_user(None).get(path, 401)
    key = next(k for k in server.stored_keys() if k not in public)
    assert key not in owner.get(RECORD).text
    server.assert_agreement()


# Caches


@pytest.mark.parametrize(
    ("everyone", "seconds", "said"),
    [
        (True, "3600", "public, max-age=3600"),
        (True, "0", "private, no-cache"),
        (False, "3600", "private, no-cache"),
    ],
)
def test_caches_may_keep_what_everyone_may_read(
    make_server: Callable[..., Server], everyone: bool, seconds: str, said: str
) -> None:
    owner = make_server({"kinto.attachment.public_max_age": seconds}).as_user()
    owner.make_collection()
    owner.upload()
    shared(owner, everyone)

    assert owner.get(ATTACHMENT, 200).headers["Cache-Control"] == said


# Content


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
DRESSED = {
    "HTML": b"<!DOCTYPE html><script>alert(1)</script>",
    "HTML after a mark and spaces": b"\xef\xbb\xbf  \n<html>",
    "a bare script element": b"<script>alert(1)</script>",
    "SVG": b'<svg onload="alert(1)">',
    "XML": b'<?xml version="1.0"?><svg/>',
    "PHP": b"<?php system(1);",
    "a shell script": b"#!/bin/sh\n",
}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.mp4", "a.mp3", "a.pdf"])
@pytest.mark.parametrize("what", DRESSED)
def test_html_and_scripts_that_are_called_pictures_are_refused(
    owner: Client, what: str, name: str
) -> None:
    answer = owner.upload(content=DRESSED[what], filename=name, mimetype=None, status=400)

    assert "under its own extension" in answer.json["message"]
    assert owner.server.stored_keys() == set()
    owner.get(RECORD, 404)


@pytest.mark.parametrize("what", DRESSED)
def test_text_may_hold_what_it_likes(owner: Client, what: str) -> None:
    owner.upload(content=DRESSED[what], filename="a.txt", mimetype="text/html", status=201)

    assert owner.get(ATTACHMENT).content_type == "text/plain"


def test_a_type_that_would_run_gives_way_to_the_extension_and_the_content(owner: Client) -> None:
    assert owner.upload(content=PNG, mimetype="text/html").json["mimetype"] == "image/jpeg"
    nameless = owner.put(ATTACHMENT, PNG, Content_Type="application/octet-stream")
    assert nameless.json["mimetype"] == "image/png"
    assert nameless.json["filename"] == "first.png"
    assert owner.get(ATTACHMENT).body == PNG
    owner.server.assert_agreement()


def test_without_sniffing_the_clients_word_counts(make_server: Callable[..., Server]) -> None:
    owner = make_server({"kinto.attachment.sniff": "false"}).as_user()
    owner.make_collection()

    answer = owner.upload(content=DRESSED["HTML"], filename="a.png", mimetype="text/css")

    assert answer.json["mimetype"] == "text/css"
    assert answer.json["hash"] == sha256(DRESSED["HTML"])
