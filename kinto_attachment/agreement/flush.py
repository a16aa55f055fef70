"""``/__flush__`` has emptied Kinto: every file of ours goes, and nobody else's."""

import logging
from itertools import islice

from kinto.events import ServerFlushed
from pyramid.config import Configurator

from kinto_attachment import keys
from kinto_attachment.attachments.file_changes import MAX_REMOVALS
from kinto_attachment.storage import StorageError

logger = logging.getLogger(__name__)


def includeme(config: Configurator) -> None:
    """Subscribe."""
    config.add_subscriber(on_flush, ServerFlushed)


def on_flush(event: ServerFlushed) -> None:
    """Kinto tells only after its rows are gone, so files are known by the shape of their key."""
    server = event.request.registry.attachments
    storage = server.storage
    try:
        refusal = server.custody.refusal()
        if refusal:
            logger.error("Files are left after the flush: %s", refusal)
            return
        ours = (f.key for f in storage.files() if keys.id_of_key(f.key))
        while page := list(islice(ours, MAX_REMOVALS)):
            storage.delete_many(page)
    except StorageError as error:
        logger.error("Files are left after the flush: %s", error)
