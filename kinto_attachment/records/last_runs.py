"""What the last complete run of a command found, where all nodes see it.

A command's process is over before anybody could ask it: so servers tell it, in their metrics and
in the heartbeat.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import transaction
from kinto.core.storage import StorageBase
from kinto.core.storage.exceptions import ObjectNotFoundError

if TYPE_CHECKING:
    from kinto.core.types import Registry

VERIFY, GC, STORED = "attachments-verification", "attachments-gc", "attachments-stored"
"""Resource names of the rows in Kinto's storage; the last one is what servers have counted."""


def publish(registry: "Registry", name: str, counts: Mapping[str, int]) -> None:
    """Keep what a complete run has counted."""
    row = {"finished": time.time_ns() // 10**6, **counts}
    with transaction.manager:
        registry.storage.update(obj=row, **_place(name))


def last_run(storage: StorageBase, name: str) -> dict[str, Any] | None:
    """What was kept, with ``finished`` (milliseconds since 1970); None where nothing was. Callers
    see to the transaction."""
    try:
        found: dict[str, Any] = storage.get(**_place(name))
    except ObjectNotFoundError:
        return None
    return {k: v for k, v in found.items() if k not in ("id", "last_modified")}


def _place(name: str) -> dict[str, str]:
    return {"resource_name": name, "parent_id": "", "object_id": "last"}
