"""Preconditions and ranges of a download, as RFC 9110 has them in sections 13 and 14."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from tests.support import conditional
from tests.support.conditional import CONTENT, Answer, Now
from tests.support.parts import ATTACHMENT, RECORD, Client, every_store

pytestmark = every_store()


def now(client: Client) -> Now:
    headers = client.request("HEAD", ATTACHMENT, 200).headers
    modified = parsedate_to_datetime(headers["Last-Modified"]).timestamp()
    version = client.get(RECORD).headers["ETag"].strip('"')
    return Now(headers["ETag"].strip('"'), version, int(modified))


def asking(client: Client) -> conditional.Ask:
    def ask(method: str, headers: Mapping[str, str]) -> Answer:
        found = client.request(method, ATTACHMENT, "*", headers=dict(headers))
        seen = {name.lower(): value for name, value in found.headers.items()}
        return Answer(found.status_code, seen, found.body)

    return ask


def test_every_condition_and_range_is_answered_as_the_standard_says(owner: Client) -> None:
    owner.upload(content=CONTENT, filename="a.txt", mimetype="text/plain", status=201)

    assert conditional.all_wrong(asking(owner), now(owner)) == ""


def test_an_empty_file_has_no_part(owner: Client) -> None:
    owner.upload(content=b"", filename="a.txt", mimetype="text/plain", status=201)

    assert conditional.all_wrong_of_nothing(asking(owner), now(owner)) == ""


def test_halves_of_two_files_are_not_joined(owner: Client) -> None:
    old = owner.upload(content=b"0123456789", status=201)
    first = owner.get(ATTACHMENT, 206, Range="bytes=0-4").headers["ETag"]
    owner.upload(content=b"abcdefghij", status=200)

    for known in (first, old.headers["ETag"]):
        refused = owner.get(ATTACHMENT, 412, Range="bytes=5-9", If_Match=known)
        assert refused.json["errno"] == 114
    assert refused.body.find(b"fghij") == -1


def test_a_range_beyond_the_end_is_refused_with_a_sentence(owner: Client) -> None:
    owner.upload(content=CONTENT, status=201)

    refused = owner.get(ATTACHMENT, 416, Range="bytes=10-").json

    assert refused["message"].startswith("The file has 10 bytes")
