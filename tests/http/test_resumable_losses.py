"""What would lose an upload, or give a record another file than was sent."""

import base64
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import transaction

from kinto_attachment.rows import Upload, upload_rows_of
from kinto_attachment.storage.local import streams
from tests.faults.harness import collect
from tests.http.test_resumable import (
    ON,
    UPLOADS,
    Dialect,
    Draft,
    Tus,
    assert_nothing_left,
    every_dialect,
    metadata,
    path_of,
)
from tests.support.parts import ATTACHMENT, RECORD, Client, Server

TUS = Tus()
both_backends = pytest.mark.parametrize("backend", ["memory", "postgresql"], indirect=True)
on_s3 = pytest.mark.parametrize(("backend", "store"), [("postgresql", "s3_store")], indirect=True)
PUBLIC = {**ON, "kinto.attachment.aws.acl": "public-read"}


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    made = make_server(ON)
    made.as_user().make_collection()
    return made


def rows(server: Server) -> list[Upload]:
    found = [u for page in upload_rows_of(server.registry.storage).everything() for u in page]
    transaction.abort()
    return found


def rewrite(server: Server, **values: Any) -> None:
    for upload in rows(server):
        upload_rows_of(server.registry.storage).write(replace(upload, **values))
    transaction.commit()


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), SystemExit(1)], ids=repr)
def test_a_fault_after_the_file_is_published_loses_nothing(
    server: Server, owner: Client, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    url = path_of(TUS.create(owner, 3))
    TUS.send(owner, url, 0, b"ab", False, 204)

    def fails(path: str) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(streams, "fsync_directory", fails)
        if isinstance(error, OSError):
            TUS.send(owner, url, 2, b"c", False, 503)
        else:
            with pytest.raises(SystemExit):
                TUS.send(owner, url, 2, b"c", False)
            transaction.abort()

    assert TUS.head(owner, url).headers["Upload-Offset"] == "2"
    TUS.send(owner, url, 2, b"c", False, 204)
    assert owner.get(ATTACHMENT).body == b"abc"
    assert_nothing_left(server)


@on_s3
def test_a_file_that_has_become_private_is_never_published_as_a_public_one(
    make_server: Callable[..., Server],
) -> None:
    owner = make_server(PUBLIC).as_user()
    owner.make_collection()
    url = path_of(TUS.create(owner, 3))
    private = make_server({**PUBLIC, "kinto.attachment.private": "true"})

    TUS.send(private.as_user(), url, 0, b"abc", False, 410)

    assert private.stored_keys() == set()
    assert_nothing_left(private)


@every_dialect
@pytest.mark.parametrize(("offset", "body"), [(9, b"12345"), (11, b""), (0, b"x" * 11)])
def test_a_wrong_offset_changes_nothing_whatever_comes_with_it(
    owner: Client, dialect: Dialect, offset: int, body: bytes
) -> None:
    url = path_of(dialect.create(owner, 10))
    dialect.send(owner, url, 0, b"123", False, 204)

    answer = dialect.send(owner, url, offset, body, False, 409)

    assert answer.headers["Upload-Offset"] == "3"
    assert dialect.head(owner, url).headers["Upload-Offset"] == "3"
    dialect.send(owner, url, 3, b"4567890", True)
    assert owner.get(ATTACHMENT).body == b"1234567890"


@both_backends
def test_what_a_request_has_asked_for_and_not_brought_is_free_after_the_next_look(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({**ON, "kinto.attachment.max_unfinished_bytes": "1000"})
    owner = server.as_user()
    owner.make_collection()
    url = path_of(TUS.create(owner, None))
    TUS.send(owner, url, 0, b"x", False, 204)
    rewrite(server, received=1000)  # As a request leaves it that was taken over, or killed.

    assert TUS.head(owner, url).headers["Upload-Offset"] == "1"

    assert [upload.received for upload in rows(server)] == [1]
    TUS.create(owner, 900)


@both_backends
def test_bytes_of_expired_uploads_count_until_they_are_gone(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({**ON, "kinto.attachment.max_unfinished_bytes": "1000"})
    owner = server.as_user()
    owner.make_collection()
    url = path_of(TUS.create(owner, 900))
    TUS.send(owner, url, 0, b"x" * 800, False, 204)
    rewrite(server, expires=1)

    TUS.create(owner, 300, 507)

    collect(server)
    TUS.create(owner, 300)


@both_backends
@pytest.mark.parametrize("missing", ["empty", "whole", "created", "status", "store_state"])
def test_a_damaged_row_stops_no_other_upload(server: Server, owner: Client, missing: str) -> None:
    url = path_of(TUS.create(owner, 3))

    class Damaged(Upload):
        def row(self) -> dict[str, Any]:
            return {**super().row(), missing: {"no": "sense"}}

    (upload,) = rows(server)
    values = {name: getattr(upload, name) for name in upload.__dataclass_fields__}
    upload_rows_of(server.registry.storage).write(Damaged(**values))
    transaction.commit()

    assert "Upload-Offset" not in TUS.head(owner, url, "4*").headers
    other = path_of(TUS.create(owner, 3))
    TUS.send(owner, other, 0, b"abc", False, 204)
    collect(server)
    assert owner.get(ATTACHMENT).body == b"abc"


@every_dialect
@pytest.mark.parametrize("begun_with", [{}, {"If_Match": "{etag}"}], ids=["without", "with"])
def test_a_precondition_of_the_last_request_is_kept_and_ends_nothing(
    owner: Client, dialect: Dialect, begun_with: dict[str, str]
) -> None:
    etag = owner.json("PUT", RECORD, {"data": {"title": "kept"}}).headers["ETag"]
    url = path_of(
        dialect.create(owner, 3, **{k: v.format(etag=etag) for k, v in begun_with.items()})
    )

    dialect.send(owner, url, 0, b"abc", True, 412, If_Match='"1"')

    assert "attachment" not in owner.get(RECORD).json["data"]
    dialect.send(owner, url, 2, b"c", True)
    assert owner.get(ATTACHMENT).body == b"abc"


@both_backends
@pytest.mark.parametrize(
    "field",
    [
        {"filetype": "text/plain\0"},
        {"data": '{"a": ["\\u0000"]}'},
        {"permissions": '{"read": ["\\u0000"]}'},
    ],
    ids=lambda field: next(iter(field)),
)
def test_what_postgresql_can_not_keep_is_refused_at_the_beginning(
    owner: Client, server: Server, field: dict[str, str]
) -> None:
    TUS.create(owner, 3, 400, Upload_Metadata=metadata(filename="a.jpg", **field))
    assert rows(server) == []


@every_dialect
@pytest.mark.parametrize("record_id", ["nope!", "b%20d", "-"])
def test_an_id_that_kinto_never_takes_is_refused_at_the_beginning(
    owner: Client, server: Server, dialect: Dialect, record_id: str
) -> None:
    path = (UPLOADS if isinstance(dialect, Tus) else ATTACHMENT).replace("first", record_id)
    headers = {**dialect.headers(), "Upload-Length": "3", "Upload-Complete": "?0"}
    method = "POST" if isinstance(dialect, Tus) else "PUT"

    owner.request(method, path, 400, headers=headers)

    assert rows(server) == []


def test_a_full_folder_of_temporary_files_is_said_and_keeps_the_upload(
    owner: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(2_000_000)
    url = path_of(TUS.create(owner, len(content)))
    checksum = "sha1 " + base64.b64encode(hashlib.sha1(content).digest()).decode()
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", "/nowhere")
        TUS.send(owner, url, 0, content, False, 507, Upload_Checksum=checksum)

    TUS.send(owner, url, 0, content, False, 204, Upload_Checksum=checksum)
    assert owner.get(ATTACHMENT).body == content


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload-Complete": "?1", "Upload-Length": "500"},
        {"Upload-Complete": "?1", "Upload-Offset": "100"},
        {"Upload-Complete": "?0, ?0"},
        {"Upload-Complete": "false"},
    ],
    ids=str,
)
@pytest.mark.parametrize("uploads", ["true", "false"])
def test_a_part_is_never_taken_for_the_whole(
    make_server: Callable[..., Server], headers: dict[str, str], uploads: str
) -> None:
    owner = make_server({"kinto.attachment.uploads": uploads}).as_user()
    owner.make_collection()
    named = {"Content-Disposition": 'inline; filename="a.jpg"', **headers}

    owner.request("PUT", ATTACHMENT, 400, headers=named, body=b"123456789")

    owner.get(RECORD, 404)


def test_versions_that_are_not_spoken_are_refused_by_each_verb(owner: Client) -> None:
    url = path_of(TUS.create(owner, 3))
    draft = Draft("5")
    for answer in (
        owner.request("HEAD", url, 412, headers={"Tus-Resumable": "0.2.2"}),
        owner.request("DELETE", url, 412, headers={"Tus-Resumable": "0.2.2"}),
        draft.head(owner, url, 412),
        draft.stop(owner, url, 412),
    ):
        assert "Upload-Offset" not in answer.headers
    assert TUS.head(owner, url).headers["Upload-Offset"] == "0"
