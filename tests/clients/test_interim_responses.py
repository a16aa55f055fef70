"""104, before a file's bytes have come: a client as URLSession is one, on each kind of server."""

from collections.abc import Iterator
from typing import Any

import pytest

from kinto_attachment.testing import noise
from tests.clients.draft_client import Answer, ask, break_off
from tests.clients.resumable import Uploads, taking_uploads
from tests.support.parts import sha256

CONTENT = noise(2_000_000)  # A directory gets what comes in pieces of 1 MiB.
WITHIN_104 = {"8": "max-age=86400", "6": "expires=86400"}
every_version = pytest.mark.parametrize("version", WITHIN_104)


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    folder = tmp_path_factory.mktemp("gunicorn")
    with taking_uploads("gunicorn", folder, attachment__interim_responses="true") as running:
        yield running


def headers(version: str | None, **more: Any) -> dict[str, Any]:
    """Of a request that begins an upload."""
    spoken = {"Upload_Draft_Interop_Version": version} if version else {}
    return {"Upload_Complete": "?1", "Content_Type": "text/plain", **spoken, **more}


def go_on(uploads: Uploads, url: str, version: str) -> Answer:
    """With an upload that broke off: send what the server lacks."""
    spoken: dict[str, Any] = {"Upload_Draft_Interop_Version": version}
    _, found = ask("HEAD", url, **spoken)
    assert (found.status, found.headers["upload-complete"]) == (204, "?0")
    offset = int(found.headers["upload-offset"])
    assert 0 < offset < len(CONTENT)
    more = {"Upload_Offset": offset, "Content_Type": "application/partial-upload"}
    return ask("PATCH", url, CONTENT[offset:], **headers(version, **more))[1]


@every_version
@pytest.mark.parametrize("complete", ["?1", "?0"], ids=["optimistic", "careful"])
def test_a_file_that_broke_off_goes_on_where_the_interim_response_said(
    gunicorn: Uploads, version: str, complete: str
) -> None:
    """Optimistic: the whole file is sent at once. Careful: so are its first bytes."""
    gunicorn.remove("first")
    url = gunicorn.attachment_url("first")

    said = headers(version, Upload_Complete=complete)
    interim = break_off("PUT", url, CONTENT[:1_500_000], len(CONTENT), gunicorn.wait, **said)

    assert interim.status == 104
    assert interim.headers["location"].startswith(f"{url}/uploads/")
    assert interim.headers["upload-draft-interop-version"] == version
    assert WITHIN_104[version] in interim.headers["upload-limit"]
    gunicorn.assert_has_none("first")
    last = go_on(gunicorn, interim.headers["location"], version)
    assert (last.status, last.headers["upload-complete"]) == (201, "?1")
    assert sha256(CONTENT).encode() in last.body
    gunicorn.assert_has(CONTENT)


@every_version
def test_a_file_that_comes_through_is_answered_as_any_other(
    gunicorn: Uploads, version: str
) -> None:
    url = gunicorn.attachment_url("first")
    gunicorn.remove("first")
    _, plain = ask("PUT", url, CONTENT, Content_Type="text/plain", If_None_Match="*")
    gunicorn.remove("first")

    said = headers(version, If_None_Match="*", Expect="100-continue")
    interim, answer = ask("PUT", url, CONTENT, listens=True, **said)

    assert [one.status for one in interim] == [100, 104]
    assert (answer.status, answer.headers["upload-complete"]) == (plain.status, "?1")
    assert answer.headers["location"] == plain.headers["location"]
    assert sha256(CONTENT).encode() in answer.body
    gunicorn.assert_has(CONTENT)
    interim, refused = ask("PUT", url, CONTENT, **said)
    assert ([one.status for one in interim], refused.status) == ([100], 412)


@pytest.mark.parametrize(
    ("version", "more"),
    [(None, {}), ("5", {}), ("9", {}), ("8", {"protocol": "HTTP/1.0"})],
    ids=["none", "5", "9", "HTTP/1.0"],
)
def test_who_does_not_speak_a_version_of_ours_gets_no_interim_response(
    gunicorn: Uploads, version: str | None, more: dict[str, Any]
) -> None:
    url = gunicorn.attachment_url("first")

    interim, answer = ask("PUT", url, CONTENT, **headers(version), **more)

    assert (interim, answer.headers["upload-complete"]) == ([], "?1")
    gunicorn.assert_has(CONTENT)


@pytest.mark.parametrize("digest", ["Repr_Digest", "Content_Digest"])
def test_a_promised_digest_is_held_against_the_whole(gunicorn: Uploads, digest: str) -> None:
    gunicorn.remove("first")
    url = gunicorn.attachment_url("first")
    wrong = {digest: f"sha-256=:{'A' * 43}=:"}

    interim, answer = ask("PUT", url, CONTENT, **headers("8", **wrong))

    assert ([one.status for one in interim], answer.status) == ([104], 400)
    assert b"digest_differs" in answer.body
    assert ask("HEAD", interim[0].headers["location"])[1].status == 410
    gunicorn.assert_has_none("first")


def test_who_may_have_no_more_unfinished_uploads_sends_whole_files(gunicorn: Uploads) -> None:
    url = gunicorn.attachment_url("second")
    begun = []
    while True:
        _, answer = ask("PUT", url, **headers("8", Upload_Complete="?0"))
        if answer.status == 429:
            break
        begun.append(answer.headers["location"])

    interim, answer = ask("PUT", url, CONTENT, **headers("8"))

    assert ([one.status for one in interim], answer.status) == ([], 201)
    for left in begun:
        assert ask("DELETE", left)[1].status == 204
    gunicorn.assert_has(CONTENT, "second")


@pytest.mark.parametrize("kind", ["waitress", "granian"])
def test_other_servers_take_a_whole_file_without(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The setting is passed over: their applications can't send any."""
    folder = tmp_path_factory.mktemp(kind)
    with taking_uploads(kind, folder, attachment__interim_responses="true") as uploads:
        url = uploads.attachment_url("first")

        interim, answer = ask("PUT", url, CONTENT, **headers("8"))

        assert (interim, answer.status, answer.headers["upload-complete"]) == ([], 201, "?1")
        interim, answer = ask("PUT", url, CONTENT[:10], **headers("8", Upload_Complete="?0"))
        assert (interim, answer.status) == ([], 201)
        assert ask("DELETE", answer.headers["location"])[1].status == 204
        uploads.assert_has(CONTENT)
