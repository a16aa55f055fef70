"""Reading a stored file once, for its size and its SHA-256."""

import contextlib
import hashlib
from collections.abc import Callable

from kinto_attachment.storage.interface import Readable


def size_and_sha256(
    store: Readable, key: str, spend: Callable[[int], object] = lambda _: None
) -> tuple[int, str]:
    """Read a file once: its bytes, and its SHA-256 in 64 hex digits.

    :param spend: called with the number of bytes after each chunk.
    :raises FileNotFoundError: there is none.
    :raises kinto_attachment.storage.errors.StoreError: as the store failed.
    """
    size, digest = 0, hashlib.sha256()
    with contextlib.closing(store.open(key)) as chunks:
        for chunk in chunks:
            size += len(chunk)
            digest.update(chunk)
            spend(len(chunk))
    return size, digest.hexdigest()
