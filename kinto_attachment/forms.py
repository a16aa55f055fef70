"""The request's body, read once: a multipart form or the raw file.

Nothing here keeps more of the file than one chunk. ``cgi``, ``request.POST`` and
``request.body`` are never used: each of them would read the whole body first.
"""

import base64
import binascii
import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any

from kinto.core.utils import json
from multipart import (
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    content_disposition_unquote,
    parse_options_header,
)
from pyramid.request import Request

from kinto_attachment.attachments import ExpectedDigest, FilePart, StoredAttachment
from kinto_attachment.errors import Refused
from kinto_attachment.storage import CHUNK_SIZE

MAX_FIELD_BYTES = 1024 * 1024
MAX_BOUNDARY = 70
"""Characters, RFC 2046 section 5.1.1. Long hostile boundaries make every parser slow."""

OVERHEAD = 2 * MAX_FIELD_BYTES + 16 * 1024
"""The most, in bytes, that a form may weigh beside its file."""

FIELDS = ("data", "permissions")


class Body:
    """The request's body as a stream that is read once, never beyond its Content-Length."""

    def __init__(self, request: Request) -> None:
        """Take the stream over from the request.

        An error reporter that looks at the request later would otherwise read the rest of the
        upload into memory.

        :raises Refused: without Content-Length, unless the body is chunked.
        """
        environ = request.environ
        self._input = environ["wsgi.input"]
        self.length = content_length(request)
        self.received = 0
        self._digest = hashlib.sha256() if "Content-Digest" in request.headers else None
        environ["wsgi.input"] = io.BytesIO()
        environ["CONTENT_LENGTH"] = "0"

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing at the end. Raises :class:`Refused` when cut off."""
        if self.length is not None:
            size = min(size, self.length - self.received)
        if not size:
            return b""
        try:
            data: bytes = self._input.read(size)
        except Exception as error:  # Each WSGI server has its own for a client that is gone.
            raise self._truncated() from error
        self.received += len(data)
        if not data and self.length is not None:
            raise self._truncated()
        if self._digest:
            self._digest.update(data)
        return data

    def chunks(self) -> Iterator[bytes]:
        """The whole body, chunk by chunk."""
        return iter(lambda: self.read(CHUNK_SIZE), b"")

    def sha256(self) -> bytes | None:
        """The digest of all bytes read, where the client sent ``Content-Digest``."""
        return self._digest.digest() if self._digest else None

    def _truncated(self) -> Refused:
        expected = self.length if self.length is not None else "all"
        return Refused("truncated_body", received=self.received, expected=expected)


@dataclass(frozen=True)
class Form:
    """What a body holds: the stored file and the changes to the record."""

    stored: StoredAttachment
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)


def content_length(request: Request) -> int | None:
    """The announced length in bytes; None for a chunked body. Raises :class:`Refused`."""
    announced = request.environ.get("CONTENT_LENGTH") or ""
    if announced.isdigit():
        return int(announced)
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if chunked or request.environ.get("wsgi.input_terminated"):
        return None
    raise Refused("no_length")


def boundary_of(content_type: str) -> str:
    """The boundary of a multipart Content-Type. Raises :class:`Refused`."""
    boundary: str = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise Refused("bad_boundary")
    return boundary


def read_form(
    body: Body, content_type: str, store: Callable[[FilePart], StoredAttachment]
) -> Form:
    """Read a multipart form in one pass; ``store`` consumes the file while it passes.

    :raises Refused: for anything that is not one ``attachment`` with, at most, ``data`` and
        ``permissions`` beside it.
    """
    stored: list[StoredAttachment] = []
    fields: dict[str, dict[str, Any]] = {}
    parser = PushMultipartParser(boundary_of(content_type), max_segment_count=8)
    try:
        events = parser.parse_blocking(body.read, CHUNK_SIZE)
        for part in events:
            if not isinstance(part, MultipartSegment):
                continue
            _check_name(part.name, already=[*fields, *("attachment" for _ in stored)])
            if part.name == "attachment":
                disposition = part.header("Content-Disposition")
                filename = _disposition_filename(disposition) or part.filename
                stored.append(store(FilePart(filename, part.content_type, _payload(events))))
            else:
                fields[part.name] = _json_object(part.name, _payload(events))
    except MultipartError as error:
        raise Refused("malformed_body", why=str(error)) from error
    if not stored:
        raise Refused("missing_file")
    return Form(stored[0], fields)


def raw_part(request: Request, body: Body) -> FilePart:
    """The file of a PUT: its name from ``Content-Disposition`` or from ``?filename=``."""
    disposition = request.headers.get("Content-Disposition", "")
    filename = _disposition_filename(disposition) or request.GET.get("filename")
    return FilePart(filename, request.headers.get("Content-Type"), body.chunks())


def expected_digest(request: Request, header: str) -> ExpectedDigest | None:
    """The SHA-256 in ``Repr-Digest`` or ``Content-Digest`` (RFC 9530); other algorithms are
    passed over. Raises :class:`Refused` where it can't be read."""
    for member in request.headers.get(header, "").split(","):
        algorithm, _, value = member.strip().partition("=")
        if algorithm.strip().lower() != "sha-256":
            continue
        try:
            if not re.fullmatch(r":[^:]*:", value):
                raise binascii.Error
            digest = base64.b64decode(value[1:-1], validate=True)
        except binascii.Error:
            digest = b""
        if len(digest) != hashlib.sha256().digest_size:
            raise Refused("bad_digest", header=header)
        return ExpectedDigest(header, digest)
    return None


def _check_name(name: str, already: list[str]) -> None:
    if name in already:
        raise Refused("second_file", name=name)
    if name not in ("attachment", *FIELDS):
        raise Refused("unknown_part", name=name)


def _payload(events: Iterator[Any]) -> Iterator[bytes]:
    """The bytes of the current part; the parser marks its end with None."""
    return iter(lambda: next(events), None)


def _json_object(name: str, payload: Iterator[bytes]) -> dict[str, Any]:
    raw = bytearray()
    for chunk in payload:
        raw += chunk
        if len(raw) > MAX_FIELD_BYTES:
            raise Refused("field_too_large", name=name, limit=MAX_FIELD_BYTES)
    try:
        value = json.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, ValueError) as error:
        raise Refused("bad_field", name=name, why=str(error)) from error
    if not isinstance(value, dict):
        raise Refused("bad_field", name=name, why=f"it is {type(value).__name__}")
    return value


def _disposition_filename(disposition: str) -> str | None:
    """``filename*`` (RFC 6266), which may hold any letter, before plain ``filename``."""
    if "filename*" in disposition.lower():
        message = Message()
        message["Content-Disposition"] = disposition
        params: Any = message.get_params([], "content-disposition")
        values = [value for name, value in params if name == "filename"]
        encoded = next((value for value in values if isinstance(value, tuple)), None)
        if encoded:
            return collapse_rfc2231_value(encoded)
    options = parse_options_header(disposition, unquote=content_disposition_unquote)[1]
    filename: str | None = options.get("filename")
    return filename
