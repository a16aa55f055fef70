"""Files that come to Google in several requests: a session, and tails.

Google takes multiples of 256 KiB, and keeps a session for a week. Sessions can't be listed, and
nothing is charged for them: of an abandoned one only the tails are removed.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from google.api_core.exceptions import NotFound
from google.cloud.storage import Blob

from kinto_attachment.storage.gcloud.connection import store_errors
from kinto_attachment.storage.gcloud.session import Session, SessionGone
from kinto_attachment.storage.gcloud.streams import (
    GoogleReader,
    about_file,
    create_options,
    new_blob,
    token_of,
)
from kinto_attachment.storage.network import PART
from kinto_attachment.storage.network_uploads import NetworkUploads
from kinto_attachment.storage.tails import Stored
from kinto_attachment.storage.unfinished import State

if TYPE_CHECKING:
    from kinto_attachment.storage.gcloud import GoogleCloudStorage

UNIT = 256 * 1024
"""Bytes: Google keeps multiples of it only."""


class Units:
    """What one session has."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @property
    def size(self) -> int:
        """Bytes."""
        return self.session.size

    def proof(self) -> str:
        """Nothing: Google keeps what it got first, and ignores what is sent again."""
        return ""

    def send(self, piece: bytearray) -> None:
        """Send the next units."""
        with store_errors():
            self.session.send(piece, last=False)


class GoogleObjects:
    """Small objects of ours in the bucket."""

    def __init__(self, storage: "GoogleCloudStorage") -> None:
        self._storage = storage

    def listing(self, prefix: str) -> Iterator[Stored]:
        """Page by page."""
        with store_errors():
            client, bucket = self._storage.get_connection(), self._storage.get_bucket()
            options = self._storage.call_options()
            for blob in client.list_blobs(bucket, prefix=prefix, **options):
                yield Stored(blob.name, blob.size, blob.updated.timestamp())

    def create(self, name: str, content: bytes | bytearray, metadata: Mapping[str, str]) -> None:
        """One request, which Google refuses where the object is there already."""
        blob = self._blob(name)
        blob.metadata = dict(metadata)
        with store_errors():
            blob.upload_from_string(bytes(content), **create_options(self._storage, "", None))

    def metadata(self, name: str) -> Mapping[str, str]:
        """One request."""
        blob = self._blob(name)
        with store_errors(about_a_file=True):
            blob.reload(**self._storage.call_options())
        return blob.metadata or {}

    def content(self, name: str) -> GoogleReader:
        """Two requests."""
        blob = self._blob(name)
        with store_errors(about_a_file=True):
            blob.reload(**self._storage.call_options())
        return GoogleReader(blob, 0, blob.size, self._storage.call_options())

    def remove(self, names: list[str]) -> None:
        """One by one."""
        for name in names:
            with store_errors(), contextlib.suppress(NotFound):
                self._blob(name).delete(**self._storage.call_options())

    def _blob(self, name: str) -> Blob:
        with store_errors():
            return Blob(name, self._storage.get_bucket())


class GoogleUploads(NetworkUploads[Units]):
    """The unfinished uploads of a bucket."""

    unit = UNIT
    piece = PART

    def __init__(self, storage: "GoogleCloudStorage") -> None:
        super().__init__(storage, GoogleObjects(storage))
        self._storage = storage

    @property
    def largest(self) -> int | None:
        """5 TiB: the most that Google stores under one key."""
        return 5 * 1024**4

    def _start(
        self, state: State, *, mimetype: str, filename: str, private: bool
    ) -> Mapping[str, str]:
        about = about_file(self._storage, state["token"], mimetype, filename)
        acl = None if private else self._storage.acl
        with store_errors():
            blob = new_blob(self._storage, state["key"], about)
            options = create_options(self._storage, mimetype, acl)
            return {"session": blob.create_resumable_upload_session(**options)}

    def _sent(self, state: State) -> Units | None:
        session = Session(self._storage, state["session"])
        try:
            with store_errors():
                session.ask()
        except SessionGone:
            return None
        return None if session.complete else Units(session)

    def _publish(self, state: State, units: Units, rest: bytearray) -> None:
        with store_errors():
            if rest:
                units.session.send(rest, last=True)
            else:
                units.session.ask(total=units.size)

    def _published_token(self, state: State) -> str | None:
        return token_of(self._storage, state["key"])

    def _drop(self, state: State) -> None:
        with store_errors():
            Session(self._storage, state["session"]).cancel()
