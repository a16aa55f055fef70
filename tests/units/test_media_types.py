"""Whose word counts for a file's type: the operator's, the client's, the extension's, the
content's; the same on every machine."""

import mimetypes
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from kinto_attachment import keys, media_types, settings
from kinto_attachment.attachments import intake
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.media_types import DEFAULT, GENERIC, GROUPS, TABLE, TYPES, active_kind
from kinto_attachment.targets import Target

TARGET = Target("pictures", "album", "first")
EXTENSIONS = [suffix for rows in TABLE.values() for suffix in rows]

SAYS_NOTHING = [None, "", GENERIC, "binary/octet-stream", "nonsense", "multipart/mixed", "a/b/c"]
SPECIFIC = ["image/x-own", "application/x-own", "text/plain", "IMAGE/PNG; q=1"]
ACTIVE = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "image/svg+xml": "svg",
    "text/xml": "xml",
    "application/xml": "xml",
    "application/rss+xml": "xml",
    "text/javascript": "script",
    "application/x-javascript": "script",
    "text/ecmascript": "script",
    "application/x-httpd-php": "script",
    "application/x-sh": "script",
}
CONTENTS = {
    "plain": b"plain text",
    "empty": b"",
    "noise": bytes(range(256)),
    "zip": b"PK\x03\x04" + bytes(60),
    "gzip": b"\x1f\x8b\x08" + bytes(60),
    "ogg": b"OggS\x00" + bytes(60),
    "mp4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(60),
    "webm": b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm" + bytes(60),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(60),
    "pdf": b"%PDF-1.7" + bytes(60),
}
HTML = b"<!DOCTYPE html><script>alert(1)</script>"


@pytest.fixture(autouse=True)
def _bare_machine() -> Iterator[None]:
    """As in a slim container: nothing but what Python itself knows."""
    known = mimetypes._db  # type: ignore[attr-defined]
    mimetypes.init(files=())
    yield
    mimetypes._db = known  # type: ignore[attr-defined]


def stored(name: str, said: str | None, head: bytes | None, **written: Any) -> str:
    """The type that an upload would get."""
    raw = {"extensions": "any", **written}
    parsed = settings.parse({f"attachment.{name}": value for name, value in raw.items()})
    part = FilePart(name, said, ())
    return intake.plan(part, head, TARGET, parsed.policy_for("", "")).mimetype


@pytest.mark.parametrize("suffix", EXTENSIONS)
def test_the_clients_word_counts_then_the_extension_whatever_is_inside(suffix: str) -> None:
    own = TYPES[f".{suffix}"]
    always = own if suffix in ("pem", "geojson") else None
    for said, head in product([*SAYS_NOTHING, own, own.upper()], [None, *CONTENTS.values()]):
        assert stored(f"a.{suffix}", said, head) == own, (said, head)
    for said, head in product(SPECIFIC, [None, *CONTENTS.values()]):
        expected = said.lower().split(";")[0]
        assert stored(f"a.{suffix}", said, head) == (always or expected), (said, head)
    for (said, kind), head in product(ACTIVE.items(), [None, *CONTENTS.values()]):
        expected = said if active_kind(own) == kind else own
        assert stored(f"a.{suffix}", said, head) == (always or expected), (said, head)


@pytest.mark.parametrize("name", ["a.zzzz", "a"])
def test_the_content_counts_where_nobody_else_says_anything(name: str) -> None:
    for said in SAYS_NOTHING:
        assert stored(name, said, CONTENTS["png"]) == "image/png"
        assert stored(name, said, CONTENTS["zip"]) == "application/zip"
        assert stored(name, said, CONTENTS["plain"]) == GENERIC
        assert stored(name, said, None) == GENERIC
    for said in SPECIFIC:
        assert stored(name, said, CONTENTS["png"]) == said.lower().split(";")[0]


@pytest.mark.parametrize("said", [None, *ACTIVE])
def test_what_a_browser_would_run_is_not_taken_from_the_content_or_the_client_alone(
    said: str | None,
) -> None:
    for name, head in product(["a.zzzz", "a", "a.bin"], [HTML, b"<?xml version='1.0'?><svg/>"]):
        assert stored(name, said, head) == GENERIC
    assert stored("a.txt", said, HTML) == "text/plain"


@pytest.mark.parametrize("said", [None, "text/html", "text/plain", "image/x-own", "image/png"])
@pytest.mark.parametrize("name", ["a.jpg", "a.mp4", "a.mp3", "a.pdf", "a.ico", "a.heic"])
def test_html_that_is_called_a_picture_is_refused_by_its_name_and_by_its_type(
    name: str, said: str | None
) -> None:
    with pytest.raises(Refused) as caught:
        stored(name, said, HTML)

    assert caught.value.reason == "content_differs"


def test_html_under_its_own_name_may_not_be_called_a_picture() -> None:
    with pytest.raises(Refused):
        stored("a.html", "image/png", HTML)
    assert stored("a.html", "text/html", HTML) == "text/html"


def test_the_operators_word_comes_first() -> None:
    own = {"mimetypes": ".jpg:text/html;.pem:x/y;.new:image/new"}
    for said, head in product([None, "image/png", "text/xml"], [None, b"text"]):
        assert stored("a.JPG", said, head, **own) == "text/html"
        assert stored("a.pem", said, head, **own) == "x/y"
        assert stored("a.new", said, head, **own) == "image/new"
        assert stored("a.geojson", said, head, **own) == "application/geojson"


def test_what_our_table_lacks_the_machine_may_know() -> None:
    mimetypes.add_type("x/machine", ".machine")
    mimetypes.add_type("x/machine", ".docx")

    assert stored("a.machine", None, None) == "x/machine"
    assert stored("a.docx", None, None) == TYPES[".docx"]
    assert stored("a.svgz", None, None) == GENERIC


# The table


def test_every_extension_is_one_that_a_file_can_have_and_in_one_group() -> None:
    assert len(EXTENSIONS) == len(set(EXTENSIONS))
    for suffix in TYPES:
        assert keys.extension(f"a{suffix}") == suffix
        assert media_types.of_extension(suffix) == TYPES[suffix]


def test_groups_have_what_they_always_had() -> None:
    from pyramid_storage.extensions import GROUPS as BEFORE

    assert {name: set(old) - set(GROUPS[name]) for name, old in BEFORE.items()} == {
        name: set() for name in BEFORE
    }
    assert set(GROUPS["default"]) == {e for group in DEFAULT for e in TABLE[group]}


def test_a_type_leads_back_to_its_usual_extension() -> None:
    for suffix, mimetype in TYPES.items():
        assert TYPES[media_types.extension_of(mimetype)] == mimetype, suffix
    usual = {"image/jpeg": ".jpg", "audio/mpeg": ".mp3", "text/plain": ".txt", "video/mp4": ".mp4"}
    assert {kind: media_types.extension_of(kind) for kind in usual} == usual


@pytest.mark.parametrize(("mimetype", "kind"), ACTIVE.items())
def test_what_a_browser_would_run_is_known(mimetype: str, kind: str) -> None:
    assert active_kind(mimetype) == kind


@pytest.mark.parametrize("mimetype", ["application/postscript", "text/plain", "image/png", "a/b"])
def test_what_it_would_only_show_is_known(mimetype: str) -> None:
    assert active_kind(mimetype) is None
