"""A neighbour plugin that publishes records as Mozilla's signer does, with its fault.

A ``status`` in the metadata of the workspace copies its records to the main collection
(``to-sign``), or copies them back (``to-rollback``). Both write through Kinto's storage, and tell
of it afterwards as ``plugin:reviewer``. The copy back announces the *main* collection's ids,
though it wrote into the workspace: so does the signer that is in production.
"""

from typing import Any

from kinto.core.events import ACTIONS, ResourceChanged
from kinto.core.utils import build_request
from pyramid.config import Configurator
from pyramid.request import Request

BUCKET, WORKSPACE, MAIN = "pictures", "m_in", "main"


def includeme(config: Configurator) -> None:
    config.add_subscriber(
        on_collection_changed,
        ResourceChanged,
        for_resources=("collection",),
        for_actions=(ACTIONS.CREATE, ACTIONS.UPDATE),
    )


def on_collection_changed(event: ResourceChanged) -> None:
    for change in event.impacted_objects:
        status = change["new"].get("status")
        if event.payload["bucket_id"] != BUCKET or event.payload.get("collection_id") != WORKSPACE:
            continue
        if status == "to-sign":
            _copy(event.request, WORKSPACE, MAIN)
        elif status == "to-rollback":
            _copy(event.request, MAIN, WORKSPACE)


def _copy(request: Request, source: str, destination: str) -> None:
    """Make the one collection like the other."""
    storage, parent = request.registry.storage, _uri(destination)
    wanted, present = _records(request, source), _records(request, destination)
    for record_id in sorted({*wanted, *present}):
        new, old = wanted.get(record_id), present.get(record_id)
        where = {"resource_name": "record", "parent_id": parent, "object_id": record_id}
        if new is None:
            _tell(request, parent, ACTIONS.DELETE, storage.delete(**where), old)
        elif old is None or _plain(new) != _plain(old):
            written = storage.update(obj=_plain(new), **where)
            _tell(request, parent, ACTIONS.UPDATE if old else ACTIONS.CREATE, written, old)


def _tell(request: Request, parent: str, action: ACTIONS, new: Any, old: Any) -> None:
    path = f"{_uri(MAIN)}/records/{new['id']}"
    method = "DELETE" if action is ACTIONS.DELETE else "PUT"
    telling = build_request(request, {"method": method, "path": path})
    telling.matchdict = {"bucket_id": BUCKET, "collection_id": MAIN, "id": new["id"]}
    telling.bound_data = request.bound_data
    telling.authn_type, telling.selected_userid = "plugin", "reviewer"
    telling.current_resource_name = "record"
    telling.notify_resource_event(
        parent_id=parent, timestamp=new["last_modified"], data=new, action=action, old=old
    )


def _records(request: Request, collection: str) -> dict[str, Any]:
    found = request.registry.storage.list_all(resource_name="record", parent_id=_uri(collection))
    return {record["id"]: record for record in found}


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in record.items() if k not in ("id", "last_modified", "schema")}


def _uri(collection: str) -> str:
    return f"/buckets/{BUCKET}/collections/{collection}"
