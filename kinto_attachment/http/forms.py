"""The request's body, read once: a multipart form or the raw file.

Nothing here keeps more of the file than one chunk. ``cgi``, ``request.POST`` and
``request.body`` are never used: each of them would read the whole body first.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import unquote

from kinto.core.utils import json
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    content_disposition_unquote,
    parse_options_header,
)
from pyramid.request import Request

from kinto_attachment import record_field
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.http.bodies import Body
from kinto_attachment.storage import CHUNK_SIZE

MAX_FIELD_BYTES = 1024 * 1024
MAX_BOUNDARY = 70
"""Characters, RFC 2046 section 5.1.1. Long hostile boundaries make every parser slow."""

OVERHEAD = 2 * MAX_FIELD_BYTES + 16 * 1024
"""The most, in bytes, that a form may weigh beside its file."""

_EXTENDED = re.compile(
    r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'((?:[\w.!#$&+^`|~-]|%[0-9a-f]{2})+)",
    re.IGNORECASE | re.ASCII,
)

FIELDS = ("data", "permissions")

URL_ENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Field:
    """A part of a form that is no file: ``data`` or ``permissions``, an object."""

    name: str
    value: dict[str, Any]


def boundary_of(content_type: str) -> str:
    """The boundary of a multipart Content-Type. Raises :class:`Refused`."""
    boundary: str = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise Refused("bad_boundary")
    return boundary


def parts(body: Body, content_type: str) -> Iterator[FilePart | Field]:
    """The parts of a multipart form, in one pass. The file's chunks are there only until the next
    part is asked for.

    :raises Refused: for anything that is not an ``attachment`` with, at most, ``data`` and
        ``permissions`` beside it, each of them once.
    """
    seen: set[str] = set()
    events = _events(body, boundary_of(content_type))
    for part in events:
        if not isinstance(part, MultipartSegment):
            continue
        _check_name(part.name, seen)
        seen.add(part.name)
        if part.name == record_field.NAME:
            yield _file(part, _payload(events))
        else:
            yield Field(part.name, _json_object(part.name, _payload(events)))


def raw_part(request: Request, body: Body) -> FilePart:
    """The file of a PUT: its name from ``Content-Disposition`` or from ``?filename=``."""
    disposition = request.headers.get("Content-Disposition", "")
    filename = _disposition_filename(disposition) or request.GET.get("filename")
    return FilePart(filename, request.headers.get("Content-Type"), body.chunks())


def check_raw(request: Request) -> None:
    """See that the body of a PUT can be a file as it is.

    :raises Refused: for a form, and for a part of a file.
    """
    content_type = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type.startswith("multipart/") or content_type == URL_ENCODED:
        raise Refused("form_by_put", content_type=content_type)
    if "Content-Range" in request.headers:
        raise Refused("part_of_file")


def _events(body: Body, boundary: str) -> Iterator[Any]:
    """What the parser finds, with its errors as refusals, whoever asks for the next one."""
    try:
        parser = PushMultipartParser(boundary, max_segment_count=8)
        yield from parser.parse_blocking(body.read, CHUNK_SIZE)
    except MultipartError as error:
        raise Refused("malformed_body", why=str(error)) from error


def _check_name(name: str, seen: set[str]) -> None:
    if name in seen:
        raise Refused("second_file", name=name)
    if name not in (record_field.NAME, *FIELDS):
        raise Refused("unknown_part", name=name)


def _file(part: MultipartSegment, chunks: Iterator[bytes]) -> FilePart:
    filename = _disposition_filename(part.header("Content-Disposition")) or part.filename
    return FilePart(
        filename, part.header("Content-Type"), chunks if filename else _not_empty(chunks)
    )


def _payload(events: Iterator[Any]) -> Iterator[bytes]:
    """The bytes of the current part; the parser marks its end with None."""
    return iter(lambda: next(events), None)


def _not_empty(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A browser sends a file input that nobody has filled as a part without name and bytes."""
    first = next(chunks, b"")
    if not first:
        raise Refused("missing_file")
    return chain([first], chunks)


def _json_object(name: str, payload: Iterator[bytes]) -> dict[str, Any]:
    raw = bytearray()
    for chunk in payload:
        raw += chunk
        if len(raw) > MAX_FIELD_BYTES:
            raise Refused("field_too_large", name=name, limit=MAX_FIELD_BYTES)
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused("bad_field", name=name, why=str(error)) from error
    if not isinstance(value, dict):
        raise Refused("bad_field", name=name, why=f"it is {type(value).__name__}")
    return value


def _disposition_filename(disposition: str) -> str | None:
    """``filename*``, which may hold any letter, before plain ``filename`` (RFC 6266).

    An extended value that can't be read is passed over, as RFC 8187 asks for.
    """
    extended = _EXTENDED.search(disposition)
    if extended:
        with contextlib.suppress(UnicodeDecodeError):
            return unquote(extended[2], extended[1], "strict")
    options = parse_options_header(disposition, unquote=content_disposition_unquote)[1]
    filename: str | None = options.get("filename")
    return filename
