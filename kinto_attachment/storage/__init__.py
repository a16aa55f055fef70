"""Stores: bytes under keys. All that the rest, and a backend of your own, needs of them."""

from kinto_attachment.storage.errors import (
    StoreError,
    StoreFull,
    StoreSilent,
    StoreUnavailable,
    UnsafeKey,
)
from kinto_attachment.storage.interface import (
    CHUNK_SIZE,
    CompleteStore,
    IStreamingFileStorage,
    Listable,
    Marked,
    Presigning,
    Readable,
    ReadableStore,
    Reader,
    Store,
    StoredFile,
    Writer,
    lacks,
)

__all__ = [
    "CHUNK_SIZE",
    "CompleteStore",
    "IStreamingFileStorage",
    "Listable",
    "Marked",
    "Presigning",
    "Readable",
    "ReadableStore",
    "Reader",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreSilent",
    "StoreUnavailable",
    "StoredFile",
    "UnsafeKey",
    "Writer",
    "lacks",
]
