"""kinto-http, requests, and curl's less usual ways, on both servers and both databases."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kinto_http
import pytest
import requests

from tests.support import parts
from tests.support.processes import (
    BIN,
    Kinto,
    basic_settings,
    run,
    running_kinto,
    shell,
    write_ini,
)
from tests.support.streaming import gunicorn

PUBLIC = {"read": ["system.Everyone"]}
OWNER = ("owner", "secret")
WHERE = {"bucket": "clients", "collection": "album"}  # No other test has this bucket.
SAME_USERS = {"kinto.userid_hmac_secret": "clients"}
"""A database outlives its server: whoever made the bucket may make it anew."""


@pytest.fixture(scope="module", params=["waitress-memory", "gunicorn-postgresql"])
def kinto(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("kinto")
    if request.param == "waitress-memory":
        with running_kinto(folder, basic_settings(folder, parts.MEMORY)) as running:
            yield running
    else:
        database = parts.postgresql_settings(request.getfixturevalue("postgresql"))
        settings = basic_settings(folder, database) | SAME_USERS
        ini = write_ini(folder / "kinto.ini", settings)
        migrated = run([str(BIN / "kinto"), "migrate", "--ini", str(ini)], folder)
        assert migrated.returncode == 0, migrated.stderr
        with gunicorn(folder, settings) as running:
            yield running


@dataclass(frozen=True)
class Album:
    """A collection on the server, and a picture to attach."""

    kinto: Kinto
    picture: Path

    def client(self, cls: Any = kinto_http.Client) -> Any:
        return cls(server_url=self.kinto.url, auth=OWNER, retry=0, **WHERE)

    def files(self) -> list[bytes]:
        """What lies in the store."""
        paths = [path for path in self.kinto.files.rglob("[!.]*") if path.is_file()]
        return [path.read_bytes() for path in paths]


@pytest.fixture
def album(kinto: Kinto, tmp_path: Path) -> Album:
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(bytes(range(256)) * 4000)  # Large enough for curl to ask before it sends.
    made = Album(kinto, picture)
    made.client().delete_bucket(if_exists=True)
    made.client().create_bucket()
    made.client().create_collection()
    return made


def test_kinto_http_attaches_a_file_with_fields_and_permissions(album: Album) -> None:
    client = album.client()

    attachment = client.add_attachment(
        id="first", filepath=str(album.picture), data={"title": "new"}, permissions=PUBLIC
    )

    stored = client.get_record(id="first")
    assert stored["data"]["attachment"] == attachment
    assert stored["data"]["title"] == "new"
    assert stored["permissions"]["read"] == PUBLIC["read"]
    assert attachment["filename"] == "photo.jpg"
    assert attachment["mimetype"] == "image/jpeg"
    assert attachment["hash"] == parts.sha256(album.picture.read_bytes())


def test_kinto_http_replaces_a_file_and_the_old_one_goes(album: Album) -> None:
    client = album.client()
    client.add_attachment(id="first", filepath=str(album.picture), data={"title": "kept"})
    album.picture.write_bytes(b"another")

    client.add_attachment(id="first", filepath=str(album.picture), mimetype="image/x-own")

    record = client.get_record(id="first")["data"]
    assert record["title"] == "kept"
    assert record["attachment"]["mimetype"] == "image/x-own"
    assert album.files() == [b"another"]


def test_kinto_http_downloads_the_file_of_a_public_record(album: Album) -> None:
    client = album.client()
    client.add_attachment(id="first", filepath=str(album.picture), permissions=PUBLIC)
    copy = album.picture.with_name("copy.jpg")

    client.download_attachment(client.get_record(id="first")["data"], filepath=str(copy))

    assert copy.read_bytes() == album.picture.read_bytes()


def test_kinto_http_may_not_download_the_file_of_a_private_record(album: Album) -> None:
    """It sends no credentials."""
    client = album.client()
    client.add_attachment(id="first", filepath=str(album.picture))
    record = client.get_record(id="first")["data"]

    with pytest.raises(requests.HTTPError) as refused:
        client.download_attachment(record, filepath=str(album.picture.with_name("copy.jpg")))
    assert refused.value.response is not None
    assert refused.value.response.status_code == 401


def test_kinto_http_removes_the_attachment_and_its_file(album: Album) -> None:
    client = album.client()
    client.add_attachment(id="first", filepath=str(album.picture), data={"title": "kept"})

    client.remove_attachment(id="first")

    record = client.get_record(id="first")["data"]
    assert "attachment" not in record
    assert record["title"] == "kept"
    assert album.files() == []


def test_kinto_http_hears_why_it_is_refused(album: Album) -> None:
    script = album.picture.with_name("script.exe")
    script.write_bytes(b"MZ")

    with pytest.raises(kinto_http.KintoException, match="is not allowed here") as refused:
        album.client().add_attachment(id="first", filepath=str(script))
    assert refused.value.response.status_code == 400
    with pytest.raises(kinto_http.KintoException) as missing:
        album.client().remove_attachment(id="first")
    assert missing.value.response.status_code == 404
    assert album.files() == []


def test_kinto_http_copies_records_verbatim_in_a_batch(album: Album) -> None:
    client = album.client()
    client.add_attachment(id="first", filepath=str(album.picture), permissions=PUBLIC)
    record = client.get_record(id="first")["data"]
    client.create_collection(id="published")
    with client.batch(collection="published") as batch:
        batch.update_record(data=record, permissions=PUBLIC, safe=False)

    client.delete_record(id="first")

    copy = client.get_record(id="first", collection="published")["data"]
    path = album.picture.with_name("copy.jpg")
    client.download_attachment(copy, filepath=str(path))
    assert copy["attachment"] == record["attachment"]
    assert path.read_bytes() == album.picture.read_bytes()


def test_async_kinto_http_attaches_downloads_and_removes(album: Album) -> None:
    copy = album.picture.with_name("copy.jpg")

    async def day() -> tuple[Any, Any, Any]:
        client = album.client(kinto_http.AsyncClient)
        attachment = await client.add_attachment(
            id="first", filepath=str(album.picture), permissions=PUBLIC
        )
        before = (await client.get_record(id="first"))["data"]
        await client.download_attachment(before, filepath=str(copy))
        await client.remove_attachment(id="first")
        return attachment, before, (await client.get_record(id="first"))["data"]

    with ThreadPoolExecutor(
        1
    ) as thread:  # That of the tests may have a loop already: Playwright's.
        attachment, before, after = thread.submit(asyncio.run, day()).result()

    assert before["attachment"] == attachment
    assert copy.read_bytes() == album.picture.read_bytes()
    assert "attachment" not in after
    assert album.files() == []


def test_kinto_http_lists_records_with_their_attachments(album: Album) -> None:
    client = album.client()
    before = client.get_records_timestamp()
    attachment = client.add_attachment(id="first", filepath=str(album.picture))

    (record,) = client.get_records()
    assert record == client.get_record(id="first")["data"]
    assert record["attachment"] == attachment
    assert client.get_records(_since=before) == [record]


def test_requests_attaches_replaces_safely_and_deletes(album: Album) -> None:
    record = f"{album.kinto.url}/buckets/clients/collections/album/records/first"

    def send(content: bytes, **headers: str) -> requests.Response:
        files = {"attachment": ("photo.jpg", content, "image/jpeg")}
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        return requests.post(f"{record}/attachment", files=files, headers=named, auth=OWNER)

    created = send(b"first", If_None_Match="*")
    stale = send(b"never", If_None_Match="*")
    replaced = send(b"second", If_Match=created.headers["ETag"])

    assert [answer.status_code for answer in (created, stale, replaced)] == [201, 412, 200]
    read = requests.get(record, auth=OWNER)
    assert read.json()["data"]["attachment"] == replaced.json()
    assert replaced.headers["ETag"] == read.headers["ETag"] != created.headers["ETag"]
    assert replaced.headers["Location"] == record
    assert replaced.headers["Last-Modified"]
    assert album.files() == [b"second"]
    assert requests.delete(f"{record}/attachment", auth=OWNER).status_code == 204
    assert album.files() == []


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("-F attachment=@photo.jpg", id="form"),
        pytest.param(
            "-H 'Content-Type: multipart/form-data' -F attachment=@photo.jpg", id="typed"
        ),
        pytest.param("-F attachment=@photo.jpg -H 'Transfer-Encoding: chunked'", id="chunked"),
        pytest.param("-F attachment=@photo.jpg -H 'Expect: 100-continue'", id="expect"),
        pytest.param("-T - < photo.jpg", id="stdin"),
    ],
)
def test_curl_attaches_a_file_in_each_of_its_ways(album: Album, arguments: str) -> None:
    url = f"{album.kinto.url}/buckets/clients/collections/album/records/first/attachment"

    shell(f"curl --user owner:secret '{url}?filename=photo.jpg' {arguments}", album.picture.parent)

    record = album.client().get_record(id="first")["data"]
    assert record["attachment"]["filename"] == "photo.jpg"
    assert album.files() == [album.picture.read_bytes()]
