"""Plugins that do what they may: each is included by the name of its function."""

import time
from typing import Any

import transaction
from kinto.core.events import ACTIONS, ResourceChanged
from kinto.core.storage.exceptions import ObjectNotFoundError
from kinto.core.utils import build_request
from pyramid.config import Configurator
from pyramid.events import NewRequest

BUCKET, ALBUM, MAIN = "pictures", "album", "main"


def savepoint(config: Configurator) -> None:
    """Takes a savepoint, so that its own failure would undo its own work alone."""

    def on_request(event: NewRequest) -> None:
        if event.request.method in ("PUT", "PATCH", "POST", "DELETE"):
            where = {"resource_name": "bucket", "parent_id": "", "object_id": BUCKET}
            try:
                event.request.registry.storage.get(**where)  # The session joins.
            except ObjectNotFoundError:
                return
            transaction.savepoint()

    config.add_subscriber(on_request, NewRequest)


def mirror(config: Configurator) -> None:
    """Copies each record of the album into the main collection, and says so."""

    def on_change(event: ResourceChanged) -> None:
        if event.payload["collection_id"] == ALBUM:
            for change in event.impacted_objects:
                _mirror(event.request, change["new"])

    actions = (ACTIONS.CREATE, ACTIONS.UPDATE)
    config.add_subscriber(
        on_change, ResourceChanged, for_resources=("record",), for_actions=actions
    )


def _mirror(request: Any, record: dict[str, Any]) -> None:
    parent = f"/buckets/{BUCKET}/collections/{MAIN}"
    copied = {k: v for k, v in record.items() if k != "last_modified"}
    written = request.registry.storage.update(
        resource_name="record", parent_id=parent, object_id=record["id"], obj=copied
    )
    path = f"{parent}/records/{record['id']}"
    telling = build_request(request, {"method": "PUT", "path": path})
    telling.matchdict = {"bucket_id": BUCKET, "collection_id": MAIN, "id": record["id"]}
    telling.bound_data = request.bound_data
    telling.authn_type, telling.selected_userid = "plugin", "mirror"
    telling.current_resource_name = "record"
    telling.notify_resource_event(
        parent_id=parent, timestamp=1, data=written, action=ACTIONS.UPDATE, old=None
    )


def marker(config: Configurator) -> None:
    """Notes in the collection's metadata that a record of it has changed, as signers do."""

    def on_change(event: ResourceChanged) -> None:
        bucket_uri = f"/buckets/{event.payload['bucket_id']}"
        where = {"resource_name": "collection", "parent_id": bucket_uri}
        where["object_id"] = event.payload["collection_id"]
        storage = event.request.registry.storage
        found = storage.get(**where)
        found.pop("last_modified")
        storage.update(obj={**found, "edited": time.time_ns()}, **where)

    config.add_subscriber(on_change, ResourceChanged, for_resources=("record",))
