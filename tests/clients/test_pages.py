"""What scripts and forms of a page do, in Chromium, against both kinds of servers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.clients.pages import elsewhere
from tests.clients.servers import PATIENCE, PUBLIC, Album
from tests.support import parts
from tests.support.processes import Kinto

SEND = """async ({url, method, user, headers, file, fields}) => {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  if (file) form.append("attachment", new File([new Uint8Array(file.size)], file.name));
  if (user) headers.Authorization = "Basic " + btoa(user);
  const body = method == "POST" ? form : undefined;
  const response = await fetch(url, {method, headers, body});
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}"""


@pytest.fixture
def album(kinto: Kinto) -> Album:
    made = Album(kinto)
    made.begin()
    return made


@pytest.fixture(scope="module")
def script(chromium: Browser) -> Iterator[Page]:
    """A page of another origin, whose scripts send requests."""
    with elsewhere() as site, chromium.new_context() as context:
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.goto(site.html("/", "<!DOCTYPE html>"))
        yield page


def sends(script: Page, album: Album, method: str, path: str = "", **more: Any) -> Any:
    """What a page can read of the answer to a request of its script."""
    how = {"user": "owner:secret", "headers": {}, "fields": {}, **more}
    url = f"{album.kinto.url}{path or album.first}/attachment"
    return script.evaluate(SEND, {"url": url, "method": method, "file": None, **how})


def test_a_script_attaches_a_file_and_reads_all_of_the_answer(album: Album, script: Page) -> None:
    answer = sends(script, album, "POST", file={"name": "été.png", "size": 1000})

    record = album.record()
    assert answer["status"] == 201
    assert json.loads(answer["body"]) == record["attachment"]
    assert record["attachment"]["filename"] == "été.png"
    assert answer["headers"]["etag"] == f'"{record["last_modified"]}"'
    assert answer["headers"]["location"] == album.kinto.url + album.first
    assert {"last-modified", "content-type", "content-length"} <= set(answer["headers"])
    assert album.files() == [bytes(1000)]


def test_a_script_that_knows_the_version_replaces_the_file(album: Album, script: Page) -> None:
    etag = f'"{album.attach(b"old", "old.png", data={"title": "kept"})["last_modified"]}"'
    how: dict[str, Any] = {"headers": {"If-Match": etag}, "file": {"name": "new.png", "size": 10}}

    first = sends(script, album, "POST", fields={"data": '{"more": 1}'}, **how)
    second = sends(script, album, "POST", **how)

    record = album.record()
    assert (first["status"], second["status"]) == (200, 412)
    assert second["headers"]["etag"] == first["headers"]["etag"] != etag
    assert json.loads(second["body"])["details"]["existing"] == record
    assert (record["title"], record["more"]) == ("kept", 1)
    assert record["attachment"]["filename"] == "new.png"
    assert album.files() == [bytes(10)]


@pytest.mark.parametrize(
    ("status", "errno", "how"),
    [
        (400, 109, {"fields": {"data": "x"}}),
        (400, 107, {"file": {"name": "script.exe", "size": 4 << 20}}),
        (401, 104, {"user": None}),
        (403, 121, {"user": "somebody:else"}),
        (404, 111, {"path": "/buckets/clients/collections/nowhere/records/first"}),
        (412, 114, {"headers": {"If-Match": '"1"'}}),
        (413, 107, {"path": "/buckets/clients/collections/small/records/first"}),
    ],
)
def test_a_script_can_read_why_a_file_is_refused(
    album: Album, script: Page, status: int, errno: int, how: dict[str, Any]
) -> None:
    """The file is larger than what a connection holds: it is refused while it is still sent."""
    album.ask("PUT", "/buckets/clients/collections/small")
    before = album.attach(b"old", "old.png")

    answer = sends(script, album, "POST", **{"file": {"name": "a.png", "size": 4 << 20}, **how})

    assert answer["status"] == status, answer
    body = json.loads(answer["body"])
    assert (body["code"], body["errno"]) == (status, errno)
    assert body["error"]
    assert album.records() == [before]
    assert album.files() == [b"old"]


def test_a_script_reads_a_part_of_the_file(album: Album, script: Page) -> None:
    album.attach(b"0123456789", "digits.txt")

    answer = sends(script, album, "GET", headers={"Range": "bytes=2-4"})

    assert (answer["status"], answer["body"]) == (206, "234")
    assert answer["headers"]["content-range"] == "bytes 2-4/10"
    assert answer["headers"]["etag"] == f'"{parts.sha256(b"0123456789")}"'
    assert answer["headers"]["repr-digest"].startswith("sha-256=:")


def test_a_script_reads_the_file_of_a_public_record_without_a_password(
    album: Album, script: Page
) -> None:
    location = album.attach(b"hello", "hello.txt", permissions=PUBLIC)["attachment"]["location"]

    read = "async url => (await fetch(url)).text()"
    assert script.evaluate(read, f"{album.kinto.url}/{location}") == "hello"


def test_a_script_deletes_the_attachment(album: Album, script: Page) -> None:
    etag = f'"{album.attach(b"old", "old.png", data={"title": "kept"})["last_modified"]}"'

    refused = sends(script, album, "DELETE", headers={"If-Match": '"1"'})
    files = album.files()
    answer = sends(script, album, "DELETE", headers={"If-Match": etag})

    assert (refused["status"], files) == (412, [b"old"])
    assert (answer["status"], answer["body"]) == (204, "")
    assert set(album.record()) == {"id", "title", "last_modified"}
    assert album.files() == []


UPLOAD = """([url, size]) => new Promise((done, failed) => {
  const form = new FormData(), request = new XMLHttpRequest(), seen = [];
  form.append("attachment", new File([new Uint8Array(size)], "film.png"));
  request.upload.onprogress = event => seen.push([event.loaded, event.total]);
  request.onload = () => done({seen, status: request.status, answer: request.responseText});
  request.onerror = failed;
  request.open("POST", url);
  request.setRequestHeader("Authorization", "Basic " + btoa("owner:secret"));
  request.send(form);
})"""


def test_a_script_shows_how_far_an_upload_is(album: Album, script: Page) -> None:
    """Chromium tells it ten times a second: its connection is slowed down to last longer."""
    size = 4 << 20
    network = script.context.new_cdp_session(script)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": size * 2}
    network.send("Network.emulateNetworkConditions", slow)

    done = script.evaluate(UPLOAD, [f"{album.kinto.url}{album.first}/attachment", size])
    network.detach()

    assert done["status"] == 201
    assert json.loads(done["answer"]) == album.record()["attachment"]
    (total,) = {total for _, total in done["seen"]}
    assert size < total < size + 500
    sent = [loaded for loaded, _ in done["seen"]]
    assert len(sent) > 1
    assert sent == sorted(sent)
    assert sent[-1] == total
    assert album.files() == [bytes(size)]


def test_a_script_of_the_same_origin_attaches_a_file(album: Album, page: Page) -> None:
    """Kinto has no pages of its own: this one is put there, its request is not."""
    there = f"{album.kinto.origin}/page"
    page.route(
        there, lambda route: route.fulfill(body="<!DOCTYPE html>", content_type="text/html")
    )
    page.goto(there)

    answer = sends(page, album, "POST", file={"name": "a.png", "size": 10})

    assert answer["status"] == 201
    assert json.loads(answer["body"]) == album.record()["attachment"]
    assert album.files() == [bytes(10)]
