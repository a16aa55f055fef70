"""SHA-256 that goes on elsewhere."""

import base64
import hashlib
import random
import subprocess
import sys

import pytest

from kinto_attachment.storage import sha256
from kinto_attachment.storage.sha256 import Sha256, can_go_on


def test_this_python_can_go_on() -> None:
    assert can_go_on()


@pytest.mark.parametrize("seed", range(20))
def test_a_digest_goes_on_from_what_was_saved(seed: int) -> None:
    chance = random.Random(seed)
    content = chance.randbytes(chance.randrange(2000))
    digest, at = Sha256(), 0
    while at < len(content):
        piece = content[at : at + chance.choice([0, 1, 63, 64, 65, 200])]
        digest.update(piece)
        at += len(piece)
        saved = digest.save()
        assert saved.isascii()
        assert len(saved) <= 160
        assert digest.digest() == hashlib.sha256(content[:at]).digest()
        restored = Sha256.restore(saved)
        assert restored
        assert restored.size == at
        digest = restored

    assert digest.digest() == hashlib.sha256(content).digest()


def test_a_digest_goes_on_beyond_512_mib() -> None:
    """There the number of bits takes a second word."""
    zeros, known = bytes(64 * 1024 * 1024), hashlib.sha256()
    digest = Sha256()
    for _ in range(9):
        digest.update(zeros)
        known.update(zeros)
    restored = Sha256.restore(digest.save())
    assert restored
    restored.update(b"end")
    known.update(b"end")

    assert restored.digest() == known.digest()


def saved(size: int) -> bytes:
    digest = Sha256()
    digest.update(bytes(size))
    return base64.b64decode(digest.save())


@pytest.mark.parametrize("size", [0, 1, 63, 64, 100])
def test_what_was_cut_or_changed_is_not_taken(size: int) -> None:
    whole = saved(size)
    cut = [whole[:n] for n in range(len(whole))]
    changed = [whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :] for n in range(len(whole))]

    for wrong in [*cut, *changed, whole + b"x", b"\xff" * 2000]:
        assert Sha256.restore(base64.b64encode(wrong).decode()) is None
    for text in ("", "é", "=", "abc", "null", base64.b64encode(whole).decode() + "\n"):
        assert Sha256.restore(text) is None


def test_what_somebody_forged_is_wrong_but_harmless() -> None:
    """He knows how it is checked. The library is told where its buffer ends by us."""
    for size in (1, 63, 64, 2**40 + 63, 2**61 - 1, 2**61, 2**64 - 1):
        body = size.to_bytes(8, "big") + b"\xff" * (32 + size % 64)
        forged = base64.b64encode(body + sha256._check(body)).decode()
        restored = Sha256.restore(forged)
        assert (restored is None) == (size >= 2**61)
        if restored:
            restored.update(b"x" * 1000)
            assert len(restored.digest()) == 32


def test_without_the_functions_nothing_can_go_on() -> None:
    program = (
        "import ctypes\n"
        "def refuse(*_): raise OSError('no library')\n"
        "ctypes.CDLL = refuse\n"
        "from kinto_attachment.storage.sha256 import Sha256, can_go_on\n"
        f"print(can_go_on(), Sha256.restore({base64.b64encode(saved(9)).decode()!r}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert ran.stdout == "False None\n"
