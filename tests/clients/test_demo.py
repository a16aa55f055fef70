"""The demo page in a real Chromium: what a person does, and what it does to records and files."""

import base64
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Locator, Page, expect

from kinto_attachment import keys
from tests.clients.browser import running
from tests.clients.servers import PATIENCE
from tests.clients.test_documented_nginx import nginx
from tests.support import streaming
from tests.support.processes import Kinto

expect.set_options(timeout=PATIENCE)

Palette = list[tuple[int, int, int]]


def png(rows: list[bytes], palette: Palette) -> bytes:
    """A picture of few colours: a byte for each point, which is a place in the palette."""
    size = struct.pack(">2I", len(rows[0]), len(rows))
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    found = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", size + bytes([8, 3, 0, 0, 0])),
        (b"PLTE", bytes(value for colour in palette for value in colour)),
        (b"IDAT", pixels),
        (b"IEND", b""),
    ):
        found += struct.pack(">I", len(data)) + kind + data
        found += struct.pack(">I", zlib.crc32(kind + data))
    return found


def picture(number: int = 0, width: int = 6, height: int = 4) -> bytes:
    """A picture like no other number's."""
    return png([bytes(width)] * height, [(number, 90, 150)])


def running_demo(kind: str, factory: pytest.TempPathFactory) -> AbstractContextManager[Kinto]:
    return streaming.server(kind, factory.mktemp(kind), attachment__demo="true")


@pytest.fixture(scope="module")
def waitress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    with running_demo("waitress", tmp_path_factory) as kinto:
        yield kinto


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    with running_demo("gunicorn", tmp_path_factory) as kinto:
        yield kinto


@pytest.fixture
def kinto(request: pytest.FixtureRequest) -> Kinto:
    """A server that the whole module shares: waitress, unless a test asks for both."""
    found: Kinto = request.getfixturevalue(getattr(request, "param", "waitress"))
    return found


every_server = pytest.mark.parametrize("kinto", ["waitress", "gunicorn"], indirect=True)


@dataclass
class Visitor:
    """Somebody before the page, with an account of their own."""

    page: Page
    kinto: Kinto
    name: str
    address: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        def said(message: Any) -> None:
            if message.type in ("error", "warning"):
                self.complaints.append(message.text)

        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        # From the start: what asks for it just before a key is pressed may be too late.
        self.page.on("filechooser", lambda _: None)

    @property
    def auth(self) -> tuple[str, str]:
        return self.name, "pässword"

    @property
    def records_url(self) -> str:
        return f"{self.kinto.url}/buckets/default/collections/pictures/records"

    def signs_in(self) -> None:
        self.page.goto(self.address)
        self.page.get_by_label("Name").fill(self.name)
        self.page.get_by_label("Password").fill(self.auth[1])
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Files in pictures")).to_be_visible()

    def chooses(self, *files: tuple[str, bytes]) -> None:
        self.page.set_input_files("#files", payload(*files))

    def has_stored(self, *names: str) -> None:
        """The list shows these files, the newest first, and nothing is on its way."""
        expect(self.page.locator(".card h3")).to_have_text(list(names))
        expect(self.page.locator(".upload")).to_have_count(0)

    def card(self, filename: str) -> Locator:
        found = self.page.locator(".card")
        return found.filter(has=self.page.get_by_role("heading", name=filename, exact=True))

    def button(self, word: str, filename: str) -> Locator:
        return self.page.get_by_role("button", name=f"{word} {filename}", exact=True)

    def records(self) -> dict[str, Any]:
        """The records, by the names of their files."""
        found = requests.get(self.records_url, auth=self.auth).json()["data"]
        return {record["attachment"]["filename"]: record for record in found}

    def file(self, filename: str) -> bytes:
        """What the store holds for a record's file."""
        (path,) = self.paths(self.records()[filename])
        return path.read_bytes()

    def paths(self, record: dict[str, Any]) -> list[Path]:
        file_id = keys.id_in_location(record["attachment"]["location"])
        return [*self.kinto.files.glob(f"{file_id}*")]

    def stored(self) -> set[str]:
        return {path.name for path in self.kinto.files.rglob("[!.]*") if path.is_file()}

    def attaches(self, record_id: str, filename: str, content: bytes) -> None:
        """Past the page, like another program."""
        url = f"{self.records_url}/{record_id}/attachment"
        answer = requests.post(url, files={"attachment": (filename, content)}, auth=self.auth)
        assert answer.ok, answer.text

    def forgives(self, pattern: str) -> None:
        """Chromium notes in the console that a request was refused: here it is meant to be."""
        assert [text for text in self.complaints if re.search(pattern, text)]
        self.complaints[:] = [t for t in self.complaints if not re.search(pattern, t)]


@pytest.fixture
def visitor(page: Page, kinto: Kinto, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    name = request.node.originalname.removeprefix("test_")[:40]
    made = Visitor(page, kinto, name, f"{kinto.url}/attachments/")
    yield made
    assert made.complaints == []


def payload(*files: tuple[str, bytes]) -> list[Any]:
    return [{"name": name, "mimeType": "", "buffer": content} for name, content in files]


def wait_for_pictures(visitor: Visitor, count: int) -> None:
    images = visitor.page.locator(".card img")
    expect(images).to_have_count(count)
    assert all(image.evaluate("image => image.naturalWidth") > 0 for image in images.all())


# Signing in


def test_one_signs_in_stays_so_over_a_reload_and_is_forgotten(visitor: Visitor) -> None:
    page = visitor.page
    visitor.signs_in()
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    expect(page.locator("#user")).to_contain_text(visitor.name)
    collection = requests.get(visitor.records_url.removesuffix("/records"), auth=visitor.auth)
    assert collection.json()["data"]["id"] == "pictures"

    page.reload()
    expect(page.get_by_role("heading", name="Files in pictures")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0
    assert page.context.cookies() == []

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_have_value("")
    assert page.evaluate("sessionStorage.length") == 0
    assert page.locator("#album").is_hidden()


def test_without_a_default_bucket_the_page_says_what_is_missing(
    page: Page, tmp_path: Path
) -> None:
    plain = {"kinto.includes": "kinto_attachment", "kinto.attachment.demo": "true"}
    with running(tmp_path, **plain) as site:
        page.goto(f"{site.origin}/v1/attachments/")
        page.get_by_label("Name").fill("alice")
        page.get_by_label("Password").fill("secret")
        page.get_by_role("button", name="Sign in").click()

        expect(page.get_by_role("alert")).to_contain_text("needs kinto.plugins.default_bucket")


def test_the_page_is_off_unless_it_is_asked_for(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as site:
        answer = page.goto(f"{site.origin}/v1/attachments/")

        assert answer is not None
        assert answer.status == 404


# Files come


@every_server
def test_chosen_files_are_stored_and_listed_with_thumbnails(visitor: Visitor) -> None:
    files = {"a.png": picture(1), "b.png": picture(2, height=60), "notes.txt": b"hello"}
    visitor.signs_in()
    for name, content in files.items():
        visitor.chooses((name, content))
        expect(visitor.card(name)).to_be_visible()

    visitor.has_stored("notes.txt", "b.png", "a.png")
    wait_for_pictures(visitor, 2)
    boxes = [image.bounding_box() for image in visitor.page.locator(".card img").all()]
    assert len({(box["width"], box["height"]) for box in boxes if box}) == 1
    expect(visitor.card("notes.txt").locator(".tile")).to_have_text("txt")
    expect(visitor.card("notes.txt")).to_contain_text("5 bytes")
    expect(visitor.page.get_by_role("status")).to_have_text("notes.txt is stored.")
    shown = visitor.card("a.png").locator("time").get_attribute("datetime")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown or "")
    assert {name: visitor.file(name) for name in visitor.records()} == files

    visitor.page.reload()
    visitor.has_stored("notes.txt", "b.png", "a.png")


def test_dropped_files_are_stored(visitor: Visitor) -> None:
    visitor.signs_in()
    content = base64.b64encode(picture(3)).decode()
    dropped = visitor.page.evaluate_handle(
        """content => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        content,
    )
    visitor.page.dispatch_event("#drop", "dragover", {"dataTransfer": dropped})
    expect(visitor.page.locator("body")).to_have_class("dragging")
    visitor.page.dispatch_event("#drop", "drop", {"dataTransfer": dropped})

    visitor.has_stored("dropped.png")
    expect(visitor.page.locator("body")).to_have_class("")
    wait_for_pictures(visitor, 1)
    assert visitor.file("dropped.png") == picture(3)


@every_server
def test_three_files_go_at_once_with_progress_and_one_can_be_cancelled(visitor: Visitor) -> None:
    visitor.signs_in()
    posted: list[str] = []
    visitor.page.on("request", lambda sent: posted.append(sent.method))
    before = visitor.stored()
    network = visitor.page.context.new_cdp_session(visitor.page)
    throttled = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", {**throttled, "uploadThroughput": 100 * 1024})

    visitor.chooses(*((f"{number}.txt", bytes([97 + number]) * 500_000) for number in range(5)))

    for number in range(3):
        bar = visitor.page.get_by_role("progressbar", name=f"Upload of {number}.txt")
        expect(bar).not_to_have_attribute("value", "0")
        assert 0 < bar.evaluate("bar => bar.value") < 1
    assert posted.count("POST") == 3
    visitor.button("Cancel", "1.txt").click()
    visitor.button("Cancel", "4.txt").click()
    expect(visitor.page.locator(".upload .name")).to_have_text(["0.txt", "2.txt", "3.txt"])
    network.send("Network.emulateNetworkConditions", {**throttled, "uploadThroughput": -1})

    expect(visitor.page.locator(".card")).to_have_count(3)
    expect(visitor.page.locator(".upload")).to_have_count(0)
    assert set(visitor.records()) == {"0.txt", "2.txt", "3.txt"}
    assert visitor.file("3.txt") == b"d" * 500_000
    assert len(visitor.stored() - before) == 3


@every_server
def test_a_refused_file_is_told_why_and_nothing_is_stored(visitor: Visitor) -> None:
    visitor.signs_in()
    before = visitor.stored()
    visitor.chooses(("virus.exe", b"MZ"))

    row = visitor.page.locator(".upload")
    expect(row).to_contain_text("The extension of 'virus.exe' is not allowed here; allowed are")
    expect(visitor.page.get_by_role("status")).to_contain_text("is not allowed here")
    assert visitor.records() == {}
    assert visitor.stored() == before

    visitor.button("Dismiss", "virus.exe").click()
    expect(row).to_have_count(0)
    expect(visitor.page.locator("#files")).to_be_focused()
    visitor.forgives("status of 400")


def test_a_file_that_did_not_get_through_is_sent_again(visitor: Visitor) -> None:
    visitor.signs_in()
    visitor.page.context.set_offline(True)
    visitor.chooses(("a.png", picture(4)))
    expect(visitor.page.locator(".upload")).to_contain_text("The file was not sent")
    visitor.page.context.set_offline(False)
    assert visitor.records() == {}

    visitor.button("Try again", "a.png").click()

    visitor.has_stored("a.png")
    expect(visitor.button("Open", "a.png")).to_be_focused()
    assert visitor.file("a.png") == picture(4)
    visitor.forgives("ERR_INTERNET_DISCONNECTED")


def test_a_name_of_a_file_is_text_and_nothing_else(visitor: Visitor) -> None:
    tags = "<img src=x onerror=alert(1)><script>alert(2)<script>"
    name = f"{tags} 'onmouseover='alert(3)' &lt;b&gt; %3Cb%3E 日本.png"
    visitor.signs_in()
    visitor.chooses((name, picture(5)), (name.replace("png", "exe"), b"MZ"))

    expect(visitor.page.locator(".failed .name")).to_have_text(name.replace("png", "exe"))
    expect(visitor.page.locator(".failed .note")).to_contain_text(name.replace("png", "exe"))
    expect(visitor.card(name)).to_be_visible()
    visitor.button("Copy link", name).click()
    visitor.button("Remove", name).click()
    visitor.button("Really remove", name).click()
    expect(visitor.page.get_by_role("status")).to_have_text(f"{name} is removed.")
    assert visitor.page.locator("main script, main [src=x], main b").count() == 0
    assert visitor.records() == {}
    visitor.forgives("status of 400")


# Files change and go


@every_server
def test_a_replaced_file_is_gone_and_its_record_stays(visitor: Visitor) -> None:
    visitor.signs_in()
    visitor.chooses(("old.png", picture(6)))
    visitor.has_stored("old.png")
    before = visitor.records()["old.png"]
    visitor.button("Replace", "old.png").focus()
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.keyboard.press("Enter")
    chooser.value.set_files(payload(("new.png", picture(7))))

    visitor.has_stored("new.png")
    wait_for_pictures(visitor, 1)
    expect(visitor.button("Replace", "new.png")).to_be_focused()
    assert visitor.records()["new.png"]["id"] == before["id"]
    assert visitor.file("new.png") == picture(7)
    assert visitor.paths(before) == []


def test_a_file_that_somebody_else_changed_is_not_overwritten(visitor: Visitor) -> None:
    visitor.attaches("one", "mine.png", picture(8))
    visitor.signs_in()
    visitor.has_stored("mine.png")
    visitor.attaches("one", "theirs.png", picture(9))
    with visitor.page.expect_file_chooser() as chooser:
        visitor.button("Replace", "mine.png").click()
    chooser.value.set_files(payload(("new.png", picture(10))))

    changed = "Somebody else changed it: the list has been read again."
    expect(visitor.page.locator(".upload .note")).to_have_text(changed)
    expect(visitor.button("Try again", "new.png")).to_be_hidden()
    visitor.button("Dismiss", "new.png").click()
    visitor.has_stored("theirs.png")
    assert visitor.file("theirs.png") == picture(9)
    visitor.forgives("status of 412")


@every_server
def test_remove_asks_again_and_takes_the_record_with_its_file(visitor: Visitor) -> None:
    visitor.attaches("kept", "kept.txt", b"kept")
    visitor.attaches("gone", "gone.txt", b"gone")
    visitor.signs_in()
    record = visitor.records()["gone.txt"]
    remove, sure = (visitor.button(word, "gone.txt") for word in ("Remove", "Really remove"))

    remove.dblclick()
    expect(visitor.card("gone.txt")).to_contain_text("Press again")
    visitor.page.keyboard.press("Escape")
    expect(remove).to_be_focused()
    remove.click()
    visitor.page.keyboard.press("Tab")
    expect(remove).to_be_visible()
    assert visitor.file("gone.txt") == b"gone"

    remove.click()
    sure.click()

    visitor.has_stored("kept.txt")
    expect(visitor.button("Open", "kept.txt")).to_be_focused()
    assert set(visitor.records()) == {"kept.txt"}
    assert visitor.paths(record) == []


def test_a_record_that_somebody_else_changed_is_not_removed(visitor: Visitor) -> None:
    visitor.attaches("one", "old.txt", b"old")
    visitor.signs_in()
    visitor.has_stored("old.txt")
    visitor.attaches("one", "new.txt", b"new")
    visitor.button("Remove", "old.txt").click()
    visitor.button("Really remove", "old.txt").click()

    expect(visitor.page.locator("#list-note")).to_contain_text("Somebody else changed it")
    expect(visitor.page.get_by_role("heading", name="Files in pictures")).to_be_focused()
    visitor.has_stored("new.txt")
    assert visitor.file("new.txt") == b"new"
    visitor.forgives("status of 412")


# Links


@every_server
def test_a_copied_link_opens_the_file_without_a_password(visitor: Visitor) -> None:
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.attaches("one", "a.png", picture(11))
    visitor.signs_in()
    visitor.button("Copy link", "a.png").click()

    expect(visitor.card("a.png")).to_contain_text("The link is copied. For 5 minutes it opens")
    link = visitor.page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{visitor.kinto.url}/buckets/")
    assert requests.get(link).content == picture(11)


def test_where_the_clipboard_is_closed_the_link_is_shown(visitor: Visitor) -> None:
    visitor.page.context.grant_permissions(["geolocation"])  # And nothing else.
    visitor.attaches("one", "a.png", picture(12))
    visitor.signs_in()
    visitor.button("Copy link", "a.png").click()

    field = visitor.page.get_by_role("textbox", name="Link")
    expect(field).to_be_focused()
    expect(visitor.card("a.png")).to_contain_text("Copy this link. For 5 minutes it opens")
    selected = visitor.page.evaluate("getSelection().toString()")
    assert selected == field.input_value()
    assert requests.get(selected).content == picture(12)


def test_a_file_opens_in_a_tab_of_its_own(visitor: Visitor) -> None:
    visitor.attaches("one", "a.png", picture(13))
    visitor.signs_in()
    with visitor.page.context.expect_page() as opened:
        visitor.button("Open", "a.png").click()

    tab = opened.value
    assert tab.locator("img").evaluate("image => image.naturalWidth") == 6
    assert tab.evaluate("window.opener") is None


# A picture for the README


def sunset(x: float, y: float) -> int:
    """A place in :data:`COLOURS`, for a point of a picture that is one high."""
    if (x - 0.75) ** 2 + (y - 0.6) ** 2 < 0.05 and y < 0.72:
        return 0
    if y > 0.72:
        return 4 + int(y * 25) % 2
    return 1 if y > 0.45 else 2 if y > 0.2 else 3


def mountains(x: float, y: float) -> int:
    near, far = 0.5 + 0.6 * abs(x - 0.45), 0.3 + 0.7 * abs(x - 1.05)
    if y > near:
        return 8 if y < 0.62 else 7
    return (8 if y < 0.42 else 9) if y > far else 6


COLOURS = [
    (255, 221, 140), (247, 156, 108), (232, 120, 116), (176, 98, 148), (58, 72, 130),
    (72, 88, 150), (193, 224, 245), (70, 92, 138), (246, 249, 252), (122, 148, 190),
]  # fmt: skip


def painted(colour: Callable[[float, float], int], width: int = 240, height: int = 160) -> bytes:
    rows = [bytes(colour(x / height, y / height) for x in range(width)) for y in range(height)]
    return png(rows, COLOURS)


def test_the_screenshot_of_the_page_is_small(visitor: Visitor, tmp_path: Path) -> None:
    """Where SCREENSHOTS names a folder, README's picture is made anew."""
    visitor.name = "alice"
    page = visitor.page
    page.set_viewport_size({"width": 800, "height": 620})
    for filename, content in (
        ("itinerary.pdf", b"%PDF-1.4 " + bytes(48_000)),
        ("mountains.png", painted(mountains)),
        ("sunset.png", painted(sunset)),
    ):
        visitor.attaches(filename.split(".")[0], filename, content)
    visitor.signs_in()
    visitor.has_stored("sunset.png", "mountains.png", "itinerary.pdf")
    wait_for_pictures(visitor, 2)
    path = Path(os.environ.get("SCREENSHOTS", tmp_path)) / "demo.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.screenshot(path=path)

    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">2I", content[16:24]) == (800, 620)
    assert len(content) < 60_000


# Everybody, everywhere


def test_the_keyboard_is_enough(visitor: Visitor) -> None:
    press, page = visitor.page.keyboard.press, visitor.page
    page.goto(visitor.address)
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(visitor.name)
    press("Tab")
    page.keyboard.type(visitor.auth[1])
    press("Tab")
    expect(page.get_by_label("Collection")).to_be_focused()
    press("Enter")
    expect(page.locator("#files")).to_be_focused()
    with page.expect_file_chooser() as chooser:
        press("Space")
    chooser.value.set_files(payload(("a.png", picture(14)), ("b.png", picture(15))))
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".upload")).to_have_count(0)
    expect(page.locator("#files")).to_be_focused()

    first = page.locator(".card h3").first.inner_text()
    for word in ("Open", "Copy link", "Replace", "Remove"):
        press("Tab")
        expect(visitor.button(word, first)).to_be_focused()
        outline = visitor.button(word, first).evaluate("b => getComputedStyle(b).outline")
        assert outline.endswith("solid 3px")
    press("Enter")
    expect(visitor.button("Really remove", first)).to_be_focused()
    press("Enter")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card button").first).to_be_focused()
    assert first not in visitor.records()
    assert len(visitor.records()) == 1

    press("Shift+Tab")
    press("Shift+Tab")
    expect(page.get_by_role("button", name="Sign out")).to_be_focused()
    press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()


def test_long_lists_come_in_pieces(visitor: Visitor) -> None:
    for number in range(26):
        visitor.attaches(f"r{number}", f"{number}.txt", b"x")
    visitor.signs_in()
    names = [f"{number}.txt" for number in reversed(range(26))]
    visitor.has_stored(*names[:24])

    visitor.page.get_by_role("button", name="More").click()

    visitor.has_stored(*names)
    expect(visitor.button("Open", "1.txt")).to_be_focused()
    expect(visitor.page.get_by_role("button", name="More")).to_be_hidden()


def test_it_fits_a_narrow_phone_and_fingers(visitor: Visitor) -> None:
    page = visitor.page
    visitor.name = "averylongnamewithoutanyspaceinit"
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(visitor.address)
    fits(page)
    visitor.attaches("one", f"{'verylong' * 12}.txt", b"x")
    visitor.signs_in()
    visitor.chooses(("a.png", picture(16)), (f"{'long' * 20}.exe", b"MZ"))
    expect(page.locator(".failed")).to_be_visible()
    expect(page.locator(".card")).to_have_count(2)
    page.context.grant_permissions(["geolocation"])
    visitor.button("Copy link", "a.png").click()
    expect(page.get_by_role("textbox", name="Link")).to_be_visible()
    fits(page)
    visitor.forgives("status of 400")


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for target in page.locator("button:visible, label.primary:visible, input:visible").all():
        box = target.bounding_box()
        assert box is not None
        if target.get_attribute("id") != "files":  # Its label is what is seen.
            assert box["height"] >= 44
            assert box["width"] >= 44


def test_it_works_under_another_path_of_a_proxy_that_says_nothing_of_it(
    visitor: Visitor, tmp_path: Path
) -> None:
    origin = visitor.kinto.origin
    locations = f"""
        location /v1/__lbheartbeat__ {{ proxy_pass {origin}; }}
        location /data/kinto/ {{ proxy_pass {origin}/; proxy_set_header Host $host; }}
    """
    with nginx(tmp_path, locations) as front:
        visitor.address = f"{front}/data/kinto/v1/attachments/"
        visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        visitor.signs_in()
        visitor.chooses(("a.png", picture(17)))
        visitor.has_stored("a.png")
        wait_for_pictures(visitor, 1)
        visitor.button("Copy link", "a.png").click()
        expect(visitor.card("a.png")).to_contain_text("The link is copied")
        link = visitor.page.evaluate("navigator.clipboard.readText()")
        assert link.startswith(f"{front}/data/kinto/v1/buckets/")
        assert requests.get(link).content == picture(17) == visitor.file("a.png")
