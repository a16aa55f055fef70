"""README's ways to attach a file, each with the client that it is written for.

The page's script and the form run in Chromium, on both kinds of servers. Of the commands only
gunicorn is left to try: ``test_documents.py`` types them all with waitress.
"""

import base64
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, HttpCredentials, Page

from tests.clients.pages import Elsewhere
from tests.clients.servers import BUILD, PACKAGES, PATIENCE, PUBLIC, SETTINGS, Album
from tests.support import parts, processes, streaming
from tests.support.documents import ALICE, RECORD, ROOT, example, ini
from tests.support.processes import Kinto, shell

ORIGIN = "http://127.0.0.1:8888"
PHOTO = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 16_000

on_gunicorn = pytest.mark.parametrize("kinto", ["gunicorn"], indirect=True)


@pytest.fixture
def album(kinto: Kinto) -> Album:
    """Alice's collection, which README's examples are about: her own bucket makes it."""
    made = Album(kinto, ALICE, RECORD.split("/records")[0])
    made.ask("POST", "/__flush__")
    return made


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(PHOTO)
    return path


def typed(album: Album, text: str) -> str:
    """An example, for this server."""
    assert ORIGIN in text
    return text.replace(ORIGIN, album.kinto.origin)


def assert_attached(album: Album, **fields: str) -> None:
    record = album.record()
    attachment = record.pop("attachment")
    assert (attachment["filename"], attachment["mimetype"]) == ("photo.jpg", "image/jpeg")
    assert (attachment["hash"], attachment["size"]) == (parts.sha256(PHOTO), len(PHOTO))
    assert record == {**fields, "id": "first", "last_modified": record["last_modified"]}
    assert album.files() == [PHOTO]
    assert album.ask("GET", f"/{attachment['location']}").content == PHOTO


# In a browser.


def test_the_script_attaches_the_file_that_was_chosen(
    album: Album, page: Page, another_origin: Elsewhere, photo: Path
) -> None:
    page.goto(another_origin.html("/", '<!DOCTYPE html><input type="file">'))
    page.set_input_files("input", photo)

    attachment = page.evaluate(f"""async () => {{
        const [file] = document.querySelector("input").files;
        {typed(album, example("javascript"))}
        return attachment;
    }}""")

    assert attachment == album.record()["attachment"]
    assert_attached(album, title="At the sea")


@contextlib.contextmanager
def page_of_alice(chromium: Browser) -> Iterator[Page]:
    """In a browser that keeps her password."""
    credentials: HttpCredentials = {"username": ALICE[0], "password": ALICE[1]}
    with chromium.new_context(http_credentials=credentials) as context:
        context.set_default_timeout(PATIENCE)
        yield context.new_page()


def test_the_form_attaches_the_file_that_was_chosen_and_lands_on_the_record(
    album: Album, chromium: Browser, another_origin: Elsewhere, photo: Path
) -> None:
    """The browser asks for a name and a password, and gets them."""
    html = f"<!DOCTYPE html>{typed(album, example('html-form'))}"
    with page_of_alice(chromium) as page:
        answers: list[tuple[str, int]] = []
        page.on("response", lambda answer: answers.append((answer.request.method, answer.status)))
        page.goto(another_origin.html("/", html))
        page.set_input_files("input[type=file]", photo)
        with page.expect_navigation(url=f"{album.kinto.url}/**"):
            page.click("button")

        landed = json.loads(page.inner_text("body"))["data"]
        assert answers[1:] == [("POST", 303), ("GET", 200)]
        bucket = album.ask("GET", "/").json()["user"]["bucket"]
        assert page.url == album.kinto.url + RECORD.replace("default", bucket)
    assert landed == album.record()
    assert_attached(album, title="At the sea")


def test_the_form_of_a_site_that_is_not_named_attaches_nothing(
    album: Album, chromium: Browser, another_origin: Elsewhere, photo: Path
) -> None:
    """The browser adds the password that it keeps, and says whose form it is."""
    html = f"<!DOCTYPE html>{typed(album, example('html-form'))}"
    with page_of_alice(chromium) as page:
        page.goto(another_origin.html("/", html).replace("127.0.0.1", "localhost"))
        page.set_input_files("input[type=file]", photo)
        with page.expect_navigation(url=f"{album.kinto.url}/**"):
            page.click("button")

        said = json.loads(page.inner_text("body"))
    assert said["details"]["reason"] == "cross_site_form"
    assert list(album.kinto.files.glob("*.jpg")) == []


def test_the_form_attaches_nothing_for_whoever_has_no_password(
    album: Album, page: Page, another_origin: Elsewhere, photo: Path
) -> None:
    page.goto(another_origin.html("/", f"<!DOCTYPE html>{typed(album, example('html-form'))}"))
    page.set_input_files("input[type=file]", photo)
    with page.expect_response(f"{album.kinto.url}/**") as answer:
        page.click("button")

    assert answer.value.status == 401
    assert album.files() == []


# In Node.


def test_kinto_js_attaches_a_file(album: Album, tmp_path: Path) -> None:
    content = f"data:image/jpeg;base64,{base64.b64encode(PHOTO).decode()}"
    lines = [f"const photo = {json.dumps(content)};", typed(album, example("kinto-js"))]
    script = tmp_path / "upload.js"
    script.write_text(f"(async () => {{\n{chr(10).join(lines)}\n}})();")

    done = processes.run(["node", str(script)], tmp_path, {"NODE_PATH": str(PACKAGES)})

    assert (done.returncode, done.stderr) == (0, "")
    assert_attached(album, title="At the sea")


NEEDS = {
    "tus-js-client": 'import * as tus from "tus-js-client";',
    "uppy": 'import Uppy from "@uppy/core";\nimport Tus from "@uppy/tus";',
}
"""What an example is about, and what a page has loaded before it."""
BEFORE = """
import { readFileSync } from "node:fs";
const named = { name: { value: "photo.jpg" }, type: { value: "image/jpeg" } };
const file = Object.defineProperties(readFileSync("photo.jpg"), named);
"""


@pytest.fixture(scope="module")
def kinto_with_uploads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kinto]:
    on = {**SETTINGS, "attachment__uploads": "true"}
    with streaming.server("waitress", tmp_path_factory.mktemp("uploads"), **on) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "script"),
    [("tus-js-client", example("tus-js-client")), ("uppy", example("uppy"))],
    ids=["tus-js-client", "uppy"],
)
def test_a_client_of_tus_uploads_the_file(
    kinto_with_uploads: Kinto, photo: Path, name: str, script: str
) -> None:
    """In Node, where a buffer takes the place of the file that somebody has chosen."""
    imports = NEEDS[name]
    album = Album(kinto_with_uploads, ALICE, RECORD.split("/records")[0])
    album.ask("POST", "/__flush__")
    (photo.parent / "node_modules").symlink_to(PACKAGES)
    # One piece is too little to be told from the whole.
    pieces = typed(album, script).replace("8 * 1024 * 1024", "1024 * 1024")
    assert pieces.count("1024 * 1024") == 1
    program = photo.parent / "upload.mjs"
    program.write_text(f"{imports}{BEFORE}{pieces}")

    done = processes.run(["node", str(program)], photo.parent)

    assert done.returncode == 0, done.stderr
    assert_attached(album)


# Kinto Admin, whose form is filled in by test_kinto_admin.py.


def test_kinto_admin_is_installed_and_included_as_shown(tmp_path: Path) -> None:
    given = ini(example("kinto-admin"), tmp_path)
    install = example("install-kinto-admin").split()
    makefile = (ROOT / "Makefile").read_text()

    assert set(given["kinto.includes"].split()) <= set(SETTINGS["includes"].split())
    folder = install[install.index("--target") + 1]
    assert given["kinto.admin_assets_path"] == f"{folder}/{BUILD.relative_to(BUILD.parents[3])}"
    assert f"--no-deps --target $(VENV)-admin {install[-1]}\n" in makefile


@on_gunicorn
def test_the_collection_is_told_that_its_records_have_files(
    album: Album, types: Callable[[str], str]
) -> None:
    types(typed(album, example("enable-in-admin")))

    stored = album.ask("GET", album.collection).json()["data"]
    assert stored["attachment"] == {"enabled": True}
    assert stored["schema"]["properties"] == {"title": {"type": "string"}}


# In a shell.


@pytest.fixture
def types(album: Album, photo: Path) -> Callable[[str], str]:
    """Types a command beside the picture."""
    record = typed(album, example("record"))
    return lambda command: shell(f"{record}\n{command}", photo.parent)


@on_gunicorn
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(example("upload-with-curl"), id="curl"),
        pytest.param(example("upload-raw"), id="raw"),
        pytest.param(example("upload-with-fields"), id="fields"),
        pytest.param(example("upload-with-httpie"), id="httpie"),
    ],
)
def test_a_command_attaches_the_file(
    album: Album, types: Callable[[str], str], command: str
) -> None:
    answer = json.loads(types(command))

    assert answer == album.record()["attachment"]
    title = re.search(r'"title": "([^"]+)"', command)
    assert_attached(album, **({"title": title[1]} if title else {}))
    if "permissions" in command:
        assert album.full()["permissions"]["read"] == PUBLIC["read"]


@on_gunicorn
def test_curl_replaces_downloads_and_deletes(
    album: Album, types: Callable[[str], str], photo: Path
) -> None:
    types(example("upload-with-curl"))
    first = album.record()
    types(example("replace-safely"))
    types(example("download"))

    assert album.record()["last_modified"] > first["last_modified"]
    assert_attached(album)
    assert photo.with_name("copy.jpg").read_bytes() == PHOTO
    types(example("delete"))
    assert set(album.record()) == {"id", "last_modified"}
    assert album.files() == []


@on_gunicorn
def test_python_attaches_and_downloads_the_file(album: Album, photo: Path) -> None:
    script = typed(album, example("python"))
    done = processes.run([sys.executable, "-c", script], photo.parent)

    assert done.returncode == 0, done.stderr
    assert_attached(album, title="At the sea")
    assert album.full()["permissions"]["read"] == PUBLIC["read"]
    assert photo.with_name("copy.jpg").read_bytes() == PHOTO
