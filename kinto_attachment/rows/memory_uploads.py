"""Unfinished uploads in Kinto's memory."""

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

from kinto.core.storage import StorageBase
from kinto.core.storage.exceptions import ObjectNotFoundError

from kinto_attachment.rows.interface import PAGE
from kinto_attachment.rows.memory import MemoryRows
from kinto_attachment.rows.uploads import ENDED, PREFIX, RESOURCE, Unfinished, Upload, Usage
from kinto_attachment.targets import Target


class MemoryUploadRows:
    """By Kinto's own storage, under the lock that links have, too."""

    def __init__(self, storage: StorageBase) -> None:
        self._storage = storage

    def atomically(self) -> AbstractContextManager[object]:
        """Under the one lock."""
        return MemoryRows(self._storage).atomically()

    def get(self, target: Target, upload_id: str, lock: bool = False) -> Upload | None:
        """The upload."""
        for resource in (RESOURCE, ENDED):
            with contextlib.suppress(ObjectNotFoundError):
                found = self._storage.get(
                    resource_name=resource, parent_id=f"{PREFIX}{target.uri}", object_id=upload_id
                )
                return Upload.of_row(upload_id, found)
        return None

    def write(self, upload: Upload) -> None:
        """Kinto's ``update`` also creates."""
        if upload.resource == ENDED:
            self._remove(upload, RESOURCE)
        self._storage.update(
            resource_name=upload.resource,
            parent_id=upload.parent,
            object_id=upload.id,
            obj=upload.row(),
        )

    def remove(self, upload: Upload) -> None:
        """Without a tombstone."""
        for resource in (RESOURCE, ENDED):
            self._remove(upload, resource)

    def _remove(self, upload: Upload, resource: str) -> None:
        with contextlib.suppress(ObjectNotFoundError):
            self._storage.delete(
                resource_name=resource,
                parent_id=upload.parent,
                object_id=upload.id,
                with_deleted=False,
            )

    def lock_usage(self) -> None:
        """Nothing to lock: there is one lock."""

    def usage(self, user_id: str | None, collection_uri: str) -> Usage:
        """What is unfinished."""
        now = time.time()
        found = self._all(RESOURCE)
        own = [u for u in found if u.user_id == user_id and u.expires > now]
        if user_id is None:
            own = [u for u in own if u.target.collection_uri == collection_uri]
        return Usage(len(own), sum(upload.size(now) for upload in found))

    def unfinished(self) -> Unfinished:
        """All that is."""
        now = time.time()
        found = [u for u in self._all(RESOURCE) if u.expires > now]
        oldest = min((upload.created for upload in found), default=None)
        return Unfinished(len(found), sum(upload.received for upload in found), oldest)

    def everything(self) -> Iterator[list[Upload]]:
        """All of them."""
        found = self._all(RESOURCE) + self._all(ENDED)
        for start in range(0, len(found), PAGE):
            yield found[start : start + PAGE]

    def _all(self, resource: str) -> list[Upload]:
        rows = self._storage.list_all(resource_name=resource, parent_id=f"{PREFIX}/*")
        return [found for row in rows if (found := Upload.of_row(row["id"], row))]
