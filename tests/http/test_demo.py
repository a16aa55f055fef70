"""The demo page over plain HTTP: off by default, and safe where it is on."""

import html.parser
from collections.abc import Callable
from pathlib import Path

import pytest

import kinto_attachment
from tests.support import parts, storage_parts
from tests.support.parts import Client, Server

DEMO = {"kinto.attachment.demo": "true"}
FILES = {
    "": ("index.html", "text/html"),
    "index.html": ("index.html", "text/html"),
    "demo.css": ("demo.css", "text/css"),
    "demo.js": ("demo.js", "text/javascript"),
    "api.js": ("api.js", "text/javascript"),
    "send.js": ("send.js", "text/javascript"),
    "tus.js": ("tus.js", "text/javascript"),
    "unfinished.js": ("unfinished.js", "text/javascript"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
FOLDER = Path(kinto_attachment.__file__).parent / "demo" / "static"


@pytest.fixture
def anybody(make_server: Callable[..., Server]) -> Client:
    """Somebody without a password, at a server with the page."""
    return make_server(DEMO).as_user(None)


def policy(server: Server) -> dict[str, list[str]]:
    """The page's Content-Security-Policy, by directive."""
    answer = server.as_user(None).get("/attachments/", 200)
    pairs = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in pairs}


# Where it is


@pytest.mark.parametrize("path", ["", *(f"/{name}" for name in FILES)])
@pytest.mark.parametrize("setting", [None, "false"])
def test_there_is_no_page_unless_the_setting_asks_for_it(
    make_server: Callable[..., Server], path: str, setting: str | None
) -> None:
    server = make_server({"kinto.attachment.demo": setting})

    answer = server.as_user(None).get(f"/attachments{path}", "*")
    if path == "/":  # Kinto takes the slash of any unknown path away.
        assert answer.status_int == 307
        answer = answer.follow(status="*")

    assert answer.status_int == 404
    assert answer.json["message"] == "The resource you are looking for could not be found."


def test_the_folder_holds_what_is_served_and_nothing_else() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {name for name, _ in FILES.values()}


@pytest.mark.parametrize("name", FILES)
def test_each_file_comes_with_its_type_and_headers_that_protect(
    anybody: Client, name: str
) -> None:
    file, kind = FILES[name]

    answer = anybody.get(f"/attachments/{name}", 200)

    assert answer.body == (FOLDER / file).read_bytes() != b""
    assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )


@pytest.mark.parametrize("name", FILES)
def test_head_says_the_same_without_the_file(anybody: Client, name: str) -> None:
    whole = anybody.get(f"/attachments/{name}", 200)

    head = anybody.request("HEAD", f"/attachments/{name}", 200)

    assert head.body == b""
    assert dict(head.headers) == dict(whole.headers)


def test_a_file_that_the_browser_has_is_not_sent_again(anybody: Client) -> None:
    etag = anybody.get("/attachments/demo.js", 200).headers["ETag"]

    assert anybody.get("/attachments/demo.js", 304, If_None_Match=etag).body == b""
    assert anybody.get("/attachments/demo.css", 200, If_None_Match=etag).body != b""


def test_without_its_slash_the_address_leads_to_the_page(anybody: Client) -> None:
    answer = anybody.get("/attachments", 302)

    assert answer.headers["Location"] == "https://localhost/v1/attachments/index.html"


@pytest.mark.parametrize(
    "name",
    [
        "x",
        "demo.css/",
        "demo.css/x",
        "../static/demo.css",
        "..%2Fpage.py",
        "%2e%2e/page.py",
        "../page.py",
        "..\\page.py",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "demo.css%00",
        "__init__.py",
        ".",
    ],
)
def test_no_other_file_can_be_had(anybody: Client, name: str) -> None:
    answer = anybody.get(f"/attachments/{name}", "*")
    while answer.status_int in (302, 307):
        answer = answer.follow(status="*")

    assert answer.status_int in (400, 404) or answer.body == (FOLDER / "demo.css").read_bytes()
    assert "text/x-python" not in answer.headers["Content-Type"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_sent_to_it(anybody: Client, method: str) -> None:
    answer = anybody.request(method, "/attachments/demo.js", "*")

    assert answer.status_int == 404
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("name", ["index.html", "demo.css", "icon.svg"])
def test_a_batch_does_not_have_it(anybody: Client, name: str) -> None:
    body = {"requests": [{"method": "GET", "path": f"/v1/attachments/{name}"}]}

    (answer,) = anybody.json("post", "/batch", body, 200).json["responses"]

    assert answer["status"] == 404


def test_the_api_does_not_list_it(anybody: Client) -> None:
    paths = anybody.get("/__api__", 200).json["paths"]

    assert not [path for path in paths if path.startswith("/attachments")]


# What it loads


class Page(html.parser.HTMLParser):
    """What an HTML page refers to, and whether it has scripts or styles of its own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        given = dict(attrs)
        self.urls += [given[name] or "" for name in ("src", "href") if name in given]
        self.ids += [given["id"] or ""] if "id" in given else []
        self.inline += [name for name in given if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


def test_the_page_loads_its_own_files_alone_and_has_nothing_inline(anybody: Client) -> None:
    page = Page(anybody.get("/attachments/", 200).text)

    assert set(page.urls) == {"demo.css", "demo.js", "icon.svg"}
    assert page.inline == []
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"", "icon.svg"}))
def test_no_file_names_another_host_or_makes_html_of_text(anybody: Client, name: str) -> None:
    text = anybody.get(f"/attachments/{name}", 200).text

    for forbidden in ("//cdn", "http:", "https:", "innerHTML", "outerHTML", "insertAdjacent"):
        assert forbidden not in text
    for forbidden in ("document.write", "eval(", "@import", "url("):
        assert forbidden not in text
    # It outlives the browser's window: no password goes there.
    assert ("localStorage" in text) is (name == "unfinished.js")
    assert name != "unfinished.js" or "authorization" not in text


def test_pictures_may_come_from_the_store_that_downloads_are_redirected_to(
    make_server: Callable[..., Server], s3_url: str, bucket: str
) -> None:
    redirecting = make_server({**DEMO, **storage_parts.s3_settings(s3_url, bucket)})
    proxying = make_server({**DEMO, **storage_parts.s3_settings(s3_url, bucket, download="proxy")})

    assert policy(redirecting)["img-src"] == ["'self'", s3_url.rstrip("/")]
    assert policy(redirecting)["connect-src"] == ["'self'"]
    assert policy(proxying)["img-src"] == ["'self'"]


@pytest.mark.parametrize(
    ("base_url", "sources"),
    [
        ("https://shelf.example.org/files/", ["'self'", "https://shelf.example.org"]),
        ("/files/", ["'self'"]),
    ],
)
def test_pictures_may_come_from_a_backend_that_only_knows_urls(
    make_server: Callable[..., Server], base_url: str, sources: list[str]
) -> None:
    shelf = "tests.stores.third_parties.Shelf"
    given = {"kinto.attachment.backend": shelf, "storage.base_url": base_url}

    server = make_server({**DEMO, "kinto.attachment.base_path": None, **given})

    assert policy(server)["img-src"] == sources


def test_the_page_comes_even_where_the_store_has_no_credentials() -> None:
    settings = storage_parts.s3_settings("http://127.0.0.1:9", "pictures")
    for name in ("access_key", "secret_key"):
        del settings[f"kinto.attachment.aws.{name}"]
    server = Server({**parts.SETTINGS, **parts.MEMORY, **DEMO, **settings})

    assert policy(server)["img-src"] == ["'self'"]

    server.close()
