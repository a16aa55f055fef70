"""One resumable upload at Google; see "Resumable uploads" in Google's documentation."""

from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import from_http_response

from kinto_attachment.storage.network import Unanswered

if TYPE_CHECKING:
    from kinto_attachment.storage.gcloud import GoogleCloudStorage


class SessionGone(Unanswered):
    """Google does not know the upload (any more): it may be finished."""


class Session:
    """Sends bytes to a URL that Google has made for one file. Whoever has the URL may write.

    :ivar size: bytes that Google has, as far as it said.
    :ivar complete: whether it said that the file is published.
    """

    def __init__(self, storage: "GoogleCloudStorage", url: str) -> None:
        self._storage = storage
        self._url = url
        self._certain = True
        self.size = 0
        self.complete = False

    def ask(self, total: int | None = None) -> None:
        """Ask what Google has.

        :param total: says that the file has so many bytes, and publishes it if they are there.
        """
        self._storage.call_options()["retry"](lambda: self._transmit(b"", total))()

    def send(self, part: bytes | bytearray, last: bool) -> None:
        """Send the next bytes, a multiple of 256 KiB but for the last ones, which publish the
        file. What has not arrived is sent again."""
        start, end = self.size, self.size + len(part)
        total = end if last else None

        def attempt() -> None:
            if not self._certain:
                self._transmit(b"", total)
            while self.size < end:
                before = max(self.size, start)
                self._transmit(bytes(memoryview(part)[before - start :]), total)
                if self.size <= before:
                    raise Unanswered("Google Cloud Storage did not take a part of the file")
            self.size = end

        self._storage.call_options()["retry"](attempt)()

    def cancel(self) -> None:
        """Give the upload up; harmless where there is none."""
        self._request("DELETE")

    def _transmit(self, data: bytes, total: int | None) -> None:
        """Send bytes, or with none ask what has arrived."""
        end = self.size + len(data)
        whole = "*" if total is None else str(total)
        span = f"bytes {self.size}-{end - 1}/{whole}" if data else f"bytes */{whole}"
        self._certain = False
        response = self._request("PUT", data=data, headers={"Content-Range": span})
        if response.status_code in (404, 410, 499):  # Expired, or given up.
            raise SessionGone("Google Cloud Storage does not know the upload any more")
        if response.status_code not in (200, 201, 308):
            raise from_http_response(response)  # type: ignore[no-untyped-call]
        self._certain = True
        self.complete = response.status_code != 308
        received = response.headers.get("Range")  # "bytes=0-8388607"
        if not self.complete:
            self.size = int(received.rpartition("-")[2]) + 1 if received else 0
        elif total is not None:
            self.size = total

    def _request(self, method: str, **call_options: Any) -> Any:
        session = self._storage.get_connection()._http
        timeout = self._storage.call_options()["timeout"]
        return session.request(method, self._url, timeout=timeout, **call_options)
