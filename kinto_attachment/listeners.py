"""What happens to files when records, collections and buckets change, by whatever way.

One rule for all: the links of a record are what the record names. A listener runs after Kinto
wrote the record and before the commit, so on PostgreSQL the record's row lock is held and the
links that are read are the ones that count.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from kinto.core.events import ACTIONS, ResourceChanged
from kinto.core.metrics import listener_with_timer
from kinto.events import ServerFlushed
from pyramid.config import Configurator

from kinto_attachment import keys
from kinto_attachment.attachments import Target
from kinto_attachment.bookkeeping import Bookkeeping
from kinto_attachment.errors import Refused, as_http_error
from kinto_attachment.files import MAX_REMOVALS
from kinto_attachment.storage import StorageError

logger = logging.getLogger(__name__)

Listener = Callable[[Any], None]


def includeme(config: Configurator) -> None:
    """Subscribe. Kinto scans its own views after the plugins, so for deleted collections and
    buckets we still see the links that Kinto is about to remove."""
    for name, listener, resource, actions in (
        ("record_changed", on_record_changed, "record", (ACTIONS.CREATE, ACTIONS.UPDATE)),
        ("record_deleted", on_record_deleted, "record", (ACTIONS.DELETE,)),
        ("collection_deleted", on_collection_deleted, "collection", (ACTIONS.DELETE,)),
        ("bucket_deleted", on_bucket_deleted, "bucket", (ACTIONS.DELETE,)),
    ):
        timed = listener_with_timer(config, f"attachment.{name}", listener)
        config.add_subscriber(
            timed, ResourceChanged, for_resources=(resource,), for_actions=actions
        )
    config.add_subscriber(on_flush, ServerFlushed)


def on_record_changed(event: ResourceChanged) -> None:
    """Judge the record's ``attachment`` by its value, and bring the links in line."""
    books = Bookkeeping(event.request)
    refused = None
    for target, change in _changes(event):
        old, new = change.get("old"), change["new"]
        if old is None and _value(new) is None:
            continue  # A new record without a file: nothing can be linked to it.
        try:
            if old is None:
                books.record_created(target, _value(new), event.payload)
            else:
                books.record_updated(target, _value(old), _value(new), event.payload)
        except Refused as error:
            refused = error
            books.put_back(target, old)
    if refused:
        raise as_http_error(event.request, refused)


def on_record_deleted(event: ResourceChanged) -> None:
    """The files of deleted records go, one record or thousands."""
    gone = [(target, _value(change["old"])) for target, change in _changes(event)]
    Bookkeeping(event.request).records_deleted(gone)


def on_collection_deleted(event: ResourceChanged) -> None:
    """The files of all records in deleted collections go."""
    books = Bookkeeping(event.request)
    for change in event.impacted_objects:
        bucket_id = event.payload["bucket_id"]
        books.deleted_below(f"/buckets/{bucket_id}/collections/{change['old']['id']}")


def on_bucket_deleted(event: ResourceChanged) -> None:
    """The files of all records in deleted buckets go."""
    books = Bookkeeping(event.request)
    for change in event.impacted_objects:
        books.deleted_below(f"/buckets/{change['old']['id']}")


def on_flush(event: ServerFlushed) -> None:
    """``/__flush__`` has emptied Kinto: every file of ours goes, and nobody else's.

    Kinto tells only after its rows are gone, so files are known by the shape of their key.
    """
    storage = event.request.registry.attachments.storage
    try:
        ours = (f.key for f in storage.files() if keys.id_of_key(f.key))
        while page := list(islice(ours, MAX_REMOVALS)):
            storage.delete_many(page)
    except StorageError as error:
        logger.error("Files are left after the flush: %s", error)


def _changes(event: ResourceChanged) -> Iterator[tuple[Target, dict[str, Any]]]:
    """Each changed record. Kinto merges the events of a batch, so its ``uri`` says nothing."""
    bucket_id, collection_id = event.payload["bucket_id"], event.payload["collection_id"]
    for change in event.impacted_objects:
        record_id = (change.get("old") or change["new"])["id"]
        yield Target(bucket_id, collection_id, record_id), change


def _value(record: dict[str, Any] | None) -> Any:
    return (record or {}).get("attachment")
