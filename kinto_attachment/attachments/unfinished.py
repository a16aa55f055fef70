"""Files that come in several requests: begun, gone on with, finished or given up.

Each request takes the upload over: the row's epoch goes up, in a short transaction of its own, and
whoever has an older one may write no more, neither to the store nor to the record. So nobody waits
for a connection that is dead already, on whatever node. How far an upload has come is what the
store has.

The last byte is acknowledged only by a record that is written: clients take an offset that is the
length for success (:attr:`Session.shown`).

Longer than others: what may happen to an upload is read as a whole.
"""

import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from kinto.core.storage import StorageBase

from kinto_attachment import keys
from kinto_attachment.attachments import charsets, intake, sniffing, space, types
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.rows import Upload, rows_of, upload_rows_of
from kinto_attachment.rows.apart import apart, give_back_connection
from kinto_attachment.rows.links import Link
from kinto_attachment.rows.uploads import Status
from kinto_attachment.settings import Policy, Settings
from kinto_attachment.storage import (
    FIRST_BYTES,
    OffsetDiffers,
    Progress,
    Readable,
    Resumable,
    Store,
    StoreError,
    Superseded,
    UploadGone,
    Uploads,
)
from kinto_attachment.targets import Target

logger = logging.getLogger(__name__)

STORE = "store"
"""Of a store's state: which kind of store it is of. Operators may have changed to another one."""

REMEMBERED = 3600
"""Seconds for which the end of an upload is remembered: its answer may have been lost."""

FOR_GOOD = ("content_differs", "digest_differs", "extension", "too_large", "upload_differs")
"""Refusals that no later request could mend: they end the upload."""


class UnfinishedUploads:
    """Those of one server.

    :param storage: Kinto's.
    :param count: called with what has become of an upload: ``begun``, ``finished``, ``refused`` or
        ``stopped``.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        storage: StorageBase,
        count: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.count = count
        self.settings = settings
        self.store = store
        self.storage = storage

    def reason_against(self, policy: Policy | None = None) -> str | None:
        """Why there are none here; None where there are.

        :param policy: of the collection that is meant; None: of any.
        """
        if not (policy or self.settings).uploads:
            return "the setting uploads is false"
        if not isinstance(self.store, Resumable):
            return "the store keeps only whole files"
        return None

    @property
    def at_store(self) -> Uploads:
        """The store's part. Raises :class:`Refused` where it has none."""
        why = self.reason_against()
        if why is not None or not isinstance(self.store, Resumable):
            raise Refused("uploads_off", why=why)
        return self.store.uploads

    def most(self, policy: Policy) -> int:
        """Bytes that a file may have; 0 is no limit."""
        limits = [policy.max_size_bytes, self.at_store.largest or 0]
        return min((limit for limit in limits if limit), default=0)

    def begin(self, wanted: Upload, part: FilePart, policy: Policy) -> "Session":
        """Begin an upload.

        :param wanted: what the client has said of it; name, type and key are decided here.
        :raises Refused: extension, announced size, too many uploads, or none in this collection.
        """
        why = self.reason_against(policy)
        if why is not None:
            raise Refused("uploads_off", why=why)
        self._check_length(wanted.length, policy)
        plan = intake.plan(part, None, wanted.target, policy)
        now = int(time.time())
        upload = replace(
            wanted,
            id=secrets.token_hex(16),
            file_id=plan.file_id,
            key=plan.key,
            filename=plan.filename,
            mimetype=plan.mimetype,
            content_type=part.mimetype,
            created=now,
            expires=self.expiry(),
        )
        apart(lambda: self._reserve(upload))
        try:
            state = self.at_store.begin(
                upload.id,
                upload.key,
                mimetype=charsets.content_type(plan.mimetype, plan.charset),
                filename=plan.filename,
                private=policy.private,
            )
        except BaseException:
            apart(lambda: upload_rows_of(self.storage).remove(upload))
            raise
        state = {**state, STORE: type(self.store).__name__}
        session = Session(self, replace(upload, store_state=state))
        if not session.change(store_state=state):
            self.at_store.discard(state)
            raise Refused("upload_taken_over")
        self.count("begun")
        return session

    def expiry(self) -> int:
        """When an upload expires that nobody goes on with from now on: seconds since 1970."""
        return int(time.time()) + self.settings.upload_max_age

    def take(self, target: Target, upload_id: str, user_id: str | None) -> "Session":
        """Take an upload over.

        :raises Refused: there is none for this user, or it has ended.
        """

        def take() -> Upload | None:
            rows = upload_rows_of(self.storage)
            with rows.atomically():
                found = rows.get(target, upload_id, lock=True)
                if found is None or found.user_id != user_id or not found.store_state:
                    return None
                if found.status is Status.OPEN and not found.has_expired():
                    found = replace(found, epoch=found.epoch + 1)
                    rows.write(found)
                return found

        found = apart(take)
        if found is None:
            raise Refused("upload_unknown")
        if found.status is Status.FINISHED:
            if not apart(lambda: self.link_of(found)) or found.has_expired():
                raise Refused("upload_unknown")
        elif found.status is Status.REFUSED or found.has_expired() or not self._has(found):
            raise Refused("upload_gone")
        return Session(self, found)

    def remove(self, upload: Upload) -> None:
        """Remove what is left of an upload, in the store and in the rows; a file that a record
        names is left alone."""
        apart(lambda: upload_rows_of(self.storage).remove(upload))
        self.clear(upload)

    def expire(self, upload: Upload) -> bool:
        """Remove an upload that has expired; False where it has been finished meanwhile."""

        def expire() -> Upload | None:
            rows = upload_rows_of(self.storage)
            with rows.atomically():
                found = rows.get(upload.target, upload.id, lock=True)
                if found is None or not found.has_expired():
                    return None
                rows.remove(found)
                return found

        expired = apart(expire)
        if expired is not None:
            self.clear(expired)
        return expired is not None

    def clear(self, upload: Upload) -> None:
        """Remove what is left of an upload in the store."""
        if upload.store_state and not self._has(upload):
            logger.warning("What came of upload %s lies in another store.", upload.id)
            return
        if upload.store_state and isinstance(self.store, Resumable):
            self.store.uploads.discard(upload.store_state)
        if upload.status is not Status.FINISHED:
            apart(lambda: self._remove_file(upload))

    def _remove_file(self, upload: Upload) -> None:
        """As gc does: under the lock under which a record comes to name it."""
        rows = rows_of(self.storage)
        with rows.turn(), rows.atomically():
            rows.lock([upload.file_id])
            if not rows.held([upload.file_id]):
                self.store.delete(upload.key)

    def _has(self, upload: Upload) -> bool:
        return upload.store_state.get(STORE) == type(self.store).__name__

    def link_of(self, upload: Upload) -> Link | None:
        """The link by which the upload's record holds its file; None where it does not."""
        links = rows_of(self.storage).of_records([upload.record_uri])
        return next((link for link in links if link.file_id == upload.file_id), None)

    def _reserve(self, upload: Upload) -> None:
        rows, settings = upload_rows_of(self.storage), self.settings
        with rows.atomically():
            rows.lock_usage()
            usage = rows.usage(upload.user_id, upload.target.collection_uri)
            if usage.own >= settings.max_uploads_per_user:
                raise Refused("too_many_uploads", limit=settings.max_uploads_per_user)
            most, new = settings.max_unfinished_bytes, upload.length or 0
            if most and usage.total_bytes + new > most:
                raise Refused("no_space_unfinished")
            rows.write(upload)

    def _check_length(self, length: int | None, policy: Policy) -> None:
        limit = self.most(policy)
        if limit and length is not None and length > limit:
            raise Refused("too_large", limit=limit)

    def check_length(self, upload: Upload, length: int | None) -> None:
        """Raise :class:`Refused` for a length that the upload can't have."""
        if length is None:
            return
        if upload.length not in (None, length):
            raise Refused("upload_length", length=upload.length)
        self._check_length(length, self.settings.policy_for(*upload.target.place))


class Session:
    """One request's hold of an upload, until a later request takes it over."""

    def __init__(self, uploads: UnfinishedUploads, upload: Upload) -> None:
        self._uploads = uploads
        self.upload = upload
        self._progress: Progress | None = None
        self._began: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the record is written."""
        return self.upload.status is Status.FINISHED

    @property
    def offset(self) -> int:
        """Bytes that the store has."""
        if self.is_finished:
            return self.upload.length or 0
        if self._progress is None:
            give_back_connection()
            with self._ending():
                self._progress = self._uploads.at_store.progress(self.upload.store_state)
        return self._progress.offset

    def check_offset(self, offset: int) -> None:
        """Raise :class:`Refused` for bytes that begin elsewhere than the upload goes on."""
        if offset not in (self.offset, self.shown):
            raise Refused("upload_offset", offset=self.shown)

    def settle(self) -> None:
        """Count what the store has: a request that was taken over counts as what it has asked
        for."""
        if self.upload.status is Status.OPEN and self.upload.received != self.offset:
            self.change(received=self.offset)

    @property
    def has_ended(self) -> bool:
        """Whether nobody can go on with it, and no record was written."""
        return self.upload.status is Status.REFUSED

    @property
    def shown(self) -> int:
        """The offset that the client is told: one less than the length until the record is
        written, unless all bytes were acknowledged without ending the upload."""
        upload, offset = self.upload, self.offset
        if self.is_finished or upload.whole or upload.length is None:
            return offset
        return min(offset, max(0, upload.length - 1))

    def append(self, offset: int, chunks: Iterable[bytes], length: int | None) -> None:
        """Store bytes behind ``offset``. Where the last byte is there already, and was never
        acknowledged, it is compared.

        :param length: of the whole file, where that is known.
        :raises Refused: another offset, or bytes that may not be.
        """
        if offset == self.shown and self.shown < self.offset:
            self._compare_last(chunks)
            return
        if offset != self.offset:
            raise Refused("upload_offset", offset=self.shown)
        self._began = offset
        if self._progress and self._progress.published:
            self._refuse_more(chunks)
            return
        give_back_connection()
        settings, upload = self._uploads.settings, self.upload
        policy = settings.policy_for(*upload.target.place)
        with self._ending():
            if offset == 0 and settings.sniff:
                head, chunks = sniffing.peek(chunks)
                intake.check(upload.filename, upload.mimetype, policy, head)
            most = self._uploads.most(policy)
            limited = _limited(_up_to(chunks, offset, length), offset, most)
            counted = space.within(limited, offset, lambda end: self._take_space(end, length))
            uploads = self._uploads.at_store
            self._progress = None
            try:
                stored = uploads.append(upload.store_state, offset, counted, self._may_write)
            except BaseException:
                self._give_space_back()
                raise
        self._progress = Progress(stored, 0)

    def ends_with(self, offset: int, chunks: Iterable[bytes]) -> bool:
        """Whether these are the bytes of the finished file from ``offset`` to its end."""
        left, found = self.offset - offset, hashlib.sha256()
        for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                return False
            found.update(chunk)
        store = self._uploads.store
        if left or offset == self.offset or not isinstance(store, Readable):
            return not left
        with contextlib.closing(store.open(self.upload.key, offset, self.offset)) as reader:
            kept = hashlib.sha256()
            for chunk in reader:
                kept.update(chunk)
        return found.digest() == kept.digest()

    def acknowledge(self, length: int | None) -> None:
        """Note how far it has come, before the client is told so. What has brought something gives
        the upload its full age again.

        :param length: of the whole file, if it was told by now.
        :raises Refused: another request has taken the upload over, or too many of them have
            brought nothing.
        """
        upload, offset = self.upload, self.offset
        length = upload.length if length is None else length
        brings_nothing = (offset, length) == (self._began, upload.length)
        empty = upload.empty + 1 if brings_nothing else 0
        if empty > space.MOST_EMPTY:
            raise Refused("upload_empty", number=space.MOST_EMPTY)
        whole = upload.whole or offset == length
        expires = upload.expires if brings_nothing else self._uploads.expiry()
        changed = self.change(
            received=offset, length=length, whole=whole, empty=empty, expires=expires
        )
        if not changed:
            raise Refused("upload_taken_over")

    def publish(self, length: int) -> tuple[intake.Plan, intake.Received]:
        """All bytes are there: the file is published, and held to what was promised of it.

        :raises Refused: digest, size, extension or content.
        """
        give_back_connection()
        upload, uploads = self.upload, self._uploads
        policy = uploads.settings.policy_for(*upload.target.place)
        with self._ending():
            uploads.check_length(upload, length)
            if policy.private != upload.private:  # The store has it as it was when it began.
                self.refuse()
                raise Refused("upload_gone")
            found = uploads.at_store.finish(upload.store_state, length)
            if upload.digest and found.sha256.hex() != upload.digest[0]:
                raise Refused("digest_differs", header=upload.digest[1])
            first = uploads.at_store.first_bytes(upload.store_state, FIRST_BYTES)
            head = first[: sniffing.HEAD] if uploads.settings.sniff else None
            said = types.said_by_client(upload.content_type)
            mimetype = types.decide(said, keys.extension(upload.filename), policy.mimetypes, head)
            intake.check(upload.filename, mimetype, policy, head)
        charset = charsets.declared(upload.content_type, mimetype)
        if charset is None and charsets.has_to_be_found(mimetype) and length <= len(first):
            look = charsets.Look()
            for _ in look.at_each([first]):
                pass
            charset = look.charset()
        told = charsets.content_type(mimetype, charset)
        plan = intake.Plan(
            upload.file_id, upload.key, upload.target, upload.filename, mimetype, charset, policy
        )
        return plan, intake.Received(found.key, found.sha256, found.size, told)

    def check_still_ours(self) -> None:
        """In the record's transaction, before it is written: nobody else takes the upload over
        until the transaction ends.

        :raises Refused: somebody has.
        """
        if self._locked() is None:
            raise Refused("upload_taken_over")

    def mark_finished(self, length: int, answer: int) -> None:
        """In the record's transaction, once it is written."""
        upload_rows_of(self._uploads.storage).write(
            replace(
                self.upload,
                status=Status.FINISHED,
                length=length,
                answer=answer,
                expires=int(time.time()) + REMEMBERED,
            )
        )

    def tidy(self) -> None:
        """The record is written: what the store has beside the file goes."""
        self._uploads.count("finished")
        with contextlib.suppress(StoreError):
            self._uploads.at_store.discard(self.upload.store_state)

    def refuse(self) -> None:
        """End the upload for good: nothing of it is left but that it was refused."""
        if self.change(status=Status.REFUSED):
            self._uploads.count("refused")
            try:
                self._uploads.clear(self.upload)
            except StoreError as error:
                logger.warning("What came of upload %s is left to gc: %s", self.upload.id, error)

    def terminate(self) -> None:
        """The client gives the upload up. Raises :class:`Refused` where it is finished."""
        if self.is_finished:
            raise Refused("upload_finished")
        if not self.change(status=Status.REFUSED):
            raise Refused("upload_taken_over")
        self._uploads.count("stopped")
        give_back_connection()
        self._uploads.remove(self.upload)

    def change(self, **values: object) -> bool:
        """Write the row; False, and nothing is written, where another request has the upload."""

        def write() -> Upload | None:
            rows = upload_rows_of(self._uploads.storage)
            with rows.atomically():
                found = self._locked()
                if found is not None:
                    found = replace(found, **values)  # type: ignore[arg-type]
                    rows.write(found)
                return found

        changed = apart(write)
        if changed is not None:
            self.upload = changed
        return changed is not None

    def _take_space(self, offset: int, length: int | None) -> int | None:
        """Count the bytes up to this offset, and a share more, before they are stored; as
        :func:`kinto_attachment.attachments.space.within` asks for it."""
        most = self._uploads.settings.max_unfinished_bytes
        if not most:
            return None

        def take() -> int:
            rows = upload_rows_of(self._uploads.storage)
            with rows.atomically():
                rows.lock_usage()
                found = self._locked()
                if found is None:
                    raise Refused("upload_taken_over")
                usage = rows.usage(found.user_id, found.target.collection_uri)
                free = most - (usage.total_bytes - found.size(time.time()))
                end = min(offset + space.SHARE, free)
                end = end if length is None else min(end, length)
                if end >= offset:
                    rows.write(replace(found, received=end))
                return end

        return apart(take)

    def _give_space_back(self) -> None:
        """A request broke off: what it has stored counts, and not what it has taken."""
        if self._uploads.settings.max_unfinished_bytes:
            with contextlib.suppress(StoreError, UploadGone):
                stored = self._uploads.at_store.progress(self.upload.store_state).offset
                self.change(received=stored)

    def _locked(self) -> Upload | None:
        rows, upload = upload_rows_of(self._uploads.storage), self.upload
        found = rows.get(upload.target, upload.id, lock=True)
        ours = found and found.epoch == upload.epoch and found.status is Status.OPEN
        return found if ours else None

    def _may_write(self) -> bool:
        def look() -> bool:
            rows, upload = upload_rows_of(self._uploads.storage), self.upload
            found = rows.get(upload.target, upload.id)
            return bool(found and found.epoch == upload.epoch and found.status is Status.OPEN)

        return bool(apart(look))

    def _refuse_more(self, chunks: Iterable[bytes]) -> None:
        """The file was whole, and is published; it lacks only its record. A length that was
        deferred is not kept before, so the client does not know that there is no more to send."""
        if any(chunks):
            raise Refused("upload_length", length=self.offset)

    def _compare_last(self, chunks: Iterable[bytes]) -> None:
        """The last byte comes once more, since a record could not be written."""
        last = b"".join(_up_to(chunks, self.shown, self.offset))
        store, length = self._uploads.store, self.offset
        if not last or not isinstance(store, Readable):
            return
        with self._ending():
            self._uploads.at_store.finish(self.upload.store_state, length)
            with contextlib.closing(store.open(self.upload.key, length - 1, length)) as reader:
                if b"".join(reader) != last:
                    raise Refused("upload_differs")

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """What the store says of an upload, in the words of refusals; and what ends it for good,
        does."""
        try:
            yield
        except OffsetDiffers as error:
            self._progress = Progress(error.offset, 0)
            raise Refused("upload_offset", offset=self.shown) from error
        except Superseded as error:
            raise Refused("upload_taken_over") from error
        except UploadGone as error:
            self.refuse()
            raise Refused("upload_gone") from error
        except Refused as refused:
            if refused.reason in FOR_GOOD:
                self.refuse()
            raise


def _up_to(chunks: Iterable[bytes], offset: int, length: int | None) -> Iterator[bytes]:
    """The chunks. Raises :class:`Refused` before the one that goes beyond the length."""
    for chunk in chunks:
        offset += len(chunk)
        if length is not None and offset > length:
            raise Refused("upload_length", length=length)
        yield chunk


def _limited(chunks: Iterable[bytes], offset: int, limit: int) -> Iterator[bytes]:
    for chunk in chunks:
        offset += len(chunk)
        if limit and offset > limit:
            raise Refused("too_large", limit=limit)
        yield chunk
