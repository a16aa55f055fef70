"""Operators' commands beside uploads in several requests that are not finished: what they print,
and what they leave."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment.commands import main
from kinto_attachment.rows import Upload, upload_rows_of
from tests.support.parts import COLLECTION, SETTINGS, Client, Server, postgresql_settings
from tests.support.processes import write_ini

TUS = {"Tus-Resumable": "1.0.0"}
PART = {"Content-Type": "application/offset+octet-stream"}
ON = {"kinto.attachment.uploads": "true"}
DAY = 86_400
LIVING, EXPIRED, ABANDONED = "living", "expired", "abandoned"
CDN = "https://cdn.example.org/"
OLD = ["--grace", "-60"]
"""Whatever there is, is old enough."""

every_store = pytest.mark.parametrize("store", ["local_store", "s3_store"], indirect=True)


class Site:
    """A server with one file, and uploads of each kind, of which half has come."""

    def __init__(self, server: Server, ini: Path) -> None:
        self.server, self.ini = server, ini
        self.owner: Client = server.as_user()
        self.rows = upload_rows_of(server.registry.storage)
        store = server.registry.attachments.store
        store.uploads.remove_abandoned(time.time() + 3600, lambda _: False)  # Other tests'.
        self.owner.upload(f"{COLLECTION}/records/whole/attachment", status=201)
        self.urls = {name: self.begin(name) for name in (LIVING, EXPIRED, ABANDONED)}
        expired, abandoned = self.row(EXPIRED), self.row(ABANDONED)
        self.rows.write(replace(expired, expires=int(time.time()) - 3 * 3600))
        self.rows.remove(abandoned)
        transaction.commit()

    def begin(self, name: str, **headers: str) -> str:
        path = f"{COLLECTION}/records/{name}/attachment/uploads"
        named = {"Upload-Length": "10", "Upload-Metadata": "filename YS5qcGc=", **TUS, **headers}
        made = self.owner.request("POST", path, 201, headers=named)
        url = str(made.headers["Location"]).removeprefix("https://localhost/v1")
        self.send(url, 0, b"half.")
        return url

    def send(self, url: str, offset: int, content: bytes, status: Any = 204) -> Any:
        headers = {"Upload-Offset": str(offset), **PART, **TUS}
        return self.owner.request("PATCH", url, status, headers=headers, body=content)

    def all_rows(self) -> list[Upload]:
        found = [upload for page in self.rows.everything() for upload in page]
        transaction.abort()
        return found

    def row(self, name: str) -> Upload:
        (found,) = (u for u in self.all_rows() if u.record_uri.endswith(f"/{name}"))
        return found

    def staged(self) -> set[str]:
        """The ids of the uploads of which the store has something."""
        uploads = self.server.registry.attachments.store.uploads
        return set(uploads.abandoned(time.time() + 3600, lambda _: False))

    def id_of(self, name: str) -> str:
        return self.urls[name].rpartition("/")[2]

    def goes_on(self, name: str = LIVING) -> None:
        """To its end."""
        self.send(self.urls[name], 5, b"whole")
        attachment = f"{COLLECTION}/records/{name}/attachment"
        answer = self.owner.request("GET", attachment, "2*")
        assert answer.body == b"half.whole"


@pytest.fixture
def site(
    on_postgresql: Callable[..., Server], store: dict[str, Any], postgresql: str, tmp_path: Path
) -> Site:
    own = {k: v for k, v in store.items() if v is not None}
    settings = {**SETTINGS, **postgresql_settings(postgresql), **ON, **own}
    other = {k: v for k, v in settings.items() if not k.startswith("kinto.attachment.aws.")}
    elsewhere = {"kinto.attachment.base_path": str(tmp_path / "other")}
    write_ini(tmp_path / "other.ini", {**other, **elsewhere})
    flush = {"kinto.includes": "kinto_attachment kinto.plugins.flush"}
    return Site(
        on_postgresql({**store, **ON, **flush}), write_ini(tmp_path / "kinto.ini", settings)
    )


@pytest.fixture
def call(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(command: str, *arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main([command, "--ini", str(site.ini), *arguments])
        transaction.abort()
        return code, capsys.readouterr().out

    return run


Call = Callable[..., tuple[int, str]]


@every_store
def test_gc_tells_of_uploads_and_removes_those_that_nobody_goes_on_with(
    site: Site, call: Call
) -> None:
    code, said = call("gc", *OLD)
    assert code == 1
    assert f"overdue    {site.row(EXPIRED).key} of {COLLECTION}/records/expired\n" in said
    assert "uploads that may go on: 1, of 5 bytes\n" in said
    assert "uploads that were not finished in time: 1\n" in said
    assert len(site.staged()) == 3

    code, said = call("gc", "--delete", "--json", *OLD)

    *removed, sums = map(json.loads, said.splitlines())
    assert code == 0
    assert [(one["kind"], one["removed"]) for one in removed] == [("overdue", True)]
    assert (sums["uploads"], sums["upload_bytes"], sums["expired_uploads"]) == (1, 5, 1)
    assert sums["unfinished"] == 2
    assert [upload.id for upload in site.all_rows()] == [site.id_of(LIVING)]
    assert site.staged() == {site.id_of(LIVING)}
    code, said = call("gc", *OLD)
    assert (code, "in time" in said) == (0, False)
    site.goes_on()
    site.server.assert_agreement()


@every_store
def test_gc_leaves_alone_what_is_young(site: Site, call: Call) -> None:
    assert call("gc", "--delete")[0] == 0

    assert site.staged() == {site.id_of(LIVING), site.id_of(ABANDONED)}
    site.goes_on()


@every_store
def test_doctor_tells_of_uploads_and_repairs_none(site: Site, call: Call) -> None:
    code, said = call("doctor", *OLD)
    assert code == 1
    found = re.findall(r"^(overdue|abandoned) +(\S+): (.*)$", said, re.MULTILINE)
    expired = f"{COLLECTION}/records/expired"
    assert ("overdue", expired, "3 hours ago; run gc") in found
    assert ("abandoned", site.id_of(ABANDONED), "run gc") in found
    assert len(found) == 2
    when = time.strftime("%Y-%m-%d", time.gmtime(site.row(LIVING).created))
    assert f"uploads that may go on: 1, of 5 bytes, the oldest since {when}" in said

    code, said = call("doctor", "--json")  # With an hour's grace.
    *found, sums = map(json.loads, said.splitlines())
    assert [one["kind"] for one in found] == ["overdue"]
    assert sums["unfinished"]["uploads"] == 1
    assert (sums["summary"]["overdue"], sums["summary"]["permission"]) == (1, 0)
    assert len(site.staged()) == 3

    call("gc", "--delete", *OLD)
    assert call("doctor", *OLD)[0] == 0
    site.goes_on()


@pytest.mark.parametrize("store", ["s3_store"], indirect=True)
def test_doctor_tells_of_a_permission_that_s3_refuses(
    site: Site, call: Call, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moto knows no policies: what S3 answers to such a request is put in its place."""
    from botocore.awsrequest import AWSResponse
    from botocore.hooks import HierarchicalEmitter

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if request.method != "GET" or "uploadId=" not in request.url:
            return None

        class Raw:
            def stream(self, **_: Any) -> Any:
                yield b"<Error><Code>AccessDenied</Code></Error>"

        return AWSResponse(request.url, 403, {}, Raw())

    made = HierarchicalEmitter.__init__

    def hooked(self: HierarchicalEmitter) -> None:
        made(self)
        self.register("before-send.s3", refuse)

    monkeypatch.setattr(HierarchicalEmitter, "__init__", hooked)
    code, said = call("doctor")

    assert code == 1
    assert "permission s3:ListMultipartUploadParts: each upload in several" in said


@every_store
@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("verify", [], "1"),
        ("copy", ["--to", "{folder}/other.ini"], "1"),
        ("relocate", ["--from", "https://old.example.org/", "--to", CDN], ""),
    ],
    ids=["verify", "copy", "relocate"],
)
def test_other_commands_see_files_alone(
    site: Site, call: Call, command: str, arguments: list[str], words: str
) -> None:
    folder = site.ini.parent
    code, said = call(command, *(one.format(folder=folder) for one in arguments), "--json")

    assert code == 0, said
    sums = json.loads(said.splitlines()[-1])
    assert site.staged() == {site.id_of(name) for name in site.urls}
    assert len(site.all_rows()) == 2
    if command == "copy":
        assert (sums["copied"], sums["present"]) == (1, 0)
        copied = [path for path in (folder / "other").rglob("*") if path.is_file()]
        assert len([path for path in copied if not path.name.startswith(".")]) == 1
        assert not (folder / "other" / ".kinto-attachment-uploads").exists()
    elif command == "verify":
        assert sums["files"] == 1
    site.goes_on()


@every_store
def test_a_migration_leaves_uploads_alone(site: Site) -> None:
    site.server.registry.storage.initialize_schema()
    transaction.abort()

    assert len(site.all_rows()) == 2
    site.goes_on()


@every_store
def test_a_flush_takes_uploads_too(site: Site) -> None:
    site.owner.request("POST", "/__flush__", 202)
    transaction.abort()

    assert (site.staged(), site.all_rows()) == (set(), [])
    site.owner.request("HEAD", site.urls[LIVING], "40*", headers=TUS)


# Records, collections and buckets that are deleted meanwhile


@pytest.mark.parametrize("store", ["local_store"], indirect=True)
@pytest.mark.parametrize("gone", ["record", "collection", "bucket"])
def test_an_upload_for_what_was_deleted_ends_as_a_whole_one_would(site: Site, gone: str) -> None:
    record = f"{COLLECTION}/records/{LIVING}"
    site.owner.upload(f"{record}/attachment", status=201)
    parents = {"record": record, "collection": COLLECTION}
    path = parents.get(gone, COLLECTION.split("/collections")[0])
    site.owner.request("DELETE", path, 200)
    url = site.urls[LIVING]

    raw = {"Content-Type": "text/plain"}
    plain = f"{record.replace(LIVING, 'plain')}/attachment?filename=a.txt"
    expected = site.owner.request("PUT", plain, "*", headers=raw, body=b"x")
    ended = site.send(url, 5, b"whole", "*")

    if gone == "record":
        assert (expected.status_int, ended.status_int) == (201, 204)
        assert site.owner.get(record).json["data"]["attachment"]["size"] == 10
    else:
        assert ended.status_int == expected.status_int
        assert ended.json["errno"] == expected.json["errno"]
        # It waits: who makes the collection again goes on. Else it expires.
        for row in site.all_rows():
            site.rows.write(replace(row, expires=int(time.time()) - 1))
        transaction.commit()
        main(["gc", "--ini", str(site.ini), "--delete", *OLD])
        transaction.abort()
        assert (site.staged(), site.all_rows()) == (set(), [])
    site.server.assert_agreement()
