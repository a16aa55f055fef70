"""pyramid_storage's own ``save``, for other users of ``request.storage``, over our writers."""

import contextlib
import os
import uuid
from typing import IO, TYPE_CHECKING, Any

from pyramid_storage.exceptions import FileNotAllowed

from kinto_attachment import keys
from kinto_attachment.storage.errors import StoreError
from kinto_attachment.storage.interface import CHUNK_SIZE, CompleteStore

if TYPE_CHECKING:
    _Base = CompleteStore
else:
    _Base = object  # A protocol's empty methods would hide those of pyramid_storage.

ATTEMPTS = 1000
"""Names that are tried, ``photo.jpg``, ``photo-1.jpg`` …, before a store is given up."""


class SavesFiles(_Base):
    """Mixin for every store of ours: atomic, and never over an existing file."""

    def save_file(
        self,
        file: IO[bytes],
        filename: str,
        folder: str | None = None,
        randomize: bool = False,
        extensions: Any = None,
        **_: Any,
    ) -> str:
        """pyramid_storage's: store a copy of a file; returns the key."""
        if not self.filename_allowed(filename, extensions):  # type: ignore[attr-defined]
            raise FileNotAllowed()
        name = keys.safe_name(os.path.basename(filename))
        stem, suffix = os.path.splitext(name)
        for attempt in range(ATTEMPTS):
            # Not an id of ours: flush and gc must not take others' files for the plugin's.
            tried = f"{uuid.uuid4()}{suffix}" if randomize else f"{stem}-{attempt}{suffix}"
            tried = name if not (attempt or randomize) else tried
            key = "/".join(part for part in ((folder or "").strip("/"), tried) if part)
            with contextlib.suppress(FileExistsError):
                return self._copy(file, key)
        raise StoreError(f"no free name for {name}")

    def save_filename(self, filename: str, *args: Any, **kwargs: Any) -> str:
        """pyramid_storage's, which would leave the file open."""
        with open(filename, "rb") as file:
            return self.save_file(file, filename, *args, **kwargs)

    def _copy(self, file: IO[bytes], key: str) -> str:
        file.seek(0)
        writer = self.open_writer(key, mimetype="", filename="")
        try:
            for chunk in iter(lambda: file.read(CHUNK_SIZE), b""):
                writer.write(chunk)
            writer.close()
        except BaseException:
            writer.abort()
            raise
        return key
