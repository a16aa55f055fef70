"""Bytes that are stored only once they are known to be right."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinto_attachment.storage.holding import IN_MEMORY, DigestDiffers, TooMuchToHold, held_back
from kinto_attachment.testing import noise


@pytest.mark.parametrize("size", [0, 1, 100_000, IN_MEMORY + 1])
@pytest.mark.parametrize("names", [(), ("sha1",), ("sha256", "sha512")])
def test_what_is_right_is_given_again(size: int, names: tuple[str, ...]) -> None:
    content = noise(size)
    digests = {name: hashlib.new(name, content).digest() for name in names}
    chunks = (content[at : at + 9999] for at in range(0, size, 9999))

    with held_back(chunks, digests, limit=size) as checked:
        assert b"".join(checked) == content


def test_of_what_is_wrong_nothing_is_given() -> None:
    right = hashlib.sha256(b"abc").digest()

    with pytest.raises(DigestDiffers) as told, held_back([b"abd"], {"sha256": right}, 10):
        pytest.fail("it was given")
    assert told.value.algorithm == "sha256"


def test_no_more_is_read_than_may_be_held() -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(3):
            yield b"12345"
        pytest.fail("it was read")

    with pytest.raises(TooMuchToHold) as told, held_back(endless(), {}, 10):
        pytest.fail("it was given")
    assert told.value.limit == 10


def test_of_a_client_who_goes_away_nothing_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def breaks() -> Iterator[bytes]:
        yield noise(2 * IN_MEMORY)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError), held_back(breaks(), {}, 10 * IN_MEMORY):
        pytest.fail("it was given")
    assert list(tmp_path.iterdir()) == []
