"""Files in Google Cloud Storage.

Needs the role *Storage Object User* on the bucket (``storage.objects.create``, ``get``,
``list`` and ``delete``), and nothing on the bucket itself.

A little above 200 lines, since each operation stands beside what Google answers to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

from google.api_core.exceptions import NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Blob
from pyramid.exceptions import ConfigurationError
from pyramid.settings import asbool
from pyramid_storage.gcloud import GoogleCloudStorage as PyramidGoogleCloudStorage
from zope.interface import implementer

from kinto_attachment.disposition import disposition
from kinto_attachment.storage.client import SharedClient
from kinto_attachment.storage.gcloud.connection import Connection, store_errors
from kinto_attachment.storage.gcloud.streams import GoogleReader, GoogleWriter
from kinto_attachment.storage.gcloud.uploads import GoogleUploads
from kinto_attachment.storage.interface import IStreamingFileStorage, StoredFile
from kinto_attachment.storage.network import MARK, NetworkStorage, checked, is_hidden
from kinto_attachment.storage.removing import remove_each
from kinto_attachment.storage.time_limit import SECONDS, limited

PAGE = 100
"""Files in one request to delete: the most that Google recommends."""


@implementer(IStreamingFileStorage)
class GoogleCloudStorage(NetworkStorage, PyramidGoogleCloudStorage):
    """pyramid_storage's Google backend, made streaming.

    Nothing is sent before the first use: a store that can't be reached stops no start. The
    bucket is never made, nor looked at: that would need more permissions.

    :param acl: predefined ACL of new files (``publicRead``…); None leaves it to the bucket.
    :param cache_control: ``Cache-Control`` of files that are read from Google directly.
    :raises pyramid.exceptions.ConfigurationError: for an ACL where the bucket takes none.
    """

    def __init__(
        self,
        bucket_name: str,
        connection: Connection,
        acl: str | None = None,
        base_url: str = "",
        extensions: str = "default",
        uniform_bucket_level_access: bool = False,
        cache_control: str | None = None,
    ) -> None:
        if acl and uniform_bucket_level_access:
            raise ConfigurationError(
                f"kinto.attachment.gcloud.acl = {acl}: remove it, or"
                " gcloud.uniform_bucket_level_access, with which a bucket takes no ACLs."
            )
        super().__init__(
            None,
            bucket_name,
            base_url=base_url,
            extensions=extensions,
            cache_control=cache_control,
            uniform_bucket_level_access=uniform_bucket_level_access,
        )
        self.acl = acl  # pyramid_storage's own default would publish every file.
        self._connection = connection
        self._shared = SharedClient(connection.client)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], prefix: str) -> "GoogleCloudStorage":
        """pyramid_storage's way to configure: ``gcloud.*``, ``base_url`` and ``extensions``."""
        own = f"{prefix}gcloud."
        made = cls(
            settings[f"{own}bucket_name"],
            Connection.from_settings(settings, own),
            settings.get(f"{own}acl") or None,
            settings.get(f"{prefix}base_url") or "",
            settings.get(f"{prefix}extensions") or "default",
            asbool(settings.get(f"{own}uniform_bucket_level_access")),
            settings.get(f"{own}cache_control") or None,
        )
        made.time_limit = float(settings.get(f"{prefix}store_timeout") or SECONDS)
        return made

    def get_connection(self) -> Any:
        """pyramid_storage's: Google's client, one for all. Raises :class:`StoreError`."""
        return self._shared.get()

    def get_bucket(self, bucket_name: str | None = None) -> Any:
        """pyramid_storage's, but without asking for it: a name that requests are made with."""
        return self.get_connection().bucket(bucket_name or self.bucket_name)

    def call_options(self) -> dict[str, Any]:
        """Time-out and retries, for each call of Google's library."""
        return self._connection.call_options()

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> GoogleWriter:
        """A writer of a new file."""
        return GoogleWriter(self, checked(key), mimetype, filename, None if private else self.acl)

    @property
    def uploads(self) -> GoogleUploads:
        """Files that come in several requests."""
        return GoogleUploads(self)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> GoogleReader:
        """The bytes of a file, or of a range of it."""
        blob = self._blob(key)
        end = blob.size if stop is None else min(stop, blob.size)
        return GoogleReader(blob, start, end, self.call_options())

    def stat(self, key: str) -> StoredFile:
        """Size and time of a file."""
        blob = self._blob(key)
        return StoredFile(key, blob.size, blob.updated.timestamp())

    def files(self) -> Iterator[StoredFile]:
        """Every file of the store, page by page."""
        with store_errors():
            listing = self.get_connection().list_blobs(self.get_bucket(), **self.call_options())
            for blob in listing:
                if not is_hidden(blob.name):
                    yield StoredFile(blob.name, blob.size, blob.updated.timestamp())

    @limited
    def delete(self, filename: str, bucket_name: str | None = None) -> bool:
        """Remove a file; False where there was none. Other buckets are not reached."""
        try:
            with store_errors(about_a_file=True):
                Blob(checked(filename), self.get_bucket()).delete(**self.call_options())
        except FileNotFoundError:
            self._check_bucket()
            return False
        return True

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove files, 100 in a request. Gives up when the store is away."""
        remaining = iter(keys)
        while page := list(islice(remaining, PAGE)):
            self._delete_page(page)

    def remove_unfinished(self, before: float) -> int:
        """Always 0: Google can't list unfinished uploads, charges nothing for them, and drops
        them after a week."""
        return 0

    def presigned_url(self, key: str, filename: str, mimetype: str, expires: int) -> str | None:
        """A URL that opens the file for some time. Signing needs the key of a service account: a
        machine's own credentials have none."""
        try:
            url: str = Blob(checked(key), self.get_bucket()).generate_signed_url(
                version="v4",
                expiration=timedelta(seconds=expires),
                response_disposition=disposition(filename, mimetype),
                response_type=mimetype,
            )
        except (AttributeError, GoogleAuthError):  # The first: there is no key at all.
            return None
        return url

    @limited
    def _blob(self, key: str) -> Any:
        blob = Blob(checked(key), self.get_bucket())
        try:
            with store_errors(about_a_file=True):
                blob.reload(**self.call_options())
        except FileNotFoundError:
            self._check_bucket()
            raise
        return blob

    def _check_bucket(self) -> None:
        """A missing file and a missing bucket are both answered with 404; a list is not."""
        with store_errors():
            bucket = self.get_bucket()
            found = self.get_connection().list_blobs(bucket, max_results=1, **self.call_options())
            next(iter(found), None)

    @limited
    def _delete_page(self, page: list[str]) -> None:
        with store_errors():
            bucket = self.get_bucket()
            try:
                with self.get_connection().batch():
                    for key in page:
                        bucket.delete_blob(key, **self.call_options())
                return
            except NotFound:
                # The batch was carried out, but of all failures only the last one is told.
                self._check_bucket()
        remove_each(self.delete, page)

    @limited
    def _probe_with(self, key: str, content: bytes) -> bytes:
        with store_errors():
            blob = Blob(key, self.get_bucket())
            blob.upload_from_string(content, **self.call_options())
            try:
                read: bytes = blob.download_as_bytes(**self.call_options())
            finally:
                blob.delete(**self.call_options())
        return read

    @limited
    def mark(self) -> bytes | None:
        """The mark, an object of its own; None where there is none."""
        try:
            with store_errors(about_a_file=True):
                found: bytes = Blob(MARK, self.get_bucket()).download_as_bytes(
                    **self.call_options()
                )
        except FileNotFoundError:
            return None
        return found

    @limited
    def set_mark(self, content: bytes, replace: bool) -> bool:
        """Write the mark; False where there is one that may not be replaced."""
        only_new = {} if replace else {"if_generation_match": 0}
        try:
            with store_errors():
                Blob(MARK, self.get_bucket()).upload_from_string(
                    content, **only_new, **self.call_options()
                )
        except FileExistsError:
            return False
        return True
