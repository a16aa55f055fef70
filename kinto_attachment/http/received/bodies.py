"""The request's body as a stream that is read once, and what was promised of it."""

import base64
import contextlib
import hashlib
import io
import re
import time
from collections.abc import Iterator

from pyramid.request import Request

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import ExpectedDigest
from kinto_attachment.http.received.pace import Pace, TooSlow, bounded
from kinto_attachment.storage import CHUNK_SIZE

_KEY = "kinto_attachment.http.body"

DIGESTS = ("Repr-Digest", "Content-Digest")

_MEMBER = re.compile(r"""((?:[^,"]|"(?:[^"\\]|\\.)*")*)(?:,|\Z)""", re.DOTALL)
"""Each character begins one alternative at the most, so there is nothing to try twice. Possessive
quantifiers would say so, but Python 3.11.2, which Debian 12 has, matches too much by them."""

RAISING = ("gunicorn", "waitress")
"""Servers, as they call themselves, that raise where a chunked body breaks off."""


class Body:
    """The request's body as a stream that is read once, never beyond its Content-Length."""

    def __init__(self, request: Request, pace: Pace | None = None) -> None:
        """Take the stream over from the request.

        An error reporter that looks at the request later would otherwise read the rest of the
        upload into memory.

        :param pace: how fast it has to come; without, it has all the time of the world.
        :raises Refused: without Content-Length, unless the body is chunked.
        """
        environ = request.environ
        self._read = bounded(environ)
        self._pace = pace or Pace()
        self.broken = False
        self.length = content_length(request)
        self.received = 0
        environ[_KEY] = self
        self._digest = hashlib.sha256() if "Content-Digest" in request.headers else None
        environ["wsgi.input"] = io.BytesIO()
        environ["CONTENT_LENGTH"] = "0"

    @classmethod
    def of(cls, request: Request) -> "Body | None":
        """The one that was made of a request, if any was."""
        found: Body | None = request.environ.get(_KEY)
        return found

    @classmethod
    def announced(cls, request: Request) -> int | None:
        """Bytes of the body that was made of a request; None where it is chunked."""
        body = cls.of(request)
        return body.length if body is not None else None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; nothing at the end.

        :raises Refused: where it was cut off, or came too slowly.
        """
        if self.length is not None:
            size = min(size, self.length - self.received)
        if not size:
            return b""
        try:
            data = self._pace.read(self._read, size)
        except TooSlow:
            self.broken = True
            raise Refused("too_slow", least_rate=self._pace.least_rate) from None
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

    def drain(self, most: int, seconds: float) -> None:
        """Read what is left, unless that is more than ``most`` bytes or takes longer."""
        left = self.length - self.received if self.length is not None else most
        end = time.monotonic() + seconds
        if self.broken or left > most:
            return
        with contextlib.suppress(Exception):  # The client is gone, and so is the connection.
            while left > 0 and (data := self._read(min(left, CHUNK_SIZE), end - time.monotonic())):
                left -= len(data)

    def sha256(self) -> bytes | None:
        """The digest of all bytes read, where the client sent ``Content-Digest``."""
        return self._digest.digest() if self._digest else None

    def _truncated(self) -> Refused:
        self.broken = True
        expected = self.length if self.length is not None else "all"
        return Refused("truncated_body", received=self.received, expected=expected)


def content_length(request: Request) -> int | None:
    """The announced length in bytes; None for a chunked body. Raises :class:`Refused`.

    Not every server tells a chunked body that broke off from one that has ended, and some give
    none of it: it is taken where the server raises, and where something else shows that it is
    whole, the form's last boundary or a digest.
    """
    announced = request.environ.get("CONTENT_LENGTH") or ""
    if re.fullmatch(r"[0-9]{1,18}", announced):
        return int(announced)
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    ends = bool(request.environ.get("wsgi.input_terminated"))
    raises = request.environ.get("SERVER_SOFTWARE", "").lower().startswith(RAISING)
    shown = request.method == "POST" or any(name in request.headers for name in DIGESTS)
    if not announced and chunked and ends and (raises or shown):
        return None
    raise Refused("no_length")


def check_coding(request: Request) -> None:
    """Raise :class:`Refused` for a body that is not the file's own bytes."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise Refused("coded_body", coding=coding)


def expected_digest(request: Request, header: str) -> ExpectedDigest | None:
    """The SHA-256 in ``Repr-Digest`` or ``Content-Digest`` (RFC 9530); other algorithms are
    passed over. Raises :class:`Refused` where it can't be read."""
    found = None
    for member in _members(header, request.headers.get(header, "")):
        algorithm, _, value = member.strip().partition("=")
        if algorithm.strip().lower() == "sha-256":
            found = ExpectedDigest(header, _sha256_in(header, value))
    return found


def _members(header: str, written: str) -> Iterator[str]:
    """Those of a dictionary (RFC 8941, section 3.2): there may be commas in a parameter's text."""
    position = 0
    while position < len(written):
        member = _MEMBER.match(written, position)
        if member is None:
            raise Refused("bad_digest", header=header)
        yield member[1]
        position = member.end()


def _sha256_in(header: str, value: str) -> bytes:
    """A byte sequence of RFC 8941, section 3.3.5; padding may be missing. No parameter behind it
    (section 3.1.2) means anything here."""
    written = re.fullmatch(r":([A-Za-z0-9+/]*)=*:[ \t]*(?:;.*)?", value)
    digest = b""
    if written:
        with contextlib.suppress(ValueError):
            digest = base64.b64decode(written[1] + "=" * (-len(written[1]) % 4))
    if len(digest) != hashlib.sha256().digest_size:
        raise Refused("bad_digest", header=header)
    return digest
