"""Large files on the demo page, which go in several requests: pauses, reloads and restarts."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.clients.test_demo import Visitor, every_server, fits
from tests.clients.test_demo import visitor as visitor  # noqa: PLC0414 - a fixture
from tests.support import parts, processes, streaming
from tests.support.processes import Kinto

SETTINGS: Any = {"attachment__demo": "true", "attachment__uploads": "true"}
SIZE = 20_000_000
CONTENT = (bytes(range(251)) * (SIZE // 251 + 1))[:SIZE]
SLOW, FAST = 8_000_000, -1
"""Bytes a second."""


@pytest.fixture(scope="module")
def waitress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    with streaming.server("waitress", tmp_path_factory.mktemp("w"), **SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    with streaming.server("gunicorn", tmp_path_factory.mktemp("g"), **SETTINGS) as running:
        yield running


@pytest.fixture
def kinto(request: pytest.FixtureRequest) -> Kinto:
    found: Kinto = request.getfixturevalue(getattr(request, "param", "gunicorn"))
    return found


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.txt"
    path.write_bytes(CONTENT)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


@pytest.fixture
def methods(visitor: Visitor) -> list[str]:
    """Of the requests to uploads, as they are sent."""
    sent: list[str] = []
    visitor.page.on("request", lambda r: sent.append(r.method) if "/uploads" in r.url else None)
    return sent


def throttle(page: Page, upload: int) -> None:
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network.send("Network.emulateNetworkConditions", {**limits, "uploadThroughput": upload})


def begins(visitor: Visitor, film: Path) -> None:
    """The upload of the film, until its first piece has come."""
    throttle(visitor.page, SLOW)
    with visitor.page.expect_response(lambda answer: answer.request.method == "PATCH"):
        visitor.page.set_input_files("#files", film)


def is_stored(visitor: Visitor, content: bytes = CONTENT) -> None:
    visitor.has_stored("film.txt")
    assert visitor.file("film.txt") == content
    assert visitor.page.evaluate("localStorage.length") == 0
    assert waiting(visitor) == []


def waiting(visitor: Visitor) -> list[Path]:
    """What the store has of unfinished uploads."""
    return list((visitor.kinto.files / ".kinto-attachment-uploads").glob("*"))


@every_server
def test_one_pauses_and_goes_on(visitor: Visitor, film: Path, methods: list[str]) -> None:
    visitor.signs_in()
    begins(visitor, film)
    row = visitor.page.locator(".upload")
    expect(row).to_contain_text(re.compile(r"\d+(\.\d)? MB of 20 MB, \d seconds? left"))
    picture_of(visitor.page, "running")
    visitor.button("Pause", "film.txt").focus()
    visitor.page.keyboard.press("Enter")
    expect(row).to_contain_text("Paused. What has come stays on the server.")
    expect(visitor.button("Go on", "film.txt")).to_be_focused()
    visitor.page.set_viewport_size({"width": 320, "height": 640})
    fits(visitor.page)
    picture_of(visitor.page, "paused")
    assert visitor.records() == {}
    before = len(methods)
    throttle(visitor.page, FAST)

    visitor.page.keyboard.press("Enter")

    is_stored(visitor)
    assert methods.count("POST") == 1
    assert methods[before] == "HEAD"
    assert set(methods[before + 1 :]) == {"PATCH"}
    expect(visitor.page.get_by_role("status")).to_have_text("film.txt is stored.")


@pytest.mark.parametrize("same", [True, False], ids=["same-file", "changed-file"])
def test_after_a_reload_the_same_file_goes_on_and_another_one_begins(
    visitor: Visitor, film: Path, methods: list[str], same: bool
) -> None:
    visitor.name = f"reloads-{same}"
    visitor.signs_in()
    begins(visitor, film)
    visitor.page.reload()
    row = visitor.page.locator(".upload")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(re.compile(r"of 20 MB\. Choose the file again, and it goes on"))
    assert 0 < row.locator("progress").evaluate("bar => bar.value") < 1
    picture_of(visitor.page, "unfinished")
    throttle(visitor.page, FAST)
    content = CONTENT if same else CONTENT[::-1]
    if not same:
        film.write_bytes(content)

    visitor.page.set_input_files("#files", film)

    expect(visitor.card("film.txt")).to_be_visible()
    if same:
        is_stored(visitor)
        return
    assert visitor.file("film.txt") == content
    assert methods.count("POST") == 2
    visitor.button("Cancel", "film.txt").click()
    expect(row).to_have_count(0)
    assert visitor.page.evaluate("localStorage.length") == 0


def picture_of(page: Page, name: str) -> None:
    """Where SCREENSHOTS names a folder."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_what_is_cancelled_leaves_nothing(visitor: Visitor, film: Path) -> None:
    visitor.signs_in()
    begins(visitor, film)
    with visitor.page.expect_response(lambda answer: answer.request.method == "DELETE") as gone:
        visitor.button("Cancel", "film.txt").click()

    assert gone.value.status == 204
    assert visitor.records() == {}
    assert waiting(visitor) == []
    assert visitor.page.evaluate("localStorage.length") == 0


def test_a_file_in_place_of_another_is_refused_where_somebody_was_quicker(
    visitor: Visitor, film: Path
) -> None:
    visitor.attaches("one", "mine.txt", b"mine")
    visitor.signs_in()
    throttle(visitor.page, SLOW)
    with visitor.page.expect_file_chooser() as chooser:
        visitor.button("Replace", "mine.txt").click()
    with visitor.page.expect_response(lambda answer: answer.request.method == "PATCH"):
        chooser.value.set_files(film)
    visitor.attaches("one", "theirs.txt", b"theirs")
    throttle(visitor.page, FAST)

    expect(visitor.page.locator(".failed")).to_contain_text("Somebody else changed it")
    assert visitor.file("theirs.txt") == b"theirs"
    assert visitor.page.evaluate("localStorage.length") == 0
    visitor.forgives("status of 412")


def test_it_goes_on_by_itself_after_the_server_was_killed_and_started_again(
    page: Page, film: Path, tmp_path: Path, postgresql: str, on_postgresql: Any
) -> None:
    on_postgresql()  # Empty from here on: it knows the store of an earlier test.
    backend = parts.postgresql_settings(postgresql)
    own = {f"kinto.{name.replace('__', '.')}": value for name, value in SETTINGS.items()}
    settings = processes.basic_settings(tmp_path, backend) | own
    with ExitStack() as stack:
        kinto = stack.enter_context(processes.running_kinto(tmp_path, settings))
        visitor = Visitor(page, kinto, "killed", f"{kinto.url}/attachments/")
        visitor.signs_in()
        begins(visitor, film)
        for process in streaming.serving(kinto):
            process.send_signal(signal.SIGKILL)
            process.wait()
        expect(page.locator(".upload .note")).to_contain_text("It goes on by itself.")
        throttle(page, FAST)
        port = kinto.origin.rpartition(":")[2]
        again = [str(processes.BIN / "kinto"), "start", "--ini", "kinto.ini", "--port", port]
        stack.enter_context(processes.answering(again, tmp_path))

        is_stored(visitor)
        visitor.forgives("ERR_CONNECTION_RE")
        assert visitor.complaints == []
