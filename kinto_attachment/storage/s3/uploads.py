"""Files that come to S3 in several requests: a multipart upload of equal parts, and tails.

Part N always has the same bytes of the file, so whoever sends it twice changes nothing. Beside
the tails there is one object more, ``begun-…``, by which gc finds a multipart upload that it may
abort, and knows the others from it.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from kinto_attachment.storage.errors import StoreError, StoreFull
from kinto_attachment.storage.network import PART, WRITER, Unanswered
from kinto_attachment.storage.network_uploads import NetworkUploads
from kinto_attachment.storage.removing import tell_failed
from kinto_attachment.storage.s3.connection import status_of, store_errors
from kinto_attachment.storage.s3.streams import MAX_PARTS, S3Reader, about_file, create
from kinto_attachment.storage.tails import Stored, folder_of
from kinto_attachment.storage.unfinished import UPLOADS, State

if TYPE_CHECKING:
    from kinto_attachment.storage.s3 import S3FileStorage

_BEGUN = "begun-"


class Parts:
    """The parts of one upload that follow one another from the first, each of full size."""

    def __init__(self, storage: "S3FileStorage", state: State) -> None:
        self._storage = storage
        self._where = {
            "Bucket": storage.bucket_name,
            "Key": state["key"],
            "UploadId": state["multipart"],
        }
        self._unit = int(state["unit"])
        self.etags: list[str] = []

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.etags) * self._unit

    def proof(self) -> str:
        """Changes where a part was sent again with other bytes."""
        return hashlib.sha256(" ".join(self.etags).encode()).hexdigest()[:32]

    def send(self, piece: bytearray) -> None:
        """Send the next part; the last one may be shorter."""
        number = len(self.etags) + 1
        if number > MAX_PARTS:
            raise StoreFull(f"a file in S3 has at most {MAX_PARTS} parts of {self._unit} bytes")
        with store_errors():
            answer = self._storage.s3_client.upload_part(
                **self._where, PartNumber=number, Body=piece
            )
        self.etags.append(answer["ETag"])

    def find(self) -> None:
        """Ask S3 which parts it has."""
        with store_errors():
            pages = self._storage.s3_client.get_paginator("list_parts").paginate(**self._where)
            for part in (part for page in pages for part in page.get("Parts", ())):
                # One that is short was the last of a finish that was killed.
                if part["PartNumber"] != len(self.etags) + 1 or part["Size"] != self._unit:
                    break
                self.etags.append(part["ETag"])

    def complete(self) -> None:
        """Publish the file, never over another one."""
        parts = [{"ETag": etag, "PartNumber": n} for n, etag in enumerate(self.etags, 1)]
        what = {**self._where, "MultipartUpload": {"Parts": parts}}
        with store_errors():
            create(self._storage, "complete_multipart_upload", what)


class S3Objects:
    """Small objects of ours in the bucket. They have no ACL: nobody else may read them."""

    def __init__(self, storage: "S3FileStorage") -> None:
        self._storage = storage
        self._bucket = storage.bucket_name

    def listing(self, prefix: str) -> Iterator[Stored]:
        """A page of 1,000 in each request."""
        for found in self._storage.pages("list_objects_v2", "Contents", {"Prefix": prefix}):
            yield Stored(found["Key"], found["Size"], found["LastModified"].timestamp())

    def create(self, name: str, content: bytes | bytearray, metadata: Mapping[str, str]) -> None:
        """One request, which S3 refuses where the object is there already."""
        what = {"Bucket": self._bucket, "Key": name, "Body": content, "Metadata": metadata}
        with store_errors():
            create(self._storage, "put_object", what)

    def metadata(self, name: str) -> Mapping[str, str]:
        """A HEAD request."""
        found: Mapping[str, str] = self._storage.head(name)["Metadata"]
        return found

    def content(self, name: str) -> S3Reader:
        """One request."""
        with store_errors():
            return S3Reader(
                self._storage.s3_client.get_object(Bucket=self._bucket, Key=name)["Body"]
            )

    def remove(self, names: list[str]) -> None:
        """1,000 in each request."""
        for first in range(0, len(names), 1000):
            tell_failed(self._storage.delete_page(names[first : first + 1000]))


class S3Uploads(NetworkUploads[Parts]):
    """The unfinished uploads of a bucket. Beyond what the store needs, it takes
    ``s3:ListMultipartUploadParts`` on the objects.

    :ivar unit: bytes of a part: at least 5 MiB, says S3.
    """

    unit = piece = PART

    def __init__(self, storage: "S3FileStorage") -> None:
        super().__init__(storage, S3Objects(storage))
        self._storage = storage

    @property
    def largest(self) -> int | None:
        """78 GiB: 10,000 parts of 8 MiB."""
        return self.unit * MAX_PARTS

    def missing_permission(self) -> str | None:
        """Asked by a look at an upload that does not exist: S3 looks at the permission first."""
        where = {"Bucket": self._storage.bucket_name, "Key": f"{UPLOADS}/none"}
        with store_errors():
            try:
                self._storage.s3_client.list_parts(**where, UploadId="none")
            except ClientError as error:
                return "s3:ListMultipartUploadParts" if status_of(error) == 403 else None
        return None

    def going_on(self) -> set[str]:
        """Of the multipart uploads that were begun here, what :func:`short` gives."""
        listed = self._objects.listing(f"{UPLOADS}/")
        return {found.name.partition(f"/{_BEGUN}")[2] for found in listed}

    def _start(
        self, state: State, *, mimetype: str, filename: str, private: bool
    ) -> Mapping[str, str]:
        key = state["key"]
        with store_errors():
            found = self._storage.s3_client.create_multipart_upload(
                Bucket=self._storage.bucket_name,
                Key=key,
                **about_file(self._storage, state["token"], mimetype, filename, private),
            )
        made = {"multipart": str(found["UploadId"])}
        begun = f"{folder_of(state)}{_BEGUN}{short(key, made['multipart'])}"
        try:
            self._objects.create(begun, json.dumps({**state, **made}).encode(), {})
        except StoreError:
            self._drop({**state, **made})
            raise
        return made

    def _sent(self, state: State) -> Parts | None:
        parts = Parts(self._storage, state)
        try:
            parts.find()
        except Unanswered:
            return None
        return parts

    def _publish(self, state: State, units: Parts, rest: bytearray) -> None:
        if rest or not units.etags:  # An empty file has one empty part.
            units.send(rest)
        units.complete()

    def _published_token(self, state: State) -> str | None:
        token: str | None = self._storage.head(state["key"])["Metadata"].get(WRITER)
        return token

    def _drop(self, state: State) -> None:
        with store_errors():
            self._storage.abort_upload(state["key"], state["multipart"])

    def _drop_abandoned(self, names: list[str]) -> None:
        for name in [name for name in names if f"/{_BEGUN}" in name]:
            # Gone: somebody removes it, too. Damaged: the bucket's lifecycle rule ends it.
            with (
                contextlib.suppress(FileNotFoundError, ValueError, LookupError, TypeError),
                contextlib.closing(self._objects.content(name)) as reader,
            ):
                self._drop(json.loads(b"".join(reader)))


def short(key: str, upload_id: str) -> str:
    """A name for a multipart upload: S3's own ids are long, and may have any character."""
    return hashlib.sha256(f"{key} {upload_id}".encode()).hexdigest()[:32]
