"""Kinto Admin in Chromium: an editor attaches, looks at, replaces and deletes files."""

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page

from tests.clients.pages import Elsewhere
from tests.clients.servers import PATIENCE, PUBLIC, SETTINGS, Album, png
from tests.support.parts import sha256
from tests.support.processes import Kinto
from tests.support.streaming import server

SCHEMA = {"type": "object", "properties": {"title": {"type": "string", "title": "Title"}}}
METADATA = {
    "attachment": {"enabled": True, "required": False},
    "schema": SCHEMA,
    "uiSchema": {"title": {"ui:placeholder": "What is to be seen"}},
    "displayFields": ["title"],
}
SEA = png(120, [(70, 160, 230), (70, 160, 230), (20, 70, 150), (240, 210, 140)])
SIZE = (850, 700)
ITS_OWN = ("Client not configured.", "/images/favicon.png")
"""What Kinto Admin complains of with any server."""


@dataclass
class Admin:
    """What an editor does, who has signed in."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def sign_in(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", self._look)
        self.page.goto(self.url)
        self.page.get_by_label("Basic Auth").check()
        self.page.get_by_label("Username").fill("owner")
        self.page.get_by_label("Password").fill("secret")
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_text("Connected as basicauth:").wait_for()

    def _look(self, answer: Any) -> None:
        if answer.status >= 400:
            self.complaints.append(f"{answer.status} {answer.request.method} {answer.url}")

    def leave(self) -> None:
        """Go away from what was open, but stay signed in."""
        self.page.goto("about:blank")
        self.complaints.clear()

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}#/buckets/clients/collections/album/records/{path}")

    def open_record(self) -> Locator:
        """The page of the first record; returns what tells of its attachment."""
        self.open("first/attributes")
        about = self.page.locator(".attachment-attributes")
        about.wait_for()
        return about

    def choose(self, name: str, kind: str, content: bytes) -> None:
        chosen = FilePayload(name=name, mimeType=kind, buffer=content)
        self.page.get_by_label("File attachment").set_input_files(chosen)

    def press(self, name: str, answer: str) -> None:
        """Press a button, after which something is told."""
        self.page.get_by_role("button", name=name).click()
        self.page.get_by_text(answer).first.wait_for()

    def told(self) -> list[str]:
        """What went wrong, as a browser's console shows it."""
        return [told for told in self.complaints if not any(own in told for own in ITS_OWN)]


@contextlib.contextmanager
def signed_in_to(kinto: Kinto, chromium: Browser) -> Iterator[Admin]:
    with chromium.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}) as context:
        context.set_default_timeout(PATIENCE)
        admin = Admin(context.new_page(), f"{kinto.url}/admin/")
        admin.sign_in()
        yield admin


@pytest.fixture(scope="module")
def signed_in(kinto: Kinto, chromium: Browser) -> Iterator[Admin]:
    with signed_in_to(kinto, chromium) as admin:
        yield admin


@pytest.fixture
def admin(signed_in: Admin) -> Admin:
    signed_in.leave()
    return signed_in


@pytest.fixture
def album(kinto: Kinto, admin: Admin) -> Album:
    """Everybody may read its records: the browser opens links without a password."""
    made = Album(kinto)
    made.begin(data=METADATA, permissions=PUBLIC)
    return made


def test_a_record_is_created_with_a_file(album: Album, admin: Admin) -> None:
    admin.open("create")
    admin.page.get_by_label("Title").fill("At the sea")
    admin.choose("sea.png", "image/png", SEA)
    admin.press("Create record", "Record created")

    (record,) = album.records()
    assert record["title"] == "At the sea"
    assert (record["attachment"]["filename"], record["attachment"]["size"]) == (
        "sea.png",
        len(SEA),
    )
    assert record["attachment"]["hash"] == sha256(SEA)
    assert album.files() == [SEA]
    assert admin.told() == []


def test_the_page_of_a_record_shows_its_attachment(album: Album, admin: Admin) -> None:
    location = album.attach(SEA, "sea.png")["attachment"]["location"]
    about = admin.open_record()

    for shown in ("sea.png", f"{len(SEA)} B", sha256(SEA), "image/png"):
        about.get_by_text(shown, exact=True).wait_for()
    about.locator("img").evaluate("image => image.decode()")
    assert about.locator("img").evaluate("image => image.naturalWidth") == 120
    with admin.page.context.expect_page() as opened:
        about.locator("td a").click()
    assert opened.value.evaluate("document.contentType") == "image/png"
    assert opened.value.url == f"{album.kinto.url}/{location}"
    opened.value.close()
    assert admin.told() == []


def test_the_page_of_a_record_that_not_everybody_may_read_comes_to_rest(
    album: Album, admin: Admin
) -> None:
    """Its preview is an <img>, which sends no password: a dialogue would never end here."""
    album.begin(data=METADATA)
    album.attach(SEA, "sea.png")
    about = admin.open_record()
    admin.page.wait_for_load_state("networkidle")

    assert about.locator("img").evaluate("image => image.complete && !image.naturalWidth")
    assert [told.split(" ")[:2] for told in admin.told()] == [["401", "GET"]]


def test_a_file_is_replaced_by_another(album: Album, admin: Admin) -> None:
    album.attach(SEA, "sea.png", data={"title": "old"})
    admin.open_record()
    admin.page.get_by_label("Title").fill("new")
    admin.choose("notes.txt", "text/plain", b"waves")
    admin.press("Update record", "Record updated")

    record = album.record()
    assert record["title"] == "new"
    assert record["attachment"]["filename"] == "notes.txt"
    assert record["attachment"]["mimetype"] == "text/plain"
    assert album.files() == [b"waves"]
    assert admin.told() == []


def test_a_title_is_changed_and_the_file_stays(album: Album, admin: Admin) -> None:
    before = album.attach(SEA, "sea.png", data={"title": "old"})
    admin.open_record()
    admin.page.get_by_label("Title").fill("new")
    admin.press("Update record", "Record updated")

    assert album.record()["title"] == "new"
    assert album.record()["attachment"] == before["attachment"]
    assert album.files() == [SEA]
    assert admin.told() == []


def test_an_attachment_is_deleted_and_the_record_stays(album: Album, admin: Admin) -> None:
    album.attach(SEA, "sea.png", data={"title": "kept"})
    about = admin.open_record()
    admin.page.get_by_role("button", name="Delete this attachment").click()
    about.wait_for(state="detached")

    record = album.record()
    assert record == {"id": "first", "title": "kept", "last_modified": record["last_modified"]}
    assert album.files() == []
    assert admin.told() == []


def test_who_was_slower_overwrites_nothing(album: Album, admin: Admin) -> None:
    album.attach(SEA, "sea.png", data={"title": "old"})
    admin.open_record()
    quicker = album.attach(b"quicker", "quicker.txt")
    admin.choose("slower.txt", "text/plain", b"slower")
    admin.press("Update record", "has been modified meanwhile")

    assert album.record() == quicker
    assert album.files() == [b"quicker"]
    assert [told.split(" ")[0] for told in admin.told()] == ["412"]


def test_the_form_tells_why_a_file_is_refused(album: Album, admin: Admin) -> None:
    admin.open("create")
    admin.choose("script.exe", "application/octet-stream", b"MZ")
    admin.press("Create record", "The extension of 'script.exe' is not allowed here")

    assert album.records() == []
    assert album.files() == []
    assert [told.split(" ")[0] for told in admin.told()] == ["400"]


def test_links_lead_to_the_web_server_that_has_the_files(
    tmp_path: Path, chromium: Browser, another_origin: Elsewhere
) -> None:
    cdn = f"{another_origin.origin}/files/"
    with (
        server("waitress", tmp_path, attachment__base_url=cdn, **SETTINGS) as kinto,
        signed_in_to(kinto, chromium) as admin,
    ):
        admin.leave()
        album = Album(kinto)
        album.begin(data=METADATA)
        admin.open("create")
        admin.choose("sea.png", "image/png", SEA)
        admin.press("Create record", "Record created")
        (record,) = album.records()
        location = record["attachment"]["location"]
        stored = kinto.files / location.removeprefix(cdn)
        another_origin.pages[f"/files/{stored.name}"] = ("image/png", stored.read_bytes())

        admin.open(f"{record['id']}/attributes")
        image = admin.page.locator(".attachment-attributes img")
        image.evaluate("image => image.decode()")

        assert image.get_attribute("src") == location
        assert image.evaluate("image => image.naturalWidth") == 120
        assert admin.told() == []


@pytest.mark.parametrize("kinto", ["waitress"], indirect=True)
def test_the_screenshot_of_a_record_is_small(album: Album, admin: Admin, tmp_path: Path) -> None:
    """Where SCREENSHOTS names a folder, README's picture is made anew."""
    album.attach(SEA, "sea.png", data={"title": "At the sea"})
    admin.open_record().locator("img").evaluate("image => image.decode()")
    admin.page.get_by_test_id("sidebar-toggle").click()
    admin.page.evaluate("document.body.style.zoom = 0.8")
    path = Path(os.environ.get("SCREENSHOTS", tmp_path)) / "kinto-admin.png"
    admin.page.locator(".content .card").first.screenshot(path=path)

    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">2I", content[16:24])
    assert SIZE[0] - 30 < width < SIZE[0]
    assert 400 < height < SIZE[1]
    assert len(content) < 60_000
