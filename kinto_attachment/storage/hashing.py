"""The size and the SHA-256 of a file, in the one pass in which its bytes are needed anyway."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable

from kinto_attachment.storage.interface import Readable


def size_and_sha256(
    store: Readable, key: str, spend: Callable[[int], object] = lambda _: None
) -> tuple[int, str]:
    """Read a file once: its bytes, and its SHA-256 in 64 hex digits.

    :param spend: called with the number of bytes after each chunk.
    :raises FileNotFoundError: there is none.
    :raises kinto_attachment.storage.errors.StoreError: as the store failed.
    """
    with contextlib.closing(store.open(key)) as chunks:
        size, digest = measured(chunks, lambda chunk: spend(len(chunk)))
    return size, digest.hex()


def measured(chunks: Iterable[bytes], use: Callable[[bytes], object]) -> tuple[int, bytes]:
    """Call ``use`` with each chunk of a file: its bytes in all, and the digest of its SHA-256."""
    size, digest = 0, hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        digest.update(chunk)
        use(chunk)
    return size, digest.digest()
