"""How the bytes of an unfinished file are gathered before they are written."""

from kinto_attachment.storage.local.growing import pieces

CHUNKS = [b"a", b"bc", b"d", b"", b"e"]


def test_pieces_are_as_large_as_asked_for_but_the_last() -> None:
    assert list(map(bytes, pieces(CHUNKS, 3, seconds=3600))) == [b"abc", b"de"]


def test_a_chunk_may_be_larger_than_pieces() -> None:
    found = list(map(bytes, pieces([b"a", b"bcdefgh"], 3, seconds=3600)))
    assert found == [b"abc", b"def", b"gh"]


def test_what_comes_slowly_is_not_gathered() -> None:
    assert list(map(bytes, pieces(CHUNKS, 1000, seconds=0))) == [b"a", b"bc", b"d", b"e"]


def test_what_looks_at_the_bytes_has_seen_each_piece_and_no_more() -> None:
    seen = bytearray()
    for number, _ in enumerate(pieces([b"ab", b"cdefg", b"h"], 3, 3600, seen.extend), 1):
        assert bytes(seen) == b"abcdefgh"[: 3 * number]
