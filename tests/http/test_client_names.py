"""Names in the encodings that clients really send, and parts that they send beside the file."""

from typing import Any

import pytest

from tests.support.parts import ATTACHMENT, RECORD, Client, multipart

FORM = "multipart/form-data; boundary=frontier"


def part(disposition: bytes, content: bytes = b"text", *headers: bytes) -> bytes:
    lines = [b"--frontier", b"Content-Disposition: form-data; " + disposition, *headers]
    return b"\r\n".join([*lines, b"", content, b""])


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--frontier--\r\n"


def named(name: bytes, *headers: bytes) -> bytes:
    return part(b'name="attachment"; filename="' + name + b'"', b"text", *headers)


def charset(name: bytes) -> bytes:
    return part(b'name="_charset_"', name)


IN_A_FORM = {
    "UTF-8": (form(named("日本.txt".encode())), "日本.txt"),
    "UTF-8 before all else": (form(charset(b"gbk"), named("日本.txt".encode())), "日本.txt"),
    "GBK by _charset_": (form(charset(b"GBK"), named("中文.txt".encode("gbk"))), "中文.txt"),
    "Shift_JIS by _charset_": (
        form(charset(b"Shift_JIS"), named("表示.txt".encode("shift_jis"))),
        "表示.txt",
    ),
    # Its last byte is a backslash in ASCII, which must not be taken for an escape.
    "Shift_JIS that ends in 表": (
        form(
            charset(b"shift_jis"),
            part('filename="a.txt表"; name="attachment"'.encode("shift_jis")),
        ),
        "a.txt表",
    ),
    "Latin-1 by _charset_": (
        form(charset(b"iso-8859-1"), named("café.txt".encode("latin-1"))),
        "café.txt",
    ),
    "windows-1251 by the part": (
        form(
            named("файл.txt".encode("cp1251"), b"Content-Type: text/plain; charset=windows-1251")
        ),
        "файл.txt",
    ),
    "percent as browsers write it": (form(named(b"say %22hi%22.txt")), 'say "hi".txt'),
    "filename* in quotes": (
        form(part(b'name="attachment"; filename*="UTF-8\'\'%E6%97%A5.txt"')),
        "日.txt",
    ),
    "filename* within the name": (
        form(named(b"a; filename*=UTF-8''b.txt; c.txt")),
        "a; filename*=UTF-8''b.txt; c.txt",
    ),
    "a turned direction": (form(named("photo\u202egpj.txt".encode())), "photogpj.txt"),
    "404 Chinese characters": (form(named("名".encode() * 404 + b".txt")), "名" * 83 + ".txt"),
}


@pytest.mark.parametrize("how", IN_A_FORM)
def test_a_forms_name_is_read_in_the_encoding_that_it_has(make_server: Any, how: str) -> None:
    server = make_server({"kinto.attachment.extensions": "any"})
    client = server.as_user()
    client.make_collection()
    body, filename = IN_A_FORM[how]

    answer = client.post(ATTACHMENT, body, FORM, 201)

    assert answer.json["filename"] == filename
    server.assert_agreement()


def test_the_forms_own_type_may_say_its_encoding(owner: Client) -> None:
    body = form(named("中文.txt".encode("gbk")))

    assert owner.post(ATTACHMENT, body, f"{FORM}; charset=gbk").json["filename"] == "中文.txt"


UNKNOWN = {
    "Latin-1": "café.txt".encode("latin-1"),
    "GBK": "中文.txt".encode("gbk"),
    "Shift_JIS": "日本.txt".encode("shift_jis"),
}
LABELS = (None, b"unicode_escape", b"idna", b"utf-7", b"x" * 60_000, b"\xff\0", b"ascii")


@pytest.mark.parametrize("label", LABELS, ids=lambda label: repr(label)[:20])
@pytest.mark.parametrize("how", UNKNOWN)
def test_a_name_in_an_encoding_that_nobody_tells_is_refused_by_a_sentence_about_the_name(
    owner: Client, how: str, label: bytes | None
) -> None:
    before = [charset(label)] if label is not None else []

    answer = owner.post(ATTACHMENT, form(*before, named(UNKNOWN[how])), FORM, 400)

    assert answer.json["details"] == {"reason": "undecodable_name"}
    assert "name of the file is not UTF-8" in answer.json["message"]
    owner.get(RECORD, 404)
    owner.server.assert_agreement()


@pytest.mark.parametrize("how", UNKNOWN)
def test_a_header_in_another_encoding_is_refused_by_a_sentence_about_the_name(
    owner: Client, how: str
) -> None:
    header = b'attachment; filename="' + UNKNOWN[how] + b'"'

    answer = owner.request(
        "PUT",
        ATTACHMENT,
        400,
        body=b"x",
        headers={"Content-Disposition": header.decode("latin-1")},
    )

    assert answer.json["details"] == {"reason": "undecodable_name"}
    owner.get(RECORD, 404)
    owner.server.assert_agreement()


@pytest.mark.parametrize("how", UNKNOWN)
def test_a_query_in_another_encoding_is_refused(owner: Client, how: str) -> None:
    query = "".join(f"%{byte:02X}" for byte in UNKNOWN[how])

    owner.put(f"{ATTACHMENT}?filename={query}", b"x", 400)

    owner.get(RECORD, 404)
    owner.server.assert_agreement()


@pytest.mark.parametrize(
    ("header", "filename"),
    [
        ('attachment; filename="日本.txt"', "日本.txt"),
        ("attachment; filename=日本.txt", "日本.txt"),
        ("attachment; filename*=\"UTF-8''%E6%97%A5.txt\"", "日.txt"),
        (
            "attachment; filename=\"a; filename*=UTF-8''b.txt; c.txt\"",
            "a; filename*=UTF-8''b.txt; c.txt",
        ),
        ('attachment; filename="a%22b.txt"', 'a"b.txt'),
    ],
)
def test_puts_name_may_be_raw_utf_8(owner: Client, header: str, filename: str) -> None:
    as_wsgi_has_it = header.encode().decode("latin-1")

    answer = owner.request(
        "PUT", ATTACHMENT, 201, body=b"text", headers={"Content-Disposition": as_wsgi_has_it}
    )

    assert answer.json["filename"] == filename
    owner.server.assert_agreement()


@pytest.mark.parametrize("order", [1, -1])
def test_text_parts_of_upload_libraries_are_passed_over(owner: Client, order: int) -> None:
    parts = [
        ("_charset_", None, None, b"UTF-8"),
        ("submit", None, None, b"Send"),
        ("relativePath", None, None, b"null"),
        ("name", None, None, b"photo.jpg"),
        ("type", None, "text/plain", b"image/jpeg"),
        ("type", None, None, b"again"),
        ("attachment", None, None, b'{"from": "FilePond"}'),
        ("attachment", "photo.jpg", "image/jpeg", b"picture"),
    ][::order]

    answer = owner.post(ATTACHMENT, *multipart(parts), status=201)

    assert (answer.json["filename"], answer.json["size"]) == ("photo.jpg", 7)
    assert set(owner.get(RECORD).json["data"]) == {"id", "last_modified", "attachment"}
    owner.server.assert_agreement()


def test_metadata_without_a_file_is_no_file(owner: Client) -> None:
    answer = owner.post(ATTACHMENT, *multipart([("attachment", None, None, b"{}")]), status=400)

    assert answer.json["details"]["reason"] == "missing_file"


@pytest.mark.parametrize(
    ("mimetype", "content", "filename"),
    [
        ("image/png", b"x", "first.png"),
        ("application/octet-stream", b"\x89PNG\r\n\x1a\n", "first.png"),
    ],
)
def test_a_blob_is_named_after_the_record_and_its_type(
    owner: Client, mimetype: str, content: bytes, filename: str
) -> None:
    answer = owner.upload(filename="blob", mimetype=mimetype, content=content, status=201)

    assert (answer.json["filename"], answer.json["mimetype"]) == (filename, "image/png")
    owner.server.assert_agreement()


def test_a_blob_of_which_nobody_knows_the_type_keeps_its_name(make_server: Any) -> None:
    client = make_server({"kinto.attachment.extensions": "any"}).as_user()
    client.make_collection()

    assert (
        client.upload(filename="blob", mimetype=None, content=b"\0\1").json["filename"] == "blob"
    )


@pytest.mark.parametrize("coding", ["7bit", "8bit", "Binary", ""])
def test_a_part_may_say_that_it_is_not_coded(owner: Client, coding: str) -> None:
    body = form(named(b"a.txt", b"Content-Transfer-Encoding: " + coding.encode()))

    owner.post(ATTACHMENT, body, FORM, 201)

    assert owner.get(ATTACHMENT).body == b"text"


@pytest.mark.parametrize("kind", ["Multipart/Form-Data", "MULTIPART/FORM-DATA"])
def test_the_type_of_a_form_may_be_in_any_letters(owner: Client, kind: str) -> None:
    body = form(named(b"a.txt"))

    owner.post(ATTACHMENT, body, f"{kind}; boundary=frontier", 201)
    owner.post(ATTACHMENT, body, f"{kind}-x; boundary=frontier", 415)
