"""Stores: bytes under keys. All that the rest, and a backend of your own, needs of them."""

from kinto_attachment.storage.errors import (
    StorageError,
    StorageFull,
    StorageSilent,
    StorageUnavailable,
    UnsafeKey,
    Unsupported,
)
from kinto_attachment.storage.interface import (
    CHUNK_SIZE,
    IStreamingFileStorage,
    Marked,
    Presigning,
    Reader,
    Storage,
    StoredFile,
    Writer,
    lacks,
)

__all__ = [
    "CHUNK_SIZE",
    "IStreamingFileStorage",
    "Marked",
    "Presigning",
    "Reader",
    "Storage",
    "StorageError",
    "StorageFull",
    "StorageSilent",
    "StorageUnavailable",
    "StoredFile",
    "UnsafeKey",
    "Unsupported",
    "Writer",
    "lacks",
]
