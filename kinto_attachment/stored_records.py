"""Records as they are stored, read in bulk by commands: no request, no permissions."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, TypeVar

import transaction
from kinto.core.storage import Filter, Sort
from kinto.core.utils import COMPARISON

from kinto_attachment.attachments import Target
from kinto_attachment.links import PAGE

Page = TypeVar("Page")
Seen = TypeVar("Seen")


def values_of(storage: Any, targets: Iterable[Target]) -> dict[str, Any]:
    """The ``attachment`` of each of these records that exists, by the record's URI; one look-up
    for each collection."""
    found = {}
    ordered = sorted(targets, key=lambda target: target.uri)
    for uri, some in groupby(ordered, key=lambda target: target.collection_uri):
        record_ids = sorted({target.record_id for target in some})
        records = storage.list_all(
            resource_name="record",
            parent_id=uri,
            filters=[Filter("id", record_ids, COMPARISON.IN)],
        )
        found.update({f"{uri}/records/{r['id']}": r.get("attachment") for r in records})
    return found


def value_of(storage: Any, target: Target) -> Any:
    """The ``attachment`` of one record; None where it has none, or does not exist."""
    return values_of(storage, [target]).get(target.uri)


def attached(storage: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """URI of the collection and a page of its records, of all that have an ``attachment``.

    A record that changes meanwhile may come twice.
    """
    has = [Filter("attachment", True, COMPARISON.HAS)]
    for buckets in _pages(storage, "bucket", ""):
        for bucket in buckets:
            bucket_uri = f"/buckets/{bucket['id']}"
            for collections in _pages(storage, "collection", bucket_uri):
                for collection in collections:
                    uri = f"{bucket_uri}/collections/{collection['id']}"
                    for records in _pages(storage, "record", uri, has):
                        found = [r for r in records if isinstance(r.get("attachment"), dict)]
                        yield uri, found


def locations(storage: Any, wanted: Iterable[str]) -> set[str]:
    """Those of these locations that any record names. It has no index: reads all records."""
    values = list(wanted)
    if not values:
        return set()
    records = storage.list_all(
        resource_name="record",
        parent_id="*",
        filters=[Filter("attachment.location", values, COMPARISON.IN)],
    )
    return {record["attachment"]["location"] for record in records}


def page_by_page(pages: Iterator[Page], look: Callable[[Page], Seen]) -> Iterator[Seen]:
    """What ``look`` makes of each page. Reading a page, and looking at it, are one transaction,
    which is over before anything else is done."""
    while True:
        with transaction.manager:
            page = next(pages, None)
            if page is None:
                return
            seen = look(page)
        yield seen


def _pages(
    storage: Any, resource_name: str, parent_id: str, filters: list[Filter] | None = None
) -> Iterator[list[dict[str, Any]]]:
    """In the order of their last change, which has an index and is unique below one parent."""
    rules = None
    while True:
        page = storage.list_all(
            resource_name=resource_name,
            parent_id=parent_id,
            filters=filters,
            sorting=[Sort("last_modified", 1)],
            pagination_rules=rules,
            limit=PAGE,
        )
        yield page
        if len(page) < PAGE:
            return
        rules = [[Filter("last_modified", page[-1]["last_modified"], COMPARISON.GT)]]
