"""A file on its way to Google Cloud Storage, or from there."""

from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import from_http_response
from google.cloud.storage import Blob

from kinto_attachment.disposition import disposition
from kinto_attachment.storage.errors import StoreError
from kinto_attachment.storage.gcloud.connection import store_errors
from kinto_attachment.storage.network import WRITER, PartWriter, Unanswered

if TYPE_CHECKING:
    from kinto_attachment.storage.gcloud import GoogleCloudStorage

READ = 4 * 1024 * 1024
"""Bytes asked for at once: each time is a request."""


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
        self._url = ""
        self._sent = 0
        self._certain = True
        self._about: dict[str, Any] = {"metadata": {WRITER: self._token}}
        self._about["cache_control"] = storage.cache_control
        self._about["content_disposition"] = disposition(filename, mimetype) if filename else None
        self._options = {
            **storage.call_options(),
            "content_type": mimetype or None,
            "predefined_acl": acl,
            "if_generation_match": 0,  # Never over an existing file.
        }

    def _put(self, content: bytearray) -> None:
        with store_errors():
            self._new_blob().upload_from_string(bytes(content), **self._options)

    def _begin(self) -> None:
        with store_errors():
            self._url = self._new_blob().create_resumable_upload_session(**self._options)

    def _send(self, part: bytearray, last: bool) -> None:
        start, end = self._sent, self._sent + len(part)
        total = str(end) if last else "*"

        def attempt() -> None:
            if not self._certain:
                self._sent = min(self._transmit(b"", total), end)
            while self._sent < end:
                before = self._sent
                self._sent = min(self._transmit(bytes(part[before - start :]), total), end)
                if self._sent <= before:
                    raise Unanswered("Google Cloud Storage did not take a part of the file")

        with store_errors():
            self._storage.call_options()["retry"](attempt)()

    def _transmit(self, data: bytes, total: str) -> int:
        """Send bytes, or with none ask what has arrived. Returns how many bytes the store has;
        see "Resumable uploads" in Google's documentation."""
        end = self._sent + len(data) - 1
        span = f"bytes {self._sent}-{end}/{total}" if data else f"bytes */{total}"
        self._certain = False
        response = self._request("PUT", data=data, headers={"Content-Range": span})
        if response.status_code in (404, 410):
            raise Unanswered("Google Cloud Storage does not know the upload any more")
        if response.status_code not in (200, 201, 308):
            raise from_http_response(response)  # type: ignore[no-untyped-call]
        self._certain = True
        if response.status_code != 308:
            return end + 1 if data else int(total)
        received = response.headers.get("Range")  # "bytes=0-8388607"
        return int(received.rpartition("-")[2]) + 1 if received else 0

    def _complete(self) -> None:
        """Nothing: the last part was sent with the size of the whole, which publishes."""

    def _drop(self) -> None:
        with store_errors():
            self._request("DELETE")

    def _stored_token(self) -> str | None:
        with store_errors(about_a_file=True):
            found = Blob(self._key, self._storage.get_bucket())
            found.reload(**self._storage.call_options())
        token: str | None = (found.metadata or {}).get(WRITER)
        return token

    def _new_blob(self) -> Any:
        blob = Blob(self._key, self._storage.get_bucket())
        for name, value in self._about.items():
            if value:
                setattr(blob, name, value)
        return blob

    def _request(self, method: str, **call_options: Any) -> Any:
        session = self._storage.get_connection()._http
        return session.request(method, self._url, timeout=self._options["timeout"], **call_options)


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
