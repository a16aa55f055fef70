"""The rows of Kinto's storage that decide about files: links, and what records name."""

from kinto.core.storage import StorageBase

from kinto_attachment.rows.interface import Rows
from kinto_attachment.rows.uploads import Upload, UploadRows

__all__ = ["Rows", "Upload", "UploadRows", "rows_of", "upload_rows_of"]


def rows_of(storage: StorageBase) -> Rows:
    """The rows of a Kinto storage, for one request or one thread."""
    if hasattr(storage, "client"):
        from kinto_attachment.rows.postgresql import PostgreSQLRows

        return PostgreSQLRows(storage.client)
    from kinto_attachment.rows.memory import MemoryRows

    return MemoryRows(storage)


def upload_rows_of(storage: StorageBase) -> UploadRows:
    """The rows of unfinished uploads, for one request or one thread."""
    if hasattr(storage, "client"):
        from kinto_attachment.rows.postgresql_uploads import PostgreSQLUploadRows

        return PostgreSQLUploadRows(storage.client)
    from kinto_attachment.rows.memory_uploads import MemoryUploadRows

    return MemoryUploadRows(storage)
