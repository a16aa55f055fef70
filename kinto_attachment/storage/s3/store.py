"""Files in S3, or in any store that speaks its protocol: MinIO, Ceph, R2, Garage…

Needs ``s3:PutObject``, ``GetObject``, ``DeleteObject`` and ``AbortMultipartUpload`` on the
objects, ``ListBucket`` and ``ListBucketMultipartUploads`` on the bucket. Without ``ListBucket``
AWS answers 403 for a missing file, which can't be told from a missing permission.

A little above 200 lines, since each operation stands beside what S3 answers to it.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from pyramid_storage.s3 import S3FileStorage as PyramidS3FileStorage
from zope.interface import implementer

from kinto_attachment import keys
from kinto_attachment.disposition import disposition
from kinto_attachment.storage.client import SharedClient
from kinto_attachment.storage.errors import StoreUnavailable
from kinto_attachment.storage.interface import IStreamingFileStorage, StoredFile
from kinto_attachment.storage.network import MARK, NetworkStorage, checked, is_hidden
from kinto_attachment.storage.removing import tell_failed
from kinto_attachment.storage.s3.connection import (
    MISSING,
    Connection,
    code_of,
    status_of,
    store_errors,
)
from kinto_attachment.storage.s3.lanes import Lanes
from kinto_attachment.storage.s3.streams import S3Reader, S3Writer
from kinto_attachment.storage.s3.uploads import S3Uploads, short
from kinto_attachment.storage.time_limit import SECONDS, limited

CONCURRENCY = 6
"""Parts of one file that are sent at once: one request alone is held up by the way to S3."""

PAGE = 1000
"""Files in one answer, and in one request to delete: the most that S3 allows."""


@implementer(IStreamingFileStorage)
class S3FileStorage(NetworkStorage, PyramidS3FileStorage):
    """pyramid_storage's S3 backend, made streaming, and with one client for all threads.

    Nothing is sent before the first use: a store that can't be reached stops no start.

    :param acl: canned ACL of new files; buckets of today refuse any, so None sends none.
    :param cache_control: ``Cache-Control`` of files that are not private; None sends none.
    :ivar lanes: how many parts of one file are sent at once.
    :ivar knows_conditions: whether the store can refuse to write over a file; assumed until
        it says that it can't.
    """

    def __init__(
        self,
        bucket_name: str,
        connection: Connection,
        acl: str | None = None,
        base_url: str = "",
        extensions: str = "default",
        cache_control: str | None = None,
    ) -> None:
        super().__init__(bucket_name, acl, base_url, extensions)
        self.cache_control = cache_control
        self.lanes = Lanes(CONCURRENCY, connection.timeout)
        self._shared = SharedClient(connection.client)
        self.knows_conditions = True

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], prefix: str) -> "S3FileStorage":
        """pyramid_storage's way to configure: ``aws.*``, ``base_url`` and ``extensions``.

        Beside its names there are ``aws.endpoint_url`` and ``aws.cache_control``, which is for
        files that are read by ``base_url``; and there is no ACL unless one is set.
        """
        read_there = settings.get(f"{prefix}base_url") is not None
        connection = Connection.from_settings(settings, f"{prefix}aws.")
        made = cls(
            settings[f"{prefix}aws.bucket_name"],
            connection,
            settings.get(f"{prefix}aws.acl") or None,
            settings.get(f"{prefix}base_url") or "",
            settings.get(f"{prefix}extensions") or "default",
            (settings.get(f"{prefix}aws.cache_control") or None) if read_there else None,
        )
        asked = int(settings.get(f"{prefix}aws.upload_concurrency") or CONCURRENCY)
        made.lanes = Lanes(asked, connection.timeout)
        made.time_limit = float(settings.get(f"{prefix}store_timeout") or SECONDS)
        return made

    @property
    def s3_client(self) -> Any:
        """pyramid_storage's: boto3's client, one for all. Raises :class:`StoreError`."""
        with store_errors():
            return self._shared.get()

    def open_writer(
        self, key: str, *, mimetype: str, filename: str, private: bool = False
    ) -> "S3Writer":
        """A writer of a new file."""
        return S3Writer(self, checked(key), mimetype, filename, private)

    @property
    def uploads(self) -> S3Uploads:
        """Files that come in several requests."""
        return S3Uploads(self)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> "S3Reader":
        """The bytes of a file, or of a range of it, by one GET request."""
        if stop is not None and stop <= start:
            self.stat(key)
            return S3Reader(None)
        wanted = {"Bucket": self.bucket_name, "Key": checked(key)}
        if start or stop is not None:
            wanted["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        with store_errors():
            try:
                return S3Reader(self.s3_client.get_object(**wanted)["Body"])
            except ClientError as error:
                if status_of(error) != 416:
                    raise
                return S3Reader(None)

    def stat(self, key: str) -> StoredFile:
        """Size and time of a file, by a HEAD request."""
        found = self.head(checked(key))
        return StoredFile(key, found["ContentLength"], found["LastModified"].timestamp())

    def files(self) -> Iterator[StoredFile]:
        """Every file of the store, page by page."""
        paging = {"PaginationConfig": {"PageSize": PAGE}}
        for found in self.pages("list_objects_v2", "Contents", paging):
            if not is_hidden(found["Key"]):
                modified = found["LastModified"].timestamp()
                yield StoredFile(found["Key"], found["Size"], modified)

    @limited
    def delete(self, filename: str, bucket_name: str | None = None) -> bool:
        """Remove a file; False where there was none. Other buckets are not reached."""
        try:
            self.head(checked(filename))
        except FileNotFoundError:
            return False
        with store_errors():
            self.s3_client.delete_object(Bucket=self.bucket_name, Key=filename)
        return True

    def delete_many(self, keys: Iterable[str]) -> None:
        """Remove files, 1,000 in a request. Gives up when the store is away."""
        failed: list[str] = []
        remaining = iter(keys)
        while page := list(islice(remaining, PAGE)):
            failed += self.delete_page(page)
        tell_failed(failed)

    def remove_unfinished(self, before: float) -> int:
        """Abort old multipart uploads; returns how many. Those of others are left alone, and
        those that may go on in another request."""
        removed = 0
        going_on = self.uploads.going_on()
        for found in self.pages("list_multipart_uploads", "Uploads", {}):
            key, upload_id = found["Key"], found["UploadId"]
            ours = keys.id_of_key(key) is not None and short(key, upload_id) not in going_on
            if ours and found["Initiated"].timestamp() < before:
                with store_errors():
                    removed += self.abort_upload(key, upload_id)
        return removed

    def presigned_url(self, key: str, filename: str, mimetype: str, expires: int) -> str | None:
        """A URL that opens the file for some time, signed without asking S3."""
        wanted = {
            "Bucket": self.bucket_name,
            "Key": checked(key),
            "ResponseContentType": mimetype,
            "ResponseContentDisposition": disposition(filename, mimetype),
        }
        with store_errors():
            url: str = self.s3_client.generate_presigned_url(
                "get_object", Params=wanted, ExpiresIn=expires
            )
        return url

    @limited
    def head(self, key: str) -> Any:
        """S3's answer about one object. Raises FileNotFoundError."""
        try:
            with store_errors():
                return self.s3_client.head_object(Bucket=self.bucket_name, Key=key)
        except FileNotFoundError:
            self._check_bucket()  # The answer to HEAD has no body that tells which is missing.
            raise

    def _check_bucket(self) -> None:
        try:
            self.s3_client.head_bucket(Bucket=self.bucket_name)
        except ClientError as error:
            if status_of(error) == 404:
                said = f"the bucket {self.bucket_name} does not exist"
                raise StoreUnavailable(said) from None
        except BotoCoreError as error:
            raise StoreUnavailable(f"S3 can't be used: {type(error).__name__}") from None

    def pages(self, operation: str, name: str, more: Mapping[str, Any]) -> Iterator[Any]:
        """Everything that a list has, page by page. Raises :class:`StoreError`."""
        with store_errors():
            paginator = self.s3_client.get_paginator(operation)
            for page in paginator.paginate(Bucket=self.bucket_name, **more):
                yield from page.get(name, ())

    @limited
    def delete_page(self, page: list[str]) -> list[str]:
        """Remove up to 1,000 objects; returns those that could not be, and why."""
        doomed = {"Objects": [{"Key": key} for key in page], "Quiet": True}
        with store_errors():
            try:
                answer = self.s3_client.delete_objects(Bucket=self.bucket_name, Delete=doomed)
            except ClientError as error:
                if status_of(error) not in (400, 501):
                    raise
                # Older clones don't know this request, or want another checksum with it.
                return self._delete_each(page)
        errors = answer.get("Errors", ())
        return [f"{e['Key']} ({e['Code']})" for e in errors if e["Code"] not in MISSING]

    def _delete_each(self, page: list[str]) -> list[str]:
        failed = []
        for key in page:
            try:
                self.s3_client.delete_object(Bucket=self.bucket_name, Key=key)
            except ClientError as error:
                failed.append(f"{key} ({code_of(error)})")
        return failed

    def abort_upload(self, key: str, upload_id: str) -> int:
        """Remove the parts of a file that is not finished; returns how many files that were."""
        try:
            self.s3_client.abort_multipart_upload(
                Bucket=self.bucket_name, Key=key, UploadId=upload_id
            )
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            return 0
        return 1

    @limited
    def _probe_with(self, key: str, content: bytes) -> bytes:
        where = {"Bucket": self.bucket_name, "Key": key}
        with store_errors():
            self.s3_client.put_object(Body=content, **where)
            try:
                with contextlib.closing(self.s3_client.get_object(**where)["Body"]) as body:
                    read: bytes = body.read()
            finally:
                self.s3_client.delete_object(**where)
        return read

    @limited
    def mark(self) -> bytes | None:
        """The mark, an object of its own; None where there is none."""
        where = {"Bucket": self.bucket_name, "Key": MARK}
        try:
            with store_errors():
                answer = self.s3_client.get_object(**where)
                with contextlib.closing(answer["Body"]) as body:
                    found: bytes = body.read()
        except FileNotFoundError:
            return None
        return found

    @limited
    def set_mark(self, content: bytes, replace: bool) -> bool:
        """Write the mark; False where there is one that may not be replaced."""
        only_new = {} if replace or not self.knows_conditions else {"IfNoneMatch": "*"}
        if not (replace or only_new) and self.mark() is not None:
            return False
        try:
            with store_errors():
                self._put_mark(content, only_new)
        except FileExistsError:
            return False
        return True

    def _put_mark(self, content: bytes, only_new: dict[str, str]) -> None:
        what = {"Bucket": self.bucket_name, "Key": MARK, "Body": content}
        try:
            self.s3_client.put_object(**what, **only_new)
        except ClientError as error:
            if not only_new or status_of(error) != 501:
                raise
            self.knows_conditions = False  # A clone of S3: it had no mark a moment ago.
            self.s3_client.put_object(**what)
