"""What a PUT can't be, a form that has no file, and bodies of which nobody knows the end."""

import socket
from pathlib import Path

import pytest

from tests.support import streaming
from tests.support.parts import ATTACHMENT, RECORD, Client, multipart

FORM, FORM_TYPE = multipart([("attachment", "a.txt", "text/plain", b"in a form")])
REFUSED = {
    "a form": ({"Content-Type": FORM_TYPE}, FORM, 415),
    "an HTML form": ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1", 415),
    "a part of a file": ({"Content-Range": "bytes 0-4/10"}, b"01234", 400),
    "a coded body": ({"Content-Encoding": "gzip"}, b"\x1f\x8b", 415),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_put_that_is_not_the_file_is_refused_and_changes_nothing(
    owner: Client, what: str
) -> None:
    owner.upload(content=b"kept")
    before = owner.get(RECORD).json
    headers, body, status = REFUSED[what]

    owner.request("PUT", ATTACHMENT, status, body=body, headers=headers)

    assert owner.get(RECORD).json == before
    assert owner.get(ATTACHMENT).body == b"kept"
    owner.server.assert_agreement()


def test_a_form_whose_file_input_nobody_has_filled_is_refused(owner: Client) -> None:
    owner.upload(content=b"kept")
    body, content_type = multipart([("attachment", "", "application/octet-stream", b"")])

    answer = owner.post(ATTACHMENT, body, content_type, 400)

    assert answer.json["details"]["reason"] == "missing_file"
    assert "No file came in a part named 'attachment'" in answer.json["message"]
    assert owner.get(ATTACHMENT).body == b"kept"


def test_an_empty_file_that_has_a_name_is_a_file(owner: Client) -> None:
    owner.upload(content=b"", filename="empty.txt", mimetype="text/plain", status=201)

    assert owner.get(ATTACHMENT).body == b""


CUT_OFF = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
@pytest.mark.parametrize("rest", [b"\r\n", CUT_OFF], ids=["no length", "broken off"])
def test_a_put_without_an_end_never_empties_or_cuts_the_file(
    tmp_path: Path, kind: str, rest: bytes
) -> None:
    with streaming.server(kind, tmp_path) as kinto:
        first = streaming.send(kinto, "PUT", streaming.NORMAL, b"kept", "text/plain")
        assert first[0] == 201
        host, port = kinto.origin.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = f"PUT /v1{streaming.NORMAL} HTTP/1.1\r\nHost: {host}\r\n"
            head += f"Authorization: {streaming.CREDENTIALS['Authorization']}\r\n"
            connection.sendall(head.encode() + rest)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))

        assert not answer.startswith(b"HTTP/1.1 2")
        assert streaming.download(kinto, streaming.NORMAL)[0] == len(b"kept")
