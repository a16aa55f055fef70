"""A file on its way to Google Cloud Storage, or from there."""

from typing import TYPE_CHECKING, Any

from google.cloud.storage import Blob

from kinto_attachment.disposition import disposition
from kinto_attachment.storage.errors import StoreError
from kinto_attachment.storage.gcloud.connection import store_errors
from kinto_attachment.storage.gcloud.session import Session
from kinto_attachment.storage.network import WRITER, PartWriter

if TYPE_CHECKING:
    from kinto_attachment.storage.gcloud import GoogleCloudStorage

READ = 4 * 1024 * 1024
"""Bytes asked for at once: each time is a request."""


def about_file(
    storage: "GoogleCloudStorage", token: str, mimetype: str, filename: str
) -> dict[str, Any]:
    """What is stored with a file.

    :param token: by which its writer knows it, when Google's answer is lost.
    """
    return {
        "metadata": {WRITER: token},
        "cache_control": storage.cache_control,
        "content_disposition": disposition(filename, mimetype) if filename else None,
    }


def create_options(
    storage: "GoogleCloudStorage", mimetype: str, acl: str | None
) -> dict[str, Any]:
    """What Google's library is called with to publish a file, never over another one."""
    return {
        **storage.call_options(),
        "content_type": mimetype or None,
        "predefined_acl": acl,
        "if_generation_match": 0,
    }


def new_blob(storage: "GoogleCloudStorage", key: str, about: dict[str, Any]) -> Any:
    """A blob, as Google's library has it, that is not in the store yet."""
    blob = Blob(key, storage.get_bucket())
    for name, value in about.items():
        if value:
            setattr(blob, name, value)
    return blob


def token_of(storage: "GoogleCloudStorage", key: str) -> str | None:
    """The token of the file under the key. Raises FileNotFoundError."""
    with store_errors(about_a_file=True):
        found = Blob(key, storage.get_bucket())
        found.reload(**storage.call_options())
    token: str | None = (found.metadata or {}).get(WRITER)
    return token


class GoogleWriter(PartWriter):
    """One request for a small file; a resumable upload, part after part, for others.

    Google's own writer is not used: it publishes what it has when it is garbage-collected.
    """

    def __init__(
        self,
        storage: "GoogleCloudStorage",
        key: str,
        mimetype: str,
        filename: str,
        acl: str | None,
    ) -> None:
        super().__init__()
        self._storage = storage
        self._key = key
        self._session = Session(storage, "")
        self._about = about_file(storage, self._token, mimetype, filename)
        self._options = create_options(storage, mimetype, acl)

    def _put(self, content: bytearray) -> None:
        with store_errors():
            self._new_blob().upload_from_string(bytes(content), **self._options)

    def _begin(self) -> None:
        with store_errors():
            url = self._new_blob().create_resumable_upload_session(**self._options)
        self._session = Session(self._storage, url)

    def _send(self, part: bytearray, last: bool) -> bytearray:
        with store_errors():
            self._session.send(part, last)
        return part

    def _complete(self) -> None:
        """Nothing: the last part was sent with the size of the whole, which publishes."""

    def _drop(self) -> None:
        with store_errors():
            self._session.cancel()

    def _stored_token(self) -> str | None:
        return token_of(self._storage, self._key)

    def _new_blob(self) -> Any:
        return new_blob(self._storage, self._key, self._about)


class GoogleReader:
    """The bytes of one generation of a blob, asked for in pieces of :data:`READ` bytes."""

    def __init__(self, blob: Any, start: int, end: int, call_options: dict[str, Any]) -> None:
        self._blob = blob
        self._next = start
        self._end = end
        self._options = {**call_options, "if_generation_match": blob.generation, "checksum": None}

    def __iter__(self) -> "GoogleReader":
        return self

    def __next__(self) -> bytes:
        if self._next >= self._end:
            raise StopIteration
        last = min(self._next + READ, self._end) - 1
        try:
            with store_errors(about_a_file=True):
                data: bytes = self._blob.download_as_bytes(
                    start=self._next, end=last, raw_download=True, **self._options
                )
        except (FileNotFoundError, FileExistsError):
            raise StoreError("the file was removed while it was read") from None
        self._next = last + 1
        return data

    def close(self) -> None:
        """Nothing to close. No connection is held between pieces."""
        self._end = 0
