"""Stores in which uploads go on, each with small units, and what else is to be known of them."""

import contextlib
import itertools
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kinto_attachment.storage import State, Uploads
from kinto_attachment.storage.gcloud import GoogleCloudStorage
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.storage.unfinished import UPLOADS
from tests.support import storage_parts

UNIT = 16 * 1024
"""Bytes of a unit here: S3 and Google ask for more, moto and the emulator don't mind."""


class Place(ABC):
    """One store, as two nodes see it in turns.

    :ivar kind: the backend's name.
    :ivar where: a directory, or the settings of a store as JSON.
    """

    kind: str
    where: str

    def __init__(self) -> None:
        self._nodes = itertools.cycle([self.node(), self.node()])

    @abstractmethod
    def node(self) -> Any:
        """A store of its own."""

    def store(self) -> Any:
        """That of the other node."""
        return next(self._nodes)

    @property
    def uploads(self) -> Uploads:
        """Those of the other node."""
        uploads: Uploads = self.store().uploads
        return uploads

    @abstractmethod
    def leftovers(self) -> list[str]:
        """What is there beside the files, by names."""

    @abstractmethod
    def counting(self) -> contextlib.AbstractContextManager[list[tuple[str, int]]]:
        """Names and numbers of bytes that are read back from the store."""

    def close(self) -> None:
        """Close the connections of both nodes."""
        for _ in range(2):
            self.store().close()

    def clear(self) -> None:
        """Remove everything, for the next test."""
        store = self.store()
        store.delete_many([file.key for file in store.files()])
        store.uploads.remove_abandoned(time.time() + 3600, lambda _: False)

    def content(self, key: str) -> bytes:
        """Of a file."""
        with contextlib.closing(self.store().open(key)) as reader:
            return b"".join(reader)

    def files(self) -> list[str]:
        """Their keys."""
        return [file.key for file in self.store().files()]


class Directory(Place):
    kind = "local"

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        super().__init__()

    def node(self) -> LocalFileStorage:
        return LocalFileStorage(self.where, fsync=False)  # No power is cut here.

    def leftovers(self) -> list[str]:
        folder = os.path.join(self.where, UPLOADS)
        return sorted(os.listdir(folder)) if os.path.exists(folder) else []

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[tuple[str, int]]]:
        read: list[tuple[str, int]] = []
        with pytest.MonkeyPatch.context() as patch:
            pread = os.pread

            def counted(descriptor: int, size: int, position: int) -> bytes:
                found = pread(descriptor, size, position)
                read.append((f"{position}", len(found)))
                return found

            patch.setattr(os, "pread", counted)
            yield read


class Bucket(Place):
    kind = "s3"

    def __init__(self, url: str, client: Any) -> None:
        self._client = client
        self._name = storage_parts.new_bucket(client)
        self._read: list[tuple[str, int]] = []
        settings = {
            "aws.bucket_name": self._name,
            "aws.endpoint_url": url,
            "aws.access_key": storage_parts.ACCESS_KEY,
            "aws.secret_key": storage_parts.SECRET_KEY,
            "aws.region": "us-east-1",
            "aws.timeout": storage_parts.PATIENCE,
        }
        self.where = json.dumps(settings)
        super().__init__()

    def node(self) -> S3FileStorage:
        made = S3FileStorage.from_settings(json.loads(self.where), "")
        events = made.s3_client.meta.events
        events.register("provide-client-params.s3.GetObject", self._note)
        return made

    def _note(self, params: dict[str, Any], **_: Any) -> None:
        self._read.append((params["Key"], 1))

    def leftovers(self) -> list[str]:
        listed = self._client.list_objects_v2(Bucket=self._name, Prefix=UPLOADS)
        under_way = self._client.list_multipart_uploads(Bucket=self._name)
        names = [found["Key"] for found in listed.get("Contents", ())]
        return names + [f"multipart {found['Key']}" for found in under_way.get("Uploads", ())]

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[tuple[str, int]]]:
        self._read.clear()
        yield self._read


class GoogleBucket(Place):
    kind = "gcloud"

    def __init__(self, name: str) -> None:
        self._read: list[tuple[str, int]] = []
        self.where = json.dumps({"gcloud.bucket_name": name, "gcloud.timeout": "60"})
        super().__init__()

    def node(self) -> GoogleCloudStorage:
        made = GoogleCloudStorage.from_settings(json.loads(self.where), "")
        made.get_connection()._http.hooks["response"].append(self._note)
        return made

    def _note(self, answer: Any, **_: Any) -> None:
        if "alt=media" in answer.url:
            self._read.append((answer.url, 1))

    def leftovers(self) -> list[str]:
        client = self.store().get_connection()
        bucket = self.store().get_bucket()
        return [blob.name for blob in client.list_blobs(bucket, prefix=UPLOADS)]

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[tuple[str, int]]]:
        self._read.clear()
        yield self._read


def carried(state: State) -> State:
    """The state as another node finds it in its row."""
    found: State = json.loads(json.dumps(state))
    return found
