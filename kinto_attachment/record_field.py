"""The record's field that says which file it has: ``attachment``."""

from collections.abc import Mapping
from typing import Any

NAME = "attachment"

MERGE_PATCH = "application/merge-patch+json"
"""RFC 7396: null takes a field out. Collection schemas refuse a null that stays."""


def value_of(record: Mapping[str, Any] | None) -> Any:
    """What the record says of its file; None where it says nothing, or is not there."""
    return (record or {}).get(NAME)


def change_to(value: Any) -> dict[str, Any]:
    """The body of a request to Kinto that sets the field; with None, and as a
    :data:`MERGE_PATCH`, one that takes it out."""
    return {"data": {NAME: value}}
