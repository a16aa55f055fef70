"""Files that a browser opens: by themselves, in a page, and from another origin."""

import base64
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from tests.clients.browser import Site, running
from tests.clients.pages import Elsewhere
from tests.clients.servers import png
from tests.clients.test_browser import ALICE, PUBLIC, wav

PICTURE = png(40, [(70, 160, 230), (20, 70, 150)])
RECORDS = "/v1/buckets/default/collections/opened/records"

FILM = """async () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 64;
    const context = canvas.getContext("2d");
    const recorder = new MediaRecorder(canvas.captureStream(25), {mimeType: "video/webm"});
    const parts = [];
    recorder.ondataavailable = event => parts.push(event.data);
    const stopped = new Promise(done => { recorder.onstop = done });
    recorder.start();
    for (let n = 0; n < 25; n++) {
        context.fillStyle = n % 2 ? "red" : "blue";
        context.fillRect(0, 0, 64, 64);
        await new Promise(requestAnimationFrame);
    }
    recorder.stop();
    await stopped;
    const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
    return btoa(String.fromCharCode(...bytes));
}"""
"""A film of the browser's own making, in base64."""

PLAYED = """async () => {
    const media = document.querySelector("video, audio");
    if (!media) return "there is nothing that could play";
    media.muted = true;
    const moves = new Promise(done => media.addEventListener("timeupdate", () => done("played")));
    const fails = new Promise(done => setTimeout(() => done("it does not play"), 30_000));
    media.play().catch(() => {});
    return media.currentTime ? "played" : Promise.race([moves, fails]);
}"""


def attach(site: Site, name: str, content: bytes, kind: str, **form: str) -> str:
    """The path of a record with a file."""
    record = f"{RECORDS}/{name.replace('.', '-')}"
    files = {"attachment": (name, content, kind)}
    url = f"{site.origin}{record}/attachment"
    requests.post(url, files=files, data=form, auth=ALICE).raise_for_status()
    bucket = requests.get(f"{site.origin}/v1/", auth=ALICE).json()["user"]["bucket"]
    return record.replace("default", bucket)


def link(site: Site, record: str) -> str:
    url = f"{site.origin}{record}/attachment/link"
    return str(requests.post(url, auth=ALICE).json()["data"]["url"])


@pytest.mark.parametrize("kind", ["video/webm", "audio/wav"])
def test_a_film_or_a_sound_plays_that_is_opened_by_itself(
    tmp_path: Path, page: Page, kind: str
) -> None:
    with running(tmp_path) as site:
        site.pages["/page"] = ("text/html", b"<!DOCTYPE html>")
        page.goto(f"{site.origin}/page")
        film = kind.startswith("video/")
        content = base64.b64decode(page.evaluate(FILM)) if film else wav(200_000)
        record = attach(site, f"a.{kind.split('/')[1]}", content, kind)
        refused: list[Any] = []
        page.on("console", lambda said: refused.append(said.text))

        opened = page.goto(link(site, record))

        # In a sandbox nothing plays, and the browser would not even say so.
        assert opened
        assert "sandbox" not in opened.headers["content-security-policy"]
        assert page.evaluate(PLAYED) == "played"
        # No script of a page runs there, whoever wrote it.
        page.evaluate("document.body.append(document.createElement('script'))")
        page.evaluate("document.querySelector('script').textContent = 'document.title = 1'")
        assert page.title() != "1"
        assert [said for said in refused if "script" not in said] == []


FETCHED = """async url => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const answer = await fetch(url);
    return [image.naturalWidth, (await answer.blob()).size];
}"""


def test_a_picture_that_a_page_has_shown_can_be_fetched_by_it(
    tmp_path: Path, page: Page, another_origin: Elsewhere
) -> None:
    more = {"kinto.attachment.public_max_age": "3600"}
    with running(tmp_path, **more) as site:
        record = attach(site, "a.png", PICTURE, "image/png", permissions=PUBLIC)
        page.goto(another_origin.html("/page", "<!DOCTYPE html>"))

        shown = page.evaluate(FETCHED, f"{site.origin}{record}/attachment")

        assert shown == [40, len(PICTURE)]
        kept = f"{site.origin}{record}/attachment"
        assert requests.get(kept).headers["Cache-Control"] == "public, max-age=3600"


def test_a_page_with_a_picture_that_nobody_may_read_comes_to_rest(
    tmp_path: Path, page: Page
) -> None:
    with running(tmp_path) as site:
        record = attach(site, "a.png", PICTURE, "image/png")
        page_with = f'<!DOCTYPE html><img src="{record}/attachment">'
        site.pages["/page"] = ("text/html", page_with.encode())

        page.goto(f"{site.origin}/page", wait_until="load")

        assert page.evaluate("document.images[0].complete")
        assert page.evaluate("document.images[0].naturalWidth") == 0
