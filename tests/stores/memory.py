"""An honest store in memory: what the contract is tested with."""

import time
from collections.abc import Iterable, Iterator
from threading import Lock

from zope.interface import implementer

from kinto_attachment import keys
from kinto_attachment.storage import IStreamingFileStorage, StoredFile, UnsafeKey


@implementer(IStreamingFileStorage)
class MemoryStorage:
    """Files in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[bytes, float]] = {}
        self.lock = Lock()

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> "MemoryWriter":
        return MemoryWriter(self, self.checked(key))

    def open(self, key: str, start: int = 0, stop: int | None = None) -> "MemoryReader":
        return MemoryReader(self.found(key)[0][start:stop])

    def stat(self, key: str) -> StoredFile:
        content, modified = self.found(key)
        return StoredFile(key, len(content), modified)

    def files(self) -> Iterator[StoredFile]:
        with self.lock:
            everything = list(self.kept.items())
        for key, (content, modified) in everything:
            yield StoredFile(key, len(content), modified)

    def delete(self, filename: str) -> bool:
        with self.lock:
            return self.kept.pop(self.checked(filename), None) is not None

    def delete_many(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.delete(key)

    def remove_unfinished(self, before: float) -> int:
        return 0

    def probe(self) -> None:
        """Nothing can fail."""

    def url(self, filename: str) -> str:
        return f"https://memory.example.org/{filename}"

    def checked(self, key: str) -> str:
        if keys.unsafe_reason(key):
            raise UnsafeKey(key)
        return key

    def found(self, key: str) -> tuple[bytes, float]:
        try:
            return self.kept[self.checked(key)]
        except KeyError:
            raise FileNotFoundError(key) from None

    def publish(self, key: str, content: bytes) -> None:
        with self.lock:
            if key in self.kept:
                raise FileExistsError(key)
            self.kept[key] = (content, time.time())


class MemoryWriter:
    def __init__(self, storage: MemoryStorage, key: str) -> None:
        self.storage = storage
        self.key = key
        self.content = bytearray()

    def write(self, data: bytes) -> None:
        self.content += data

    def close(self) -> None:
        self.storage.publish(self.key, bytes(self.content))

    def abort(self) -> None:
        self.content.clear()


class MemoryReader:
    def __init__(self, content: bytes) -> None:
        self.left = content

    def __iter__(self) -> "MemoryReader":
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        data, self.left = self.left[:100_000], self.left[100_000:]
        return data

    def close(self) -> None:
        self.left = b""
