"""Files in a local directory."""

from kinto_attachment.storage.local.store import LocalFileStorage

__all__ = ["LocalFileStorage"]
