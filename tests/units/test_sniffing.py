"""What a file is by its first bytes."""

import random

import pytest

from kinto_attachment.attachments import sniffing
from kinto_attachment.attachments.sniffing import HEAD, disguised_content, media_type, peek
from tests.support.parts import ATTACHMENT, Client, sha256

STARTS = [b"", b"\n", b" <", b"<!", b"ID3", b"RIFF", b"\xff\xfb", b"\x1aE\xdf\xa3", b"\0\0\0 ftyp"]


@pytest.mark.parametrize("content", [b"\n" * 3000, b"\r\n", b" ", b"\xef\xbb\xbf", b""])
def test_white_space_says_nothing_and_is_stored(owner: Client, content: bytes) -> None:
    assert media_type(content) is None
    assert disguised_content("image/png", content) is None

    stored = owner.put(f"{ATTACHMENT}?filename=a.dvr", content, 201, Content_Type="x/y").json

    assert (stored["mimetype"], stored["hash"]) == ("x/y", sha256(content))


def test_no_bytes_make_the_look_fail() -> None:
    chance = random.Random(20261125)
    for number in range(5000):
        letters = range(256) if number % 2 else b"\0\xff<!-> \n\r\t"
        head = chance.choice(STARTS) + bytes(chance.choices(letters, k=chance.randrange(80)))
        assert media_type(head) is None or "/" in str(media_type(head))
        disguised_content("image/png", head)


@pytest.mark.parametrize("step", [1, 700, HEAD, 5000])
@pytest.mark.parametrize("size", [0, 1, HEAD - 1, HEAD, HEAD + 1, 4000])
def test_a_look_takes_nothing_away_from_the_stream(size: int, step: int) -> None:
    content = random.Random(size).randbytes(size)
    read: list[int] = []

    def chunks() -> object:
        for position in range(0, size, step):
            read.append(position)
            yield content[position : position + step]

    head, stream = peek(chunks())  # type: ignore[arg-type]

    assert head == content[:HEAD]
    assert len(read) * step < HEAD + 2 * step
    assert b"".join(stream) == content


def test_the_standards_own_bytes_are_looked_at_and_no_more() -> None:
    assert sniffing.HEAD == 1445
