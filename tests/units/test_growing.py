"""How the bytes of an unfinished file are gathered before they are written."""

from kinto_attachment.storage.local.growing import pieces

CHUNKS = [b"a", b"bc", b"d", b"e"]


def test_pieces_are_as_large_as_asked_for_but_the_last() -> None:
    assert list(pieces(CHUNKS, 3, seconds=3600)) == [b"abc", b"de"]


def test_what_comes_slowly_is_not_gathered() -> None:
    assert list(pieces(CHUNKS, 1000, seconds=0)) == CHUNKS
