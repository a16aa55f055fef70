"""What the last complete run of ``kinto-attachment verify`` found, where all nodes see it."""

import time
from typing import TYPE_CHECKING, Any, Protocol

import transaction
from kinto.core.storage import StorageBase
from kinto.core.storage.exceptions import ObjectNotFoundError

if TYPE_CHECKING:
    from kinto.core.types import Registry

RESULT = {"resource_name": "attachments-verification", "parent_id": "", "object_id": "last"}
"""Where Kinto's storage has the result of the last complete run."""


class Result(Protocol):
    """What a run counts: files and bytes that were read, and files that are damaged."""

    @property
    def files(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def damaged(self) -> int: ...


def publish(registry: "Registry", result: Result, sampled: bool) -> None:
    """Keep the result of a complete run where all nodes see it, and count it."""
    row = {
        "finished": time.time_ns() // 10**6,
        "files": result.files,
        "bytes": result.bytes,
        "damaged": result.damaged,
        "sampled": sampled,
    }
    with transaction.manager:
        registry.storage.update(obj=row, **RESULT)
    metrics = getattr(registry, "metrics", None)
    if metrics is not None:
        metrics.count("attachment_verified_files", count=result.files)
        metrics.count("attachment_verify_damaged", count=result.damaged)


def last_result(storage: StorageBase) -> dict[str, Any] | None:
    """The last complete run: ``finished`` (milliseconds since 1970), ``files``, ``bytes`` and
    ``damaged``, ``sampled``; None where there was none. Callers see to the transaction."""
    try:
        row: dict[str, Any] = storage.get(**RESULT)
    except ObjectNotFoundError:
        return None
    return {name: row[name] for name in ("finished", "files", "bytes", "damaged", "sampled")}
