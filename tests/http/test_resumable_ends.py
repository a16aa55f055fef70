"""Uploads in several requests whose bytes are all there, and whose record could not be written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.http.test_resumable import (
    ON,
    Dialect,
    Draft,
    assert_nothing_left,
    every_dialect,
    path_of,
)
from tests.support.parts import ATTACHMENT, RECORD, Server

pytestmark = pytest.mark.parametrize(
    ("backend", "store"),
    [("memory", "local_store"), ("postgresql", "s3_store")],
    indirect=True,
)


@pytest.fixture
def failures(tmp_path: Path) -> Path:
    """How often a record can't be written."""
    return tmp_path / "failures"


@pytest.fixture
def server(make_server: Callable[..., Server], failures: Path) -> Server:
    includes = "kinto.plugins.default_bucket kinto_attachment tests.support.failing_records"
    made = make_server({**ON, "kinto.includes": includes, "failing_records": str(failures)})
    made.as_user().make_collection()
    return made


def tell_length(dialect: Dialect, owner: Any, url: str, content: bytes, status: Any) -> Any:
    """Say at the end of all bytes that these were all."""
    return dialect.send(owner, url, len(content), b"", True, status)


@every_dialect
def test_an_upload_of_a_length_that_was_not_known_ends_when_the_record_can_be_written(
    server: Server, failures: Path, dialect: Dialect
) -> None:
    owner = server.as_user()
    url = path_of(dialect.create(owner, None))
    failures.write_text("2")

    dialect.send(owner, url, 0, b"abc", True, 503)
    assert dialect.head(owner, url).headers["Upload-Offset"] == "3"
    tell_length(dialect, owner, url, b"abc", 503)
    owner.get(RECORD, 404)
    answer = tell_length(dialect, owner, url, b"abc", "2*")

    assert answer.headers["Upload-Offset"] == "3"
    assert owner.get(ATTACHMENT).body == b"abc"
    assert_nothing_left(server)


@every_dialect
def test_what_goes_beyond_a_file_that_was_whole_is_refused(
    server: Server, failures: Path, dialect: Dialect
) -> None:
    owner = server.as_user()
    url = path_of(dialect.create(owner, None))
    failures.write_text("1")
    dialect.send(owner, url, 0, b"abc", True, 503)

    refused = dialect.send(owner, url, 3, b"d", True, 400)

    assert refused.json["details"]["reason"] == "upload_length"
    owner.get(RECORD, 404)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_file_of_no_bytes_is_whole_when_it_begins(server: Server, method: str) -> None:
    """tus-js-client sends no more of it, by either protocol."""
    owner = server.as_user()
    sent = {**Draft("6").headers(), "Upload-Complete": "?0", "Upload-Length": "0"}

    answer = owner.request(method, f"{ATTACHMENT}?filename=a.jpg", 201, headers=sent)

    assert answer.headers["Upload-Complete"] == "?1"
    assert owner.get(ATTACHMENT).body == b""
    assert Draft("6").head(owner, path_of(answer)).headers["Upload-Complete"] == "?1"
    assert_nothing_left(server)


def test_what_is_refused_for_good_says_that_there_is_nothing_to_go_on_with(
    server: Server,
) -> None:
    owner, draft = server.as_user(), Draft("8")
    other = {"Repr_Digest": f"sha-256=:{'A' * 43}=:"}
    url = path_of(draft.create(owner, 3, **other))
    assert "Upload-Complete" not in draft.send(owner, url, 0, b"abcd", True, 400).headers

    url = path_of(draft.create(owner, 3, **other))
    assert draft.send(owner, url, 0, b"abc", True, 400).headers["Upload-Complete"] == "?1"
    sent = {**draft.headers(), "Upload-Complete": "?0", "Upload-Length": "2"}
    answer = owner.request("PUT", ATTACHMENT, 400, headers=sent, body=b"abc")
    assert answer.json["type"].endswith("#inconsistent-upload-length")
