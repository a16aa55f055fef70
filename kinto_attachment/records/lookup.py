"""A record as it is stored, and Kinto's answers where there is none."""

from typing import Any

from kinto.core.errors import ERRORS, http_error
from kinto.core.storage.exceptions import ObjectNotFoundError
from pyramid.httpexceptions import HTTPError, HTTPNotFound
from pyramid.request import Request

from kinto_attachment.records.subrequests import answer, subrequest
from kinto_attachment.targets import Target


def find(request: Request, target: Target) -> dict[str, Any] | None:
    """The record as it is stored, or None."""
    if "\0" in target.uri:
        return None  # PostgreSQL can't be asked for that.
    try:
        record: dict[str, Any] = request.registry.storage.get(
            resource_name="record", parent_id=target.collection_uri, object_id=target.record_id
        )
    except ObjectNotFoundError:
        return None
    return record


def not_found(target: Target) -> HTTPNotFound:
    """The 404 that Kinto gives for a missing record."""
    details = {"id": target.record_id, "resource_name": "record"}
    return http_error(HTTPNotFound(), errno=ERRORS.INVALID_RESOURCE_ID, details=details)


def missing(request: Request, target: Target) -> HTTPError:
    """Kinto's own answer to who reads a record that is not there: perhaps it is the collection
    that is missing."""
    try:
        answer(request, subrequest(request, target, "GET"))
    except HTTPError as error:
        return error
    return not_found(target)  # It has come meanwhile.
