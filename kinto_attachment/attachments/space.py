"""The space of unfinished uploads: what they may have together holds while bytes come, too.

A request takes its share before it stores the bytes, and gives back at its end what it did not
need: bytes of requests that are under way, or that broke off, count like all others.
"""

from collections.abc import Callable, Iterable, Iterator

from kinto_attachment.attachments.refusals import Refused

SHARE = 16 * 1024 * 1024
"""Bytes that a request takes at once: each time is a short transaction."""

MOST_EMPTY = 10
"""Requests in a row that bring nothing: a client that goes on so would do it for ever."""


def within(
    chunks: Iterable[bytes], offset: int, grant: Callable[[int], int | None]
) -> Iterator[bytes]:
    """The chunks, each once there is space for it.

    :param grant: takes space up to an offset, or further; gives the offset up to which there is
        some, which may be an earlier one. None where there is no limit.
    :raises Refused: before the first one for which there is none.
    """
    granted: int | None = offset
    for chunk in chunks:
        offset += len(chunk)
        if granted is not None and offset > granted:
            granted = grant(offset)
        if granted is not None and offset > granted:
            raise Refused("no_space_unfinished")
        yield chunk
