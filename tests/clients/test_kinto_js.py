"""kinto.js, in Node and in a page of another origin in Chromium, against both kinds of servers."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page

from tests.clients.pages import elsewhere
from tests.clients.servers import PACKAGES, PATIENCE, PUBLIC, Album
from tests.support import parts, processes
from tests.support.processes import Kinto

SCRIPTS = Path(__file__).parent / "kinto_js"

Runs = Callable[[str], Any]


@pytest.fixture
def album(kinto: Kinto) -> Album:
    made = Album(kinto)
    made.begin()
    return made


def node(album: Album, folder: Path, script: str) -> Any:
    command = ["node", str(SCRIPTS / "node.js"), album.kinto.url, script]
    done = processes.run(command, folder, {"NODE_PATH": str(PACKAGES)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def kinto_js(chromium: Browser) -> Iterator[Page]:
    """A page with kinto.js, as a site would have it."""
    with elsewhere() as site, chromium.new_context() as context:
        context.set_default_timeout(PATIENCE)
        bundle = (PACKAGES / "kinto" / "dist" / "kinto.js").read_bytes()
        for name, content in (("kinto", bundle), ("album", (SCRIPTS / "album.js").read_bytes())):
            site.pages[f"/{name}.js"] = ("text/javascript", content)
        scripts = '<script src="/kinto.js"></script><script src="/album.js"></script>'
        page = context.new_page()
        page.goto(site.html("/", f'<!DOCTYPE html>{scripts}<input type="file">'))
        yield page


def in_page(album: Album, page: Page, script: str) -> Any:
    call = "([url, script]) => inAlbum(Kinto, {}, url, script)"
    return page.evaluate(call, [album.kinto.url, script])


@pytest.fixture(params=["node", "page"])
def runs(request: pytest.FixtureRequest, album: Album, tmp_path: Path) -> Runs:
    """Runs a script with kinto.js; see album.js for the names that it has."""
    if request.param == "node":
        return lambda script: node(album, tmp_path, script)
    page = request.getfixturevalue("kinto_js")
    return lambda script: in_page(album, page, script)


def test_a_data_uri_with_a_name_is_attached_and_the_record_returned(
    album: Album, runs: Runs
) -> None:
    answer = runs("""
        const image = uri("mona", "image/png;name=mona.png");
        return album.addAttachment(image, {id: "first", title: "Mona Lisa"});
    """)

    assert answer == album.full()
    attachment = answer["data"]["attachment"]
    assert answer["data"]["title"] == "Mona Lisa"
    assert (attachment["filename"], attachment["mimetype"]) == ("mona.png", "image/png")
    assert (attachment["hash"], attachment["size"]) == (parts.sha256(b"mona"), 4)
    assert album.files() == [b"mona"]


def test_a_data_uri_without_a_name_is_called_untitled(album: Album, runs: Runs) -> None:
    """kinto.js calls it so; such a name says nothing of the type, and passes where all do."""
    refused, free = runs("""
        await client.bucket("clients").createCollection("free");
        const image = uri("mona", "image/png");
        const free = client.bucket("clients").collection("free");
        return [await refusal(album.addAttachment(image)), await free.addAttachment(image)];
    """)

    assert refused["status"] == 400
    assert "The extension of 'untitled' is not allowed here" in refused["message"]
    assert album.records() == []
    attachment = free["data"]["attachment"]
    assert (attachment["filename"], attachment["mimetype"]) == ("untitled", "image/png")
    assert album.files() == [b"mona"]


def test_options_name_the_file_and_set_permissions_safely(album: Album, runs: Runs) -> None:
    refused, answer = runs("""
        const read = {read: ["system.Everyone"]};
        const options = {filename: "Mona Lisa.png", permissions: read, safe: true};
        const {last_modified} = (await album.createRecord({id: "first", old: true})).data;
        const image = uri("mona", "image/png"), record = {id: "first", title: "Mona Lisa"};
        return [
          await refusal(album.addAttachment(image, record, options)),
          await album.addAttachment(image, record, {...options, last_modified}),
        ];
    """)

    assert (refused["kind"], refused["status"], refused["errno"]) == ("ServerResponse", 412, 114)
    assert answer == album.full()
    assert answer["permissions"]["read"] == PUBLIC["read"]
    assert answer["data"]["attachment"]["filename"] == "Mona Lisa.png"
    assert (answer["data"]["title"], answer["data"]["old"]) == ("Mona Lisa", True)
    assert album.files() == [b"mona"]


def test_a_whole_record_is_sent_back_with_another_file(album: Album, runs: Runs) -> None:
    """With its ``id``, ``last_modified``, ``schema`` and old ``attachment``, as forms do it."""
    before = album.attach(b"old", "old.png", data={"title": "kept", "schema": 1})

    listed = runs("""
        const record = (await album.getRecord("first")).data;
        await album.addAttachment(uri("new", "image/png;name=new.png"), record, {safe: true});
        return (await album.listRecords()).data;
    """)

    assert listed == album.records() == [album.record()]
    assert listed[0]["attachment"]["filename"] == "new.png"
    assert listed[0]["last_modified"] > before["last_modified"]
    assert (listed[0]["title"], listed[0]["schema"]) == ("kept", 1)
    assert album.files() == [b"new"]


def test_who_knows_an_old_version_replaces_and_removes_nothing(album: Album, runs: Runs) -> None:
    album.attach(b"old", "old.png")
    record = album.attach(b"newer", "newer.png")

    refused = runs("""
        const stale = {safe: true, last_modified: 1};
        const image = uri("lost", "image/png;name=lost.png");
        return Promise.all([
          refusal(album.addAttachment(image, {id: "first"}, stale)),
          refusal(album.addAttachment(image, {id: "first"}, {safe: true})),
          refusal(album.removeAttachment("first", stale)),
        ]);
    """)

    etag = f'"{record["last_modified"]}"'
    for refusal in refused:
        assert (refusal["status"], refusal["etag"]) == (412, etag)
        assert refusal["kind"] == "ServerResponse"
    assert album.record() == record
    assert album.files() == [b"newer"]


def test_an_attachment_is_removed_and_the_record_stays(album: Album, runs: Runs) -> None:
    record = album.attach(b"old", "old.png", data={"title": "kept"})

    listed = runs("""
        const {last_modified} = (await album.getRecord("first")).data;
        await album.removeAttachment("first", {safe: true, last_modified});
        return (await album.listRecords()).data;
    """)

    assert listed == album.records()
    assert listed[0] == {
        "id": "first", "title": "kept", "last_modified": album.record()["last_modified"]
    }  # fmt: skip
    assert listed[0]["last_modified"] > record["last_modified"]
    assert album.files() == []


def test_what_does_not_exist_is_told(album: Album, runs: Runs) -> None:
    refused = runs("""
        const nowhere = client.bucket("clients").collection("nowhere");
        return Promise.all([
          refusal(nowhere.addAttachment(uri("lost", "image/png;name=lost.png"))),
          refusal(nowhere.removeAttachment("first")),
          refusal(album.removeAttachment("first")),
        ]);
    """)

    assert [refusal["status"] for refusal in refused] == [404, 404, 404]
    assert album.records() == []
    assert album.files() == []


def test_records_are_synchronised_and_edited_offline(album: Album, runs: Runs) -> None:
    """The record goes back in a batch, with the attachment as it came."""
    before = album.attach(b"mona", "mona.png", data={"title": "old"})

    pulled, pushed, again = runs("""
        const local = offline().collection("album");
        await local.clear();
        await local.sync();
        const {data} = await local.get("first");
        await local.update({...data, title: "new"});
        const {published, conflicts, errors} = await local.sync();
        return [data, {published, conflicts, errors}, (await local.get("first")).data];
    """)

    assert pulled["attachment"] == before["attachment"]
    assert [len(pushed[name]) for name in ("published", "conflicts", "errors")] == [1, 0, 0]
    assert again["attachment"] == before["attachment"]
    assert album.record()["attachment"] == before["attachment"]
    assert album.record()["title"] == again["title"] == "new"
    assert album.files() == [b"mona"]


def test_a_file_that_was_chosen_in_a_page_is_attached(album: Album, kinto_js: Page) -> None:
    """kinto.js takes data URIs alone: the page reads the file, and names it."""
    content = bytes(range(256)) * 400
    chosen: FilePayload = {"name": "Größe.png", "mimeType": "image/png", "buffer": content}
    kinto_js.set_input_files("input", chosen)

    answer = in_page(
        album,
        kinto_js,
        """
        const [file] = document.querySelector("input").files;
        const reader = new FileReader();
        const read = new Promise(done => { reader.onload = () => done(reader.result) });
        reader.readAsDataURL(file);
        return album.addAttachment(await read, {id: "first"}, {filename: file.name});
        """,
    )

    assert answer == album.full()
    assert answer["data"]["attachment"]["filename"] == "Größe.png"
    assert answer["data"]["attachment"]["hash"] == parts.sha256(content)
    assert album.files() == [content]
