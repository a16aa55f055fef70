"""The Content-Type of a download says a charset where that is known, whoever sends the bytes."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from kinto_attachment.attachments import charsets
from kinto_attachment.storage.s3 import S3FileStorage
from tests.support import storage_parts
from tests.support.parts import ATTACHMENT, RECORD, Client, Server

UTF_8 = "façade, 日本\n"
BIG = charsets.LOOKED_AT
FILES: dict[str, tuple[str, str | None, bytes, str]] = {
    "utf-8": ("a.txt", None, UTF_8.encode(), "text/plain; charset=utf-8"),
    "ascii is any": ("a.txt", None, b"plain", "text/plain"),
    "latin-1": ("a.txt", None, "façade".encode("latin-1"), "text/plain"),
    "utf-8 that is cut": ("a.txt", None, UTF_8.encode()[:-2], "text/plain"),
    "utf-16": ("a.txt", None, UTF_8.encode("utf-16"), "text/plain"),
    "iso-2022-jp": ("a.txt", None, "日本".encode("iso-2022-jp"), "text/plain"),
    "the client's word": (
        "a.txt",
        "text/plain; charset=ISO-8859-1",
        "façade".encode("latin-1"),
        "text/plain; charset=iso-8859-1",
    ),
    "in quotes": (
        "a.txt",
        'text/plain; format=flowed; Charset="Shift_JIS"',
        "日本".encode("shift_jis"),
        "text/plain; charset=shift_jis",
    ),
    "of nobody": ("a.txt", "text/plain; charset=binary", b"plain", "text/plain"),
    "of Python's alone": ("a.txt", "text/plain; charset=unicode_escape", b"plain", "text/plain"),
    "of none any more": ("a.txt", "text/plain; charset=utf-7", b"plain", "text/plain"),
    "broken": ("a.txt", 'text/plain; charset="x\ty"', b"plain", "text/plain"),
    "csv": ("a.csv", None, UTF_8.encode(), "text/csv; charset=utf-8"),
    "json is utf-8": ("a.json", None, b'"\xc3\xa7"', "application/json"),
    "a picture": ("a.png", "image/png; charset=utf-8", b"\x89PNG\r\n\x1a\n\xc3\xa7", "image/png"),
    "letters over the edge": (
        "a.txt",
        None,
        b"x" * (BIG - 1) + UTF_8.encode() * 9,
        "text/plain; charset=utf-8",
    ),
    "late latin-1": ("a.txt", None, b"\xc3\xa7" * BIG + b"\xe7", "text/plain"),
}


@pytest.fixture(params=["own", "nginx", "proxy", "redirect"])
def way(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """By whom files are sent, and the settings for it."""
    if request.param == "own":
        return request.param, {}
    if request.param == "nginx":
        return request.param, {"kinto.attachment.accel_redirect": "/files/"}
    url, bucket = request.getfixturevalue("s3_url"), request.getfixturevalue("bucket")
    return request.param, storage_parts.s3_settings(url, bucket, download=request.param)


def test_the_content_type_is_the_same_by_all_ways(
    make_server: Callable[..., Server], way: tuple[str, dict[str, Any]]
) -> None:
    name, settings = way
    owner = make_server(settings).as_user()
    owner.make_collection()
    seen = {}
    for what, (filename, sent, content, _) in FILES.items():
        stored = owner.upload(content=content, filename=filename, mimetype=sent)
        assert stored.json["mimetype"] == FILES[what][3].split(";")[0]
        answer: Any = owner.get(ATTACHMENT, 302 if name == "redirect" else 200)
        if name == "redirect":
            answer = requests.get(answer.headers["Location"])
            assert answer.content == content
        seen[what] = answer.headers["Content-Type"]

    assert seen == {what: expected for what, (_, _, _, expected) in FILES.items()}


def test_a_raw_body_keeps_its_charset(owner: Client) -> None:
    body = "façade".encode("latin-1")
    owner.put(f"{ATTACHMENT}?filename=a.txt", body, 201, Content_Type="text/plain;charset=latin1")

    assert owner.get(ATTACHMENT).headers["Content-Type"] == "text/plain; charset=latin1"
    assert owner.get(RECORD).json["data"]["attachment"]["mimetype"] == "text/plain"


def test_the_object_in_the_store_has_the_charset_too(
    make_server: Callable[..., Server], s3_url: str, bucket: str, s3: Any
) -> None:
    server = make_server(storage_parts.s3_settings(s3_url, bucket))
    owner = server.as_user()
    owner.make_collection()
    for what in ("utf-8", "latin-1", "the client's word"):
        filename, sent, content, expected = FILES[what]
        owner.upload(content=content, filename=filename, mimetype=sent)
        (key,) = server.stored_keys()
        assert s3.head_object(Bucket=bucket, Key=key)["ContentType"] == expected
    assert isinstance(server.registry.attachments.store, S3FileStorage)


def test_a_copy_of_the_field_has_the_charset_of_its_file(owner: Client) -> None:
    owner.upload(content=UTF_8.encode(), filename="a.txt", mimetype=None)
    value = owner.get(RECORD).json["data"]["attachment"]
    copy = RECORD.replace("first", "copy")
    owner.json("put", copy, {"data": {"attachment": value}})

    assert owner.get(f"{copy}/attachment").headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_letters_may_be_cut_anywhere_by_chunks(step: int) -> None:
    for content, expected in ((UTF_8.encode(), "utf-8"), (b"\xc3\xa7a\xe7a", None)):
        look = charsets.Look()
        chunks = [content[at : at + step] for at in range(0, len(content), step)]
        assert list(look.at_each(chunks)) == chunks
        assert look.charset() == expected
