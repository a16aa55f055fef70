"""A file on its way to S3, or from there."""

import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, wait
from threading import Thread
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from kinto_attachment.disposition import disposition
from kinto_attachment.storage.interface import CHUNK_SIZE
from kinto_attachment.storage.network import PART, WRITER, PartWriter
from kinto_attachment.storage.s3.connection import status_of, store_errors

if TYPE_CHECKING:
    from kinto_attachment.storage.s3 import S3FileStorage

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
MAX_PARTS = 10_000
"""Parts of one file: the most that S3 allows."""

SMALLEST = 5 * MIB
"""Bytes of a part, unless it is the last one: the least that S3 allows."""

MEMORY = 36 * MIB
"""Bytes of one file that are in memory, at the most: one part is filled, others are under way."""

LARGEST = MEMORY // 2
"""Bytes of a part, at the most."""


def about_file(
    storage: "S3FileStorage", token: str, mimetype: str, filename: str, private: bool
) -> dict[str, Any]:
    """What is stored with a file.

    :param token: by which its writer knows it, when S3's answer is lost.
    """
    about: dict[str, Any] = {"Metadata": {WRITER: token}}
    if mimetype:
        about["ContentType"] = mimetype
    if filename:
        about["ContentDisposition"] = disposition(filename, mimetype)
    if storage.acl and not private:
        about["ACL"] = storage.acl
    if storage.cache_control and not private:
        about["CacheControl"] = storage.cache_control
    return about


def create(storage: "S3FileStorage", operation: str, what: Mapping[str, Any]) -> None:
    """Publish a file, never over another one.

    Stores that know no conditional writes are asked before: keys are never used twice, so
    nothing can come between.
    """
    call = getattr(storage.s3_client, operation)
    if storage.knows_conditions:
        try:
            call(**what, IfNoneMatch="*")
            return
        except ClientError as error:
            if status_of(error) != 501:
                raise
        storage.knows_conditions = False
        logger.info("The store knows no conditional writes: it is asked before each one.")
    if _is_taken(storage, what["Key"]):
        raise FileExistsError(f"{what['Key']} is taken")
    call(**what)


def _is_taken(storage: "S3FileStorage", key: str) -> bool:
    try:
        storage.head(key)
    except FileNotFoundError:
        return False
    return True


class S3Writer(PartWriter):
    """One ``PutObject``, or a multipart upload of which some parts are under way at once."""

    def __init__(
        self, storage: "S3FileStorage", key: str, mimetype: str, filename: str, private: bool
    ) -> None:
        super().__init__()
        self._storage = storage
        self._where = {"Bucket": storage.bucket_name, "Key": key}
        self._about = about_file(storage, self._token, mimetype, filename, private)
        self._upload_id = ""
        self._etags: list[str] = []
        self._under_way: deque[tuple[Future[str], bytearray]] = deque()

    @property
    def largest(self) -> int:
        """175 GiB: 10,000 parts of 18 MiB."""
        return MAX_PARTS * LARGEST

    def announce(self, size: int) -> None:
        """Choose the size of parts: small ones, of which more are sent at once, as long as
        :data:`MAX_PARTS` of them are enough. What fits into one request goes out in one."""
        if size > PART:
            enough = -(-size // (MAX_PARTS * MIB)) * MIB
            self.part = min(max(SMALLEST, enough), LARGEST)

    def _put(self, content: bytearray) -> None:
        with store_errors():
            create(self._storage, "put_object", {**self._where, **self._about, "Body": content})

    def _begin(self) -> None:
        with store_errors():
            started = self._storage.s3_client.create_multipart_upload(**self._where, **self._about)
        self._upload_id = started["UploadId"]

    def _send(self, part: bytearray, last: bool) -> bytearray | None:
        """In a thread that keeps no process from ending."""
        free, most = None, min(self._storage.lanes.now, MEMORY // self.part - 1)
        while len(self._under_way) >= most:
            free = self._wait()
        number = len(self._etags) + len(self._under_way) + 1
        sent: Future[str] = Future()
        self._under_way.append((sent, part))
        work = (number, part, sent)
        try:
            Thread(target=self._send_now, args=work, daemon=True).start()
        except RuntimeError:  # No thread is to be had.
            self._send_now(*work)
        return free

    def _send_now(self, number: int, part: bytearray, sent: Future[str]) -> None:
        began = time.monotonic()
        try:
            with store_errors():
                answer = self._storage.s3_client.upload_part(
                    **self._where, UploadId=self._upload_id, PartNumber=number, Body=part
                )
            self._storage.lanes.took(time.monotonic() - began)
            sent.set_result(answer["ETag"])
        except BaseException as error:
            self._storage.lanes.took(math.inf)
            sent.set_exception(error)

    def _wait(self) -> bytearray:
        """For the part that has been under way for longest. Raises what its request raised."""
        sent, part = self._under_way[0]
        self._etags.append(sent.result())
        self._under_way.popleft()
        return part

    def _complete(self) -> None:
        while self._under_way:
            self._wait()
        parts = [{"ETag": etag, "PartNumber": n} for n, etag in enumerate(self._etags, 1)]
        what = {"UploadId": self._upload_id, "MultipartUpload": {"Parts": parts}}
        with store_errors():
            create(self._storage, "complete_multipart_upload", {**self._where, **what})

    def _drop(self) -> None:
        wait(sent for sent, _ in self._under_way)  # What arrives after the abort would stay.
        with store_errors():
            self._storage.abort_upload(self._where["Key"], self._upload_id)

    def _stored_token(self) -> str | None:
        with store_errors():
            found = self._storage.s3_client.head_object(**self._where)
        token: str | None = found["Metadata"].get(WRITER)
        return token


class S3Reader:
    """The body of one answer, in chunks; None stands for no bytes at all."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> "S3Reader":
        return self

    def __next__(self) -> bytes:
        if self._body is not None:
            with store_errors():
                data: bytes = self._body.read(CHUNK_SIZE)
            if data:
                return data
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()
            self._body = None
