"""Puts records back where Kinto's storage can't: a refused request leaves them as they were."""

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kinto.core.storage.exceptions import ObjectNotFoundError

from kinto_attachment import record_field
from kinto_attachment.agreement.touched import Former, Touched
from kinto_attachment.plugin import Plugin
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry


def copy_of(
    registry: "Registry", target: Target, record: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a ``Former`` (touched.py) keeps: all that may have to be put back.

    Only ``attachment`` and ``last_modified`` where the storage rolls back.
    """
    if Plugin.of_registry(registry).rolls_back:
        kept = {name: record.get(name) for name in (record_field.NAME, "last_modified")}
        return copy.deepcopy(kept), None
    former = {k: v for k, v in copy.deepcopy(record).items() if not k.startswith("__")}
    permissions = registry.permission.get_object_permissions(target.uri)
    return former, {name: set(given) for name, given in permissions.items()}


def put_back(registry: "Registry", touched: Touched, refused: Iterable[Target]) -> None:
    """Undo the changes of these records; those that did not exist go."""
    for target in refused:
        former = touched.former.get(target)
        if former is not None:
            _restore(registry, target, former)
        elif target in touched.former or target in touched.created:
            _remove(registry, target)
        else:
            _take_out(registry, target)


def _remove(registry: "Registry", target: Target) -> None:
    where = {"resource_name": "record", "parent_id": target.collection_uri}
    try:
        registry.storage.delete(object_id=target.record_id, with_deleted=False, **where)
    except ObjectNotFoundError:
        return
    registry.permission.delete_object_permissions(target.uri)


def _take_out(registry: "Registry", target: Target) -> None:
    """What a plugin has written into a record that nobody has a copy of."""
    where = {"resource_name": "record", "parent_id": target.collection_uri}
    try:
        stored = registry.storage.get(object_id=target.record_id, **where)
    except ObjectNotFoundError:
        return
    left = {k: v for k, v in stored.items() if k not in (record_field.NAME, "last_modified")}
    registry.storage.update(object_id=target.record_id, obj=left, **where)


def _restore(registry: "Registry", target: Target, former: Former) -> None:
    where = {"resource_name": "record", "parent_id": target.collection_uri}
    try:
        stored = registry.storage.get(object_id=target.record_id, **where)
    except ObjectNotFoundError:
        stored = {"last_modified": None}
    if stored["last_modified"] == former.record["last_modified"]:
        # Kinto's merge-patch has changed it in place, and has not written it: so do we, since
        # a write would give it another last_modified.
        value = record_field.value_of(stored)
        if isinstance(value, dict) and isinstance(former.value, dict):
            value.clear()
            value.update(copy.deepcopy(former.value))
        return
    registry.storage.update(object_id=target.record_id, obj=former.record, **where)
    if former.permissions is not None:
        registry.permission.delete_object_permissions(target.uri)
        registry.permission.replace_object_permissions(target.uri, former.permissions)
