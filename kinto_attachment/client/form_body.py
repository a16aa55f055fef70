"""A multipart form with one file, made while it is sent: requests' own form is read to memory."""

import json
import os.path
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from kinto_attachment import media_types

BLOCK = 256 * 1024
"""Bytes that are read and sent at once."""


class FileChanged(Exception):
    """The file is not what it was when its size and hash were looked at."""


class FormBody:
    """The body of one request. It has a length, so it is not sent in chunks.

    :param size: bytes of the file that are sent; what is appended meanwhile is not.
    :param fields: more parts of the form, each sent as JSON.
    :param media_type: None where it is made of the name.
    :param passed: called with the number of the file's bytes that went.
    """

    def __init__(
        self,
        file: IO[bytes],
        size: int,
        filename: str,
        fields: Mapping[str, Any],
        passed: Callable[[int], object] = lambda _: None,
        media_type: str | None = None,
    ) -> None:
        self._file = file
        self._size = size
        self._passed = passed
        self._boundary = secrets.token_hex(16)
        media_type = media_type_of(filename, media_type)
        parts = [self._part(f'name="{name}"') + _json(value) for name, value in fields.items()]
        named = f'name="attachment"; filename="{quoted(filename)}"\r\nContent-Type: {media_type}'
        self._head = b"\r\n".join([*parts, self._part(named)])
        self._tail = f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        """The request's ``Content-Type``, with the boundary."""
        return f"multipart/form-data; boundary={self._boundary}"

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        """The bytes. Raises :class:`FileChanged` where the file has become shorter."""
        yield self._head
        left = self._size
        while left:
            block = self._file.read(min(left, BLOCK))
            if not block:
                raise FileChanged
            yield block
            left -= len(block)
            self._passed(len(block))
        yield self._tail

    def _part(self, disposition: str) -> bytes:
        # A name may have bytes that are no text; a server could not do anything with them.
        head = f"--{self._boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
        return head.encode("utf-8", "replace")


def media_type_of(filename: str, known: str | None) -> str:
    """The type that a file is sent as, where no other is known: by its name."""
    guessed = media_types.of_extension(os.path.splitext(filename)[1].lower())
    return known or guessed or media_types.GENERIC


def quoted(filename: str) -> str:
    """A name in a form, as browsers write it."""
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
