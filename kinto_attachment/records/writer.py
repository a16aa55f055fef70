"""Updates records from a command, as a user's update would: Kinto itself writes them.

So schemas, events, history and timestamps are Kinto's own. Nobody's permissions are asked for,
and none are changed.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from kinto.core.utils import json
from pyramid.authorization import Everyone
from pyramid.httpexceptions import HTTPBadRequest, HTTPException
from pyramid.request import Request
from pyramid.router import Router

from kinto_attachment.rows import rows_of
from kinto_attachment.rows.interface import LockedRecord
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry

AUTHN_TYPE, USER_ID = "plugin", "kinto-attachment"
"""Who it was, in events and history: ``plugin:kinto-attachment``."""


class RecordWriter:
    """Writes records of one PostgreSQL, in the running transaction.

    :param registry: the command's own application: it lets everyone write records from now on.
    """

    def __init__(self, registry: "Registry") -> None:
        self._settings = registry.settings
        self._settings["record_write_principals"] = Everyone
        self._path = f"/{registry.route_prefix}"
        self._router = Router(registry)
        self._rows = rows_of(registry.storage)

    def locked(self, target: Target) -> LockedRecord | None:
        """The record, which nobody else can write until the transaction ends; None for none.

        Kinto reads a record, compares ``If-Match`` and writes without a lock, so what is
        written in between would be lost. A server too locks the record before its links.
        """
        return self._rows.lock_record(target)

    def patch(
        self,
        target: Target,
        last_modified: int,
        body: Any,
        content_type: str = "application/json",
    ) -> None:
        """Send a PATCH of the record.

        :param last_modified: the version that it is for, in milliseconds.
        :raises pyramid.httpexceptions.HTTPException: Kinto's refusal.
        """
        request = Request.blank(
            self._path + quote(target.uri),
            method="PATCH",
            headers={"Content-Type": content_type, "If-Match": f'"{last_modified}"'},
            body=json.dumps(body).encode(),
        )
        request.authn_type, request.selected_userid = AUTHN_TYPE, USER_ID
        explicit = self._settings["explicit_permissions"]
        # Else Kinto would give the permission to write the record to whoever has written it.
        self._settings["explicit_permissions"] = False
        try:
            response = self._router.invoke_subrequest(request)
        finally:
            self._settings["explicit_permissions"] = explicit
        if response.status_code >= HTTPBadRequest.code:
            raise response
        for event in request.get_resource_events():
            request.registry.notify(event)


def reason(error: HTTPException) -> str:
    """What Kinto says of a refusal, in one line."""
    try:
        said = error.json_body["message"]
    except (ValueError, KeyError, TypeError):
        said = error.title or error.status
    return f"{error.status_code} {said}"
