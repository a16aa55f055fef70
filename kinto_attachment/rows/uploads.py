"""Unfinished uploads: one row for each, which says what the end of the upload needs.

In Kinto's own storage: resource name ``attachments-uploads``, id the upload's, parent ``/uploads``
and the record's URI, so that Kinto, which deletes with a bucket whatever has a parent below it,
does not reach it: what the store has for it would be left over. gc removes both. How far an
upload has come is never written here: that is what the store has.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, Protocol

from kinto_attachment.targets import Target

logger = logging.getLogger(__name__)

RESOURCE, ENDED = "attachments-uploads", "attachments-uploads-ended"
"""Resource names of rows: those that have ended wait for gc apart, so that whoever counts the
others passes by none of them."""

PREFIX = "/uploads"

USAGE = 0x6B614004
"""Our advisory lock of those who count what is unfinished: one after the other."""

ANNOUNCED = 300
"""Seconds for which an upload counts as large as it was announced; after that, as much as it has
brought. So nobody takes the space of others for a day by an announcement."""


class Status(StrEnum):
    """How far an upload has come."""

    OPEN = "open"
    FINISHED = "finished"
    """Its record is written. The row stays for some time: the answer may have been lost."""
    REFUSED = "refused"
    """It was turned down for good, and what had come is gone."""


@dataclass(frozen=True)
class Upload:
    """An upload in several requests.

    :param private: whether files there were private when it began: that is how the store has it.
    :param user_id: who began it, as Kinto calls him; None where nobody knows: then whoever has
        the URL goes on with it.
    :param length: bytes of the whole file; None where they are still to be told.
    :param content_type: as the client said.
    :param metadata: the header ``Upload-Metadata``, as it was sent; None for none.
    :param change: what the record's PUT or PATCH will say besides: ``data``, ``permissions``.
    :param preconditions: ``If-Match`` and ``If-None-Match``, in the environ's spelling.
    :param digest: SHA-256 that was promised, in hex, and in which header.
    :param store_state: the store's own.
    :param epoch: goes up with each request: who has an older one may not write any more.
    :param received: bytes that have come, or for which a request under way has taken space: for
        limits only.
    :param empty: how many requests in a row have brought nothing.
    :param whole: whether all bytes were acknowledged before the upload was completed.
    :param created: seconds since 1970.
    :param expires: seconds since 1970.
    :param answer: status of the answer to the last request of a finished upload.
    """

    id: str
    record_uri: str
    private: bool
    user_id: str | None
    file_id: str
    key: str
    filename: str
    mimetype: str
    content_type: str | None
    length: int | None
    metadata: str | None
    change: dict[str, Any]
    preconditions: dict[str, str]
    digest: tuple[str, str] | None
    store_state: dict[str, str]
    created: int
    expires: int
    epoch: int = 0
    received: int = 0
    empty: int = 0
    whole: bool = False
    status: Status = Status.OPEN
    answer: int = 0

    @property
    def target(self) -> Target:
        """The record that the file is for."""
        return Target.of_uri(self.record_uri)

    @property
    def resource(self) -> str:
        """The row's resource name in Kinto's storage."""
        return RESOURCE if self.status is Status.OPEN else ENDED

    @property
    def parent(self) -> str:
        """The row's parent in Kinto's storage."""
        return f"{PREFIX}{self.record_uri}"

    def has_expired(self) -> bool:
        """Whether nobody may go on with it any more."""
        return self.expires <= time.time()

    def size(self, now: float) -> int:
        """Bytes that it counts for."""
        announced = self.length or 0 if now < self.created + ANNOUNCED else 0
        return max(self.received, announced)

    def row(self) -> dict[str, Any]:
        """What the row keeps beside its id and its parent."""
        found = asdict(self)
        del found["id"]
        return found

    @classmethod
    def of_row(cls, upload_id: str, data: dict[str, Any]) -> "Upload | None":
        """The reverse of :meth:`row`; None for a row that is damaged: nobody can go on with it,
        and it must not stop the others."""
        known = {name: data[name] for name in _FIELDS if name in data}
        try:
            known["status"] = Status(known.get("status", Status.OPEN))
            known["digest"] = tuple(known["digest"]) if known["digest"] else None
            found = cls(id=upload_id, **known)
            sound = found._is_sound()
        except (AttributeError, LookupError, TypeError, ValueError):
            sound = False
        if not sound:
            logger.warning("The row of upload %s is damaged, and passed over.", upload_id)
            return None
        return found

    def _is_sound(self) -> bool:
        numbers: list[object] = [self.created, self.expires, self.epoch, self.received]
        numbers += [self.empty, self.answer, 0 if self.length is None else self.length]
        texts: list[object] = [self.file_id, self.key, self.filename, self.mimetype]
        objects: list[object] = [self.change, self.preconditions, self.store_state]
        digest: object = self.digest
        whole: object = self.whole
        return (
            isinstance(whole, bool)
            and all(type(number) is int for number in numbers)
            and all(isinstance(text, str) for text in (*texts, *self.store_state.values()))
            and all(isinstance(value, dict) for value in objects)
            and (digest is None or (isinstance(digest, tuple) and len(digest) == 2))
            and self.target.uri == self.record_uri
        )


_FIELDS = {field.name for field in fields(Upload)} - {"id"}


@dataclass(frozen=True)
class Usage:
    """What is unfinished.

    :param own: uploads of one user, or, without one, of one collection, that may go on.
    :param total_bytes: of all, also of those that have expired: their bytes are still there.
    """

    own: int
    total_bytes: int


@dataclass(frozen=True)
class Unfinished:
    """All that is unfinished, and may go on.

    :param received: bytes that had come when requests last ended.
    :param oldest: when the oldest was begun, in seconds since 1970; None where there is none.
    """

    uploads: int
    received: int
    oldest: int | None


class UploadRows(Protocol):
    """The rows of one Kinto storage. Callers see to the transaction."""

    def atomically(self) -> AbstractContextManager[object]:
        """As :meth:`kinto_attachment.rows.Rows.atomically`."""

    def get(self, target: Target, upload_id: str, lock: bool = False) -> Upload | None:
        """The upload; None where there is none.

        :param lock: nobody else changes it until the transaction ends.
        """

    def write(self, upload: Upload) -> None:
        """Write it, new or not."""

    def remove(self, upload: Upload) -> None:
        """Remove it; harmless where it is gone."""

    def lock_usage(self) -> None:
        """Nobody else comes past this until the transaction ends: it is locked before any row."""

    def usage(self, user_id: str | None, collection_uri: str) -> Usage:
        """What is unfinished, and has not expired."""

    def unfinished(self) -> Unfinished:
        """All that is unfinished, and has not expired, of everybody."""

    def everything(self) -> Iterator[list[Upload]]:
        """All of them, page by page; those that are read may be removed while iterating."""
