"""Bytes that may be stored only once all of them are known to be right."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO

from kinto_attachment.storage.errors import StoreFull
from kinto_attachment.storage.interface import CHUNK_SIZE

IN_MEMORY = 1024 * 1024
"""Bytes up to which no temporary file is needed."""


class DigestDiffers(Exception):
    """What came is not what was announced.

    :ivar algorithm: hashlib's name of the digest that differs.
    """

    def __init__(self, algorithm: str) -> None:
        super().__init__(f"the {algorithm} of the bytes differs")
        self.algorithm = algorithm


class TooMuchToHold(Exception):
    """More came than may be held back.

    :ivar limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"more than {limit} bytes came")
        self.limit = limit


@contextlib.contextmanager
def held_back(
    chunks: Iterable[bytes], digests: Mapping[str, bytes], limit: int
) -> Iterator[Iterator[bytes]]:
    """Take in all chunks, and give them again once their digests are right.

    .. code-block:: python

        with held_back(chunks, {"sha1": digest}, limit=64 * 1024**2) as checked:
            offset = uploads.append(state, offset, checked, fence)

    They wait in a temporary file of this machine, so that in no store anything has to be taken
    back; where the client goes away, or this process dies, none of them was stored.

    :param digests: by hashlib's names, as in ``Content-Digest`` (RFC 9530) and tus's checksums.
    :param limit: bytes that may be held back.
    :raises DigestDiffers: nothing is given.
    :raises TooMuchToHold: nothing is given, and no more was read than that.
    """
    found = {name: hashlib.new(name, usedforsecurity=False) for name in digests}
    size = 0
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise TooMuchToHold(limit)
            for digest in found.values():
                digest.update(chunk)
            _write(file, chunk)
        for name, digest in found.items():
            if digest.digest() != digests[name]:
                raise DigestDiffers(name)
        file.seek(0)
        yield iter(lambda: file.read(CHUNK_SIZE), b"")


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise StoreFull(f"the folder of temporary files: {error.strerror}") from error
