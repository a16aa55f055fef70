"""What a record is to say beside its attachment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kinto_attachment.client.answers import Record

SERVERS = frozenset({"id", "last_modified", "schema", "attachment"})
"""Fields that a server writes."""


@dataclass(frozen=True)
class Wanted:
    """Fields of a record.

    :param exactly: whether it is to have no others.
    """

    fields: Mapping[str, Any]
    exactly: bool = False

    def is_met_by(self, record: "Record | None") -> bool:
        """Whether there is nothing to write."""
        found = own_fields(record or {})
        if self.exactly:
            return record is not None and _same(found, self.fields)
        return all(name in found and _same(found[name], v) for name, v in self.fields.items())


NOTHING = Wanted({})


def own_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Those that its users have written."""
    return {name: value for name, value in record.items() if name not in SERVERS}


def _same(one: Any, other: Any) -> bool:
    """As JSON: Python takes 1 for True."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
