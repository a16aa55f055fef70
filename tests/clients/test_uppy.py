"""Uppy, in a page of another origin."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.clients import upload_clients as clients
from tests.clients.resumable import CONTENT, Uploads, of_a_bucket, taking_uploads
from tests.support import failing_records
from tests.support.parts import sha256


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uploads]:
    folder = tmp_path_factory.mktemp("kinto")
    shutil.copy(failing_records.__file__, folder)
    more = {
        "includes": "kinto.plugins.default_bucket kinto_attachment failing_records",
        "failing_records": str(folder / "failures"),
        "attachment__max_uploads_per_user": "1",
    }
    with taking_uploads("gunicorn", folder, **more) as running:
        yield of_a_bucket(running)


@pytest.fixture
def runs(uploads: Uploads, upload_page: Page) -> Callable[[str], Any]:
    """Runs a script of uploads_js/uploads.js in the page; it has ``uppy``, of page.js."""
    for record in ("first", "second"):
        uploads.remove(record)
    upload_page.evaluate("localStorage.clear()")
    return lambda script: clients.in_page(uploads, upload_page, script)


def test_the_same_file_comes_to_each_of_two_records(
    uploads: Uploads, runs: Callable[[str], Any]
) -> None:
    """It remembers uploads by the file, and by where they begin."""
    for record in ("first", "second"):
        ended = runs(f'return uppy(attachment("{record}") + "/uploads", headers, content)')
        assert (ended["ended"], ended["count"]) == ("success", 1)

    uploads.assert_has(CONTENT, "first")
    uploads.assert_has(CONTENT, "second")


def test_a_pause_ends_where_it_began(uploads: Uploads, runs: Callable[[str], Any]) -> None:
    ended, asked = runs("""
        const asked = [];
        const onBeforeRequest = request => { asked.push(request.getMethod()) };
        const breaking = made => {
          const pause = (file, {bytesUploaded}) => {
            if (bytesUploaded < 100_000) return;
            made.off("upload-progress", pause);
            made.pauseAll();
            setTimeout(() => made.resumeAll(), 0);
          };
          made.on("upload-progress", pause);
        };
        const url = attachment("first") + "/uploads";
        return [await uppy(url, headers, content, {onBeforeRequest}, breaking), asked];
    """)

    assert (ended["ended"], asked.count("POST"), asked.count("HEAD")) == ("success", 1, 1)
    uploads.assert_has(CONTENT)


def test_what_failed_is_tried_again_from_where_it_stood(
    uploads: Uploads, runs: Callable[[str], Any]
) -> None:
    uploads.fail(1000)  # More often than Uppy tries by itself.
    failed = runs("""
        const url = attachment("first") + "/uploads";
        return uppy(url, headers, content, {}, made => { window.made = made });
    """)
    uploads.fail(0)
    again = runs("""
        const asked = [];
        const onBeforeRequest = request => { asked.push(request.getMethod()) };
        made.getPlugin("Tus").setOptions({onBeforeRequest});
        const {successful} = await made.retryAll();
        return {count: successful.length, asked};
    """)

    assert failed["ended"] == "error"
    assert json.loads(failed["answer"])["code"] == 503
    assert (again["count"], again["asked"]) == (1, ["HEAD", "PATCH"])
    uploads.assert_has(CONTENT)


def test_an_upload_that_is_given_up_leaves_room_for_another(
    uploads: Uploads, runs: Callable[[str], Any]
) -> None:
    """Here a user may have one that is unfinished."""
    removed, ended = runs("""
        let gone, deleted = new Promise(done => { gone = done });
        const onAfterResponse = request => { if (request.getMethod() === "DELETE") gone() };
        const giving_up = made => made.once("upload-progress", () => made.cancelAll());
        const url = attachment("first") + "/uploads";
        uppy(url, headers, content, {onAfterResponse}, giving_up);
        await deleted;
        const other = attachment("second") + "/uploads";
        return [true, await uppy(other, headers, content)];
    """)

    assert (removed, ended["ended"]) == (True, "success")
    uploads.assert_has_none("first")
    uploads.assert_has(CONTENT, "second")


def test_a_page_is_told_the_attachment(uploads: Uploads, runs: Callable[[str], Any]) -> None:
    ended = runs("""
        const accepting = {...headers, Accept: "application/json"};
        return uppy(attachment("first") + "/uploads", accepting, content);
    """)

    told = json.loads(ended["answer"])
    assert (told["hash"], told["filename"]) == (sha256(CONTENT), "a.bin")
    assert told == uploads.ask("GET", uploads.record_url("first")).json()["data"]["attachment"]
