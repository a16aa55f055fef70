"""Uploads in several requests that nobody will go on with: their rows, and what stores have."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import transaction

from kinto_attachment.attachments.unfinished import UnfinishedUploads
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows import Upload, upload_rows_of
from kinto_attachment.rows.paging import page_by_page
from kinto_attachment.rows.uploads import Status, Unfinished
from kinto_attachment.storage import Resumable

if TYPE_CHECKING:
    from kinto.core.types import Registry


def living(registry: "Registry") -> dict[str, Upload]:
    """The uploads that may go on, by the ids of their files: those may lie in the store already,
    and no record names them yet."""
    rows, found = upload_rows_of(registry.storage), {}
    for page in page_by_page(rows.everything(), lambda page: page):
        for upload in page:
            if upload.status is Status.OPEN and not upload.has_expired():
                found[upload.file_id] = upload
    return found


def expired(registry: "Registry") -> Iterator[Upload]:
    """The uploads that nobody may go on with, and whose end nobody has seen to. Those that are
    finished or refused are remembered for a while, and have nothing in the store."""
    rows = upload_rows_of(registry.storage)
    for page in page_by_page(rows.everything(), lambda page: page):
        yield from (u for u in page if u.status is Status.OPEN and u.has_expired())


def unfinished(registry: "Registry") -> Unfinished:
    """What may go on."""
    with transaction.manager:
        return upload_rows_of(registry.storage).unfinished()


def abandoned(registry: "Registry", before: float) -> list[str]:
    """The ids of uploads of which only the store knows.

    :param before: seconds since 1970; younger ones are left out.
    :raises kinto_attachment.storage.StoreError: as the store failed.
    """
    store = Plugin.of_registry(registry).store
    if not isinstance(store, Resumable):
        return []
    rows = upload_rows_of(registry.storage)
    ids = {u.id for page in page_by_page(rows.everything(), lambda page: page) for u in page}
    return store.uploads.abandoned(before, ids.__contains__)


def remove(registry: "Registry", before: float, tell: Callable[[Upload], object]) -> int:
    """Remove uploads that have expired, and what is left of others; returns how many.

    :param tell: called with each that has expired, and was removed.

    :param before: seconds since 1970: what the store has without a row is removed if it is older.
    :raises kinto_attachment.storage.StoreError: as the store failed.
    """
    plugin = Plugin.of_registry(registry)
    uploads = UnfinishedUploads(plugin.settings, plugin.store, registry.storage)
    rows, removed = upload_rows_of(registry.storage), 0
    for page in page_by_page(rows.everything(), lambda page: page):
        for upload in page:
            if upload.has_expired() and uploads.expire(upload) and upload.status is Status.OPEN:
                removed += 1
                tell(upload)
    transaction.abort()
    if isinstance(plugin.store, Resumable):
        ids = {upload.id for upload in living(registry).values()}
        removed += plugin.store.uploads.remove_abandoned(before, ids.__contains__)
    return removed
