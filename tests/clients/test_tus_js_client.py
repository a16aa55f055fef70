"""tus-js-client, in Node and in a page of another origin: what it offers beside going on."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients import upload_clients as clients
from tests.clients.resumable import CONTENT, Uploads, of_a_bucket, taking_uploads
from tests.support.parts import sha256

Runs = Callable[[str], Any]
OPTIONS = [
    "uploadLengthDeferred: true",
    "uploadDataDuringCreation: true",
    "uploadDataDuringCreation: true, uploadLengthDeferred: true",
    "overridePatchMethod: true",
    "chunkSize: 7_777",
    "chunkSize: Infinity",
    "chunkSize: Infinity, uploadDataDuringCreation: true",
    '...byDraft("first", "05"), uploadDataDuringCreation: true',
    '...byDraft("first", "05"), uploadLengthDeferred: true',
]


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    folder = tmp_path_factory.mktemp("kinto")
    most = {"attachment__max_size_bytes": str(len(CONTENT))}
    with taking_uploads("gunicorn", folder, **most) as running:
        yield of_a_bucket(running)


@pytest.fixture(params=["node", "page"])
def runs(request: pytest.FixtureRequest, uploads: Uploads, tmp_path: Path) -> Runs:
    """Runs a script of uploads_js/uploads.js."""
    for record in ("first", "second"):
        uploads.remove(record)
    if request.param == "node":
        return lambda script: clients.in_node(uploads, tmp_path, script)
    page = request.getfixturevalue("upload_page")
    page.evaluate("localStorage.clear()")

    def in_new_page(script: str) -> Any:
        page.reload()
        return clients.in_page(uploads, page, script)

    return in_new_page


def test_a_pause_ends_where_it_began(uploads: Uploads, runs: Runs) -> None:
    created, paused, ended = runs("""
        const one = upload("first");
        return [await one.create(), await one.pause(), await one.end()];
    """)

    assert (created["ended"], created["asked"]) == ("pause", ["POST"])
    assert (paused["ended"], paused["asked"]) == ("pause", ["HEAD", "PATCH"])
    assert (ended["ended"], ended["asked"]) == ("success", ["HEAD", "PATCH", "PATCH"])
    assert ended["url"] == created["url"]
    uploads.assert_has(CONTENT)


def test_what_is_remembered_goes_on_in_another_process_and_for_its_record_alone(
    uploads: Uploads, runs: Runs
) -> None:
    runs('return upload("first", remembering).pause()')

    other = runs('return upload("second", remembering).again()')
    again = runs('return upload("first", remembering).again()')
    once_more = runs('return upload("first", remembering).again()')

    assert other is None
    assert (again["ended"], again["asked"]) == ("success", ["HEAD", "PATCH", "PATCH"])
    assert (once_more["ended"], once_more["asked"]) == ("success", ["HEAD"])
    uploads.assert_has(CONTENT)
    uploads.assert_has_none("second")


def test_a_file_that_the_record_has_no_more_is_sent_anew(uploads: Uploads, runs: Runs) -> None:
    runs('return upload("first", remembering).end()')
    uploads.ask("PUT", uploads.attachment_url("first"), data=b"another").raise_for_status()

    again = runs('return upload("first", remembering).again()')

    assert (again["ended"], again["asked"][:2]) == ("success", ["HEAD", "POST"])
    uploads.assert_has(CONTENT)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_uploads(uploads: Uploads, runs: Runs, options: str) -> None:
    ended = runs(f'return upload("first", {{{options}}}).end()')

    assert ended["ended"] == "success", ended
    uploads.assert_has(CONTENT)


def test_who_asks_for_json_is_told_the_attachment(uploads: Uploads, runs: Runs) -> None:
    accepting = 'headers: {...headers, Accept: "application/json"}'

    ended = runs(f'return upload("first", {{{accepting}}}).end()')

    assert json.loads(ended["answer"])["hash"] == sha256(CONTENT)


def test_an_upload_that_is_given_up_leaves_nothing(uploads: Uploads, runs: Runs) -> None:
    url = runs("""
        const one = upload("first");
        const {url} = await one.pause();
        await one.one.abort(true);
        return url;
    """)

    assert uploads.ask("HEAD", url, headers={"Tus-Resumable": "1.0.0"}).status_code == 404
    uploads.assert_has_none("first")
    uploads.ask("PUT", uploads.attachment_url("first"), data=CONTENT).raise_for_status()
    uploads.assert_has(CONTENT)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ('...byDraft("first", "03")', 412, "6"),
        ("parallelUploads: 2", 400, "Upload-Concat"),
        ("file: twice", 413, str(len(CONTENT))),
        ('headers: {Authorization: "Bearer expired"}', 401, "authenticate"),
    ],
    ids=["draft-03", "parallel", "too-large", "unknown-user"],
)
def test_what_cannot_be_is_answered_with_words(
    uploads: Uploads, runs: Runs, options: str, status: int, words: str
) -> None:
    ended = runs(f'return upload("first", {{{options}}}).end()')

    assert (ended["ended"], ended["status"]) == ("error", status)
    assert words in ended["answer"]
    uploads.assert_has_none("first")


def test_a_password_that_expires_meanwhile_keeps_the_upload(uploads: Uploads, runs: Runs) -> None:
    paused, expired, renewed = runs("""
        const one = upload("first");
        const paused = await one.pause();
        one.one.options.headers = {Authorization: "Bearer expired"};
        const expired = await one.end();
        const again = upload("first", {uploadUrl: paused.url});
        return [paused, expired, await again.end()];
    """)

    assert (expired["ended"], expired["status"]) == ("error", 401)
    assert (renewed["ended"], renewed["asked"]) == ("success", ["HEAD", "PATCH", "PATCH"])
    assert renewed["url"] == paused["url"]
    uploads.assert_has(CONTENT)


def test_a_store_that_is_away_does_not_make_it_begin_anew(uploads: Uploads, runs: Runs) -> None:
    """It does after any status but 423, the one of a file that is locked."""
    url = runs('return upload("first").pause()')["url"]
    files, aside = uploads.kinto.files, uploads.kinto.folder / "aside"
    files.rename(aside)
    try:
        away = runs(f'return upload("first", {{uploadUrl: "{url}"}}).end()')
    finally:
        shutil.rmtree(files, ignore_errors=True)  # The server, which knows no mark, made it anew.
        aside.rename(files)

    back = runs(f'return upload("first", {{uploadUrl: "{url}"}}).end()')

    assert (away["ended"], away["status"], away["asked"]) == ("error", 423, ["HEAD"] * 4)
    assert (back["ended"], back["asked"]) == ("success", ["HEAD", "PATCH", "PATCH"])
    uploads.assert_has(CONTENT)
