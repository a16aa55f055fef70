"""How many bytes of an upload in several requests are read at once."""

import io
import math

import pytest
from pyramid.request import Request

from kinto_attachment.http.in_parts import resumable
from kinto_attachment.http.in_parts.resumable import IN_A_ROW, QUICK_READ, READ
from kinto_attachment.http.received import bodies


class Asked(io.BytesIO):
    """Notes how much it is asked for."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.sizes: list[int] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(size or 0)
        return super().read(size)


@pytest.mark.parametrize(
    ("quick", "expected"),
    [
        (math.inf, [READ] * IN_A_ROW + [QUICK_READ] * 2),
        (-math.inf, [READ] * (IN_A_ROW + 8)),
    ],
)
def test_a_line_is_asked_for_more_once_it_was_quick_some_times_in_a_row(
    monkeypatch: pytest.MonkeyPatch, quick: float, expected: list[int]
) -> None:
    monkeypatch.setattr(resumable, "QUICK", quick)
    content = bytes(IN_A_ROW * READ + 2 * QUICK_READ)
    stream = Asked(content)
    body = bodies.Body(Request({"wsgi.input": stream, "CONTENT_LENGTH": str(len(content))}))

    assert b"".join(resumable._read_by_pace(body)) == content
    assert stream.sizes == expected
