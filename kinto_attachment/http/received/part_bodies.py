"""The bytes of one part of a form, where more is to be known of them than that they are a file."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from kinto.core.utils import json

from kinto_attachment.attachments.refusals import Refused


def json_object(name: str, chunks: Iterator[bytes], most: int) -> dict[str, Any]:
    """The object in a part of JSON.

    :param most: bytes that it may have.
    :raises Refused: where it is larger, or no object.
    """
    raw = bytearray()
    for chunk in chunks:
        raw += chunk
        if len(raw) > most:
            raise Refused("field_too_large", name=name, limit=most)
    try:
        value = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused("bad_field", name=name, why=str(error)) from error
    if not isinstance(value, dict):
        raise Refused("bad_field", name=name, why=f"it is {type(value).__name__}")
    if b"\\u0000" in raw and _has_nul(value):
        raise Refused("bad_field", name=name, why="it has the character U+0000, which is no text")
    return value


def _has_nul(value: Any) -> bool:
    """PostgreSQL keeps no such text: Kinto would answer that the database is away."""
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(_has_nul(part) for part in value)
    return isinstance(value, str) and "\0" in value


def peek_for_metadata(chunks: Iterator[bytes], most: int) -> tuple[bool, Iterator[bytes]]:
    """Whether a part is the JSON object that FilePond sends before a file, under its name; and
    the chunks, as if nothing was read.

    :param most: bytes that such an object may have.
    """
    read = bytearray()
    for chunk in chunks:
        read += chunk
        if len(read) > most:
            return False, chain([bytes(read)], chunks)
    try:
        metadata = isinstance(json.loads(read.decode("utf-8")), dict)
    except (ValueError, RecursionError):
        metadata = False
    return metadata, iter([bytes(read)] if read else [])


def not_empty(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks of a file without a name. Raises :class:`Refused` where there are none: so a
    browser sends a file input that nobody has filled."""
    first = next(chunks, b"")
    if not first:
        raise Refused("missing_file")
    return chain([first], chunks)
