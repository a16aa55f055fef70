"""``/__flush__`` has emptied Kinto: every file of ours goes, and nobody else's."""

import logging
import time
from itertools import islice

from kinto.events import ServerFlushed
from pyramid.config import Configurator

from kinto_attachment import keys
from kinto_attachment.attachments.file_changes import MAX_REMOVALS
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows import upload_rows_of
from kinto_attachment.storage import Listable, Resumable, StoreError

logger = logging.getLogger(__name__)


def includeme(config: Configurator) -> None:
    """Subscribe."""
    config.add_subscriber(on_flush, ServerFlushed)


def on_flush(event: ServerFlushed) -> None:
    """Kinto tells only after its rows are gone, so files are known by the shape of their key."""
    plugin = Plugin.of(event.request)
    store = plugin.store
    try:
        refusal = plugin.custody.refusal()
        if refusal:
            logger.error("Files are left after the flush: %s", refusal)
            return
        if not isinstance(store, Listable):
            raise StoreError("this backend can't list files")
        ours = (f.key for f in store.files() if keys.id_of_key(f.key))
        while page := list(islice(ours, MAX_REMOVALS)):
            store.delete_many(page)
        if isinstance(store, Resumable):
            # Their rows are gone, but for those of uploads that were begun just now.
            rows = upload_rows_of(event.request.registry.storage)
            ids = {upload.id for page in rows.everything() for upload in page}
            store.uploads.remove_abandoned(time.time(), ids.__contains__)
    except StoreError as error:
        logger.error("Files are left after the flush: %s", error)
