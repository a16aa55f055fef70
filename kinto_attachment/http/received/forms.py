"""A multipart form, read once.

Nothing here keeps more of the file than one chunk. ``cgi``, ``request.POST`` and
``request.body`` are never used: each of them would read the whole body first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from kinto_attachment import record_field
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.http.received import content_disposition, part_bodies
from kinto_attachment.http.received.bodies import Body
from kinto_attachment.http.received.content_disposition import Disposition
from kinto_attachment.storage import CHUNK_SIZE

MAX_FIELD_BYTES = 1024 * 1024
MAX_EXTRA_BYTES = 64 * 1024
"""Of all text parts together that mean nothing here."""

MAX_PARTS = 64
MAX_HEADER_BYTES = 16 * 1024
MAX_BOUNDARY = 70
"""Characters, RFC 2046 section 5.1.1. Long hostile boundaries make every parser slow."""

OVERHEAD = 2 * MAX_FIELD_BYTES + 2 * MAX_EXTRA_BYTES
"""The most, in bytes, that a form may weigh beside its file."""

TYPE = "multipart/form-data"
FIELDS = ("data", "permissions")
CHARSET = "_charset_"
"""The part in which a browser says in which encoding it sends the form (HTML, 4.10.22.4)."""

_PLAIN = ("binary", "8bit", "7bit", "identity", "")
_TEXTS = re.compile(r"text/.*|application/json")


@dataclass(frozen=True)
class Field:
    """A part of a form that is no file: ``data`` or ``permissions``, an object."""

    name: str
    value: dict[str, Any]


@dataclass
class _Seen:
    """What has come of a form so far: its known parts, its encoding, the bytes of other parts."""

    names: set[str] = field(default_factory=set)
    charsets: list[str | None] = field(default_factory=list)
    extra: int = 0


def boundary_of(content_type: str) -> str:
    """The boundary of a form's Content-Type, whose letters may be of any case (RFC 9110, 8.3.1).

    :raises Refused: where the type is another one, or the boundary is missing or too long.
    """
    kind, options = parse_options_header(content_type)
    if kind != TYPE:
        raise Refused("not_a_form")
    boundary: str = options.get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise Refused("bad_boundary")
    return boundary


def parts(body: Body, content_type: str) -> Iterator[FilePart | Field]:
    """The parts of a multipart form, in one pass. The file's chunks are there only until the next
    part is asked for.

    Text parts of other names are passed over, since browsers and upload libraries send some
    (``_charset_``, ``submit``, the file's date).

    :raises Refused: for another file than ``attachment``, and for ``attachment``, ``data`` or
        ``permissions`` that come twice.
    """
    seen = _Seen(charsets=[parse_options_header(content_type)[1].get("charset")])
    events = _events(body, boundary_of(content_type))
    for part in events:
        if not isinstance(part, MultipartSegment):
            continue
        _check_codings(part)
        said = content_disposition.read(
            part.header("Content-Disposition"), [*seen.charsets, part.charset]
        )
        chunks = _payload(events)
        if said.name == record_field.NAME:
            is_metadata = False
            if said.filename is None and part.content_type is None:
                is_metadata, chunks = part_bodies.peek_for_metadata(chunks, MAX_EXTRA_BYTES)
            if not is_metadata:
                _once(said.name, seen)
                yield _file(part, said, chunks)
        elif said.name in FIELDS:
            _once(said.name, seen)
            yield Field(said.name, part_bodies.json_object(said.name, chunks, MAX_FIELD_BYTES))
        else:
            _pass_over(part, said, chunks, seen)


def _events(body: Body, boundary: str) -> Iterator[Any]:
    """What the parser finds, with its errors as refusals, whoever asks for the next one.

    As Latin-1 each byte of a header is one character: nothing is lost before it is known in which
    encoding the header is.
    """
    try:
        parser = PushMultipartParser(
            boundary,
            max_segment_count=MAX_PARTS,
            max_header_size=MAX_HEADER_BYTES,
            header_charset="latin-1",
        )
        yield from parser.parse_blocking(body.read, CHUNK_SIZE)
    except MultipartError as error:
        raise Refused("malformed_body", why=error.args[0]) from error


def _check_codings(part: MultipartSegment) -> None:
    """Raise :class:`Refused` for a part that is coded: RFC 7578, section 4.7, has done away with
    ``Content-Transfer-Encoding``, and stored undone it would not be the file."""
    for header in ("Content-Transfer-Encoding", "Content-Encoding"):
        coding = part.header(header, "").strip().lower()
        if coding not in _PLAIN:
            raise Refused("coded_part", header=header, coding=coding)


def _once(name: str, seen: _Seen) -> None:
    if name in seen.names:
        raise Refused("second_file", name=name)
    seen.names.add(name)


def _pass_over(
    part: MultipartSegment, said: Disposition, chunks: Iterator[bytes], seen: _Seen
) -> None:
    is_text = part.content_type is None or _TEXTS.fullmatch(part.content_type)
    if said.filename is not None or not is_text:
        raise Refused("unknown_part", name=said.name)
    text = bytearray()
    for chunk in chunks:
        seen.extra += len(chunk)
        if seen.extra > MAX_EXTRA_BYTES:
            raise Refused("field_too_large", name=said.name, limit=MAX_EXTRA_BYTES)
        text += chunk
    if said.name == CHARSET:
        seen.charsets.insert(0, text.decode("latin-1"))


def _file(part: MultipartSegment, said: Disposition, chunks: Iterator[bytes]) -> FilePart:
    filename = said.known_filename()
    return FilePart(
        filename,
        part.header("Content-Type"),
        chunks if filename else part_bodies.not_empty(chunks),
    )


def _payload(events: Iterator[Any]) -> Iterator[bytes]:
    """The bytes of the current part; the parser marks its end with None."""
    return iter(lambda: next(events), None)
