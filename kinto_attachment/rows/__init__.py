"""The rows of Kinto's storage that decide about files: links, and what records name."""

from kinto.core.storage import StorageBase

from kinto_attachment.rows.interface import Rows

__all__ = ["Rows", "rows_of"]


def rows_of(storage: StorageBase) -> Rows:
    """The rows of a Kinto storage, for one request or one thread."""
    if hasattr(storage, "client"):
        from kinto_attachment.rows.postgresql import PostgreSQLRows

        return PostgreSQLRows(storage.client)
    from kinto_attachment.rows.memory import MemoryRows

    return MemoryRows(storage)
