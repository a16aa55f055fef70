"""Where record, link and file are made to agree: at the end of every request that writes.

A tween below Kinto's error views and above its events: when it goes on, all members of a batch
are done and all listeners have been told. A refusal from here is answered and rolled back like
one of Kinto's own. (A hook before the commit would come too late for that.)
"""

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from kinto.core.events import ResourceChanged
from pyramid.config import Configurator
from pyramid.events import BeforeTraversal, ContextFound
from pyramid.httpexceptions import HTTPBadRequest
from pyramid.request import Request
from pyramid.response import Response
from pyramid.tweens import EXCVIEW

from kinto_attachment import record_field
from kinto_attachment.agreement import restoring
from kinto_attachment.agreement.errands import Errand, Handler
from kinto_attachment.agreement.reconciling import Reconciler
from kinto_attachment.agreement.touched import Former, Touched
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.plugin import Plugin
from kinto_attachment.records.refusing import as_http_error
from kinto_attachment.rows import rows_of
from kinto_attachment.rows.links import same
from kinto_attachment.targets import Target

if TYPE_CHECKING:
    from kinto.core.types import Registry

logger = logging.getLogger(__name__)

READING = ("GET", "HEAD", "OPTIONS")
PARENTS = ("bucket-plural", "bucket-object", "collection-plural", "collection-object")
"""Names of Kinto's routes to what records are in."""


def includeme(config: Configurator) -> None:
    """Listen, and settle at the end."""
    config.add_tween(
        "kinto_attachment.agreement.tween.tween_factory",
        under=EXCVIEW,
        over="kinto.core.events.notify_resource_events_before",
    )
    config.add_subscriber(
        on_change, ResourceChanged, for_resources=("record", "collection", "bucket")
    )
    config.add_subscriber(on_context_found, ContextFound)
    config.add_subscriber(before_traversal, BeforeTraversal)


def tween_factory(handler: Handler, registry: "Registry") -> Handler:
    """Pyramid's: see the module's first lines."""
    rolls_back = Plugin.of_registry(registry).rolls_back

    def tween(request: Request) -> Response:
        if request.method in READING:
            return handler(request)
        touched = Touched.begin(request)
        errand = Errand.of(request)
        with _turn(request, errand):
            try:
                writes = errand is not None and errand.change is not None
                if errand is not None and writes:
                    errand.before()
                response = _handled(handler, request, touched, rolls_back)
                settle(request, touched, errand)
                if errand is not None and writes and response.status_code < HTTPBadRequest.code:
                    errand.after()
            except BaseException as error:
                if errand is not None:
                    errand.note(error)
                raise
        return response

    return tween


def _handled(handler: Handler, request: Request, touched: Touched, rolls_back: bool) -> Response:
    """What is below. Where it fails and nothing is undone, what stands has to agree as well."""
    try:
        return handler(request)
    except BaseException:
        if not rolls_back:
            try:
                settle(request, touched, Errand.of(request))
            except Exception as error:
                logger.info("After a request that failed: %s", error)
        raise


def settle(request: Request, touched: Touched, errand: Errand | None = None) -> None:
    """Bring the links of what a request touched in line.

    :raises pyramid.httpexceptions.HTTPError: a record has a value that it may not have.
    """
    incoming = errand.incoming if errand is not None and errand.change is not None else None
    if not touched:
        return
    reconciler = Reconciler(request.registry, touched, request, incoming)
    try:
        with request.registry.metrics.timer("attachment_settle_seconds"):
            reconciler.settle()
    except Refused as refused:
        restoring.put_back(request.registry, touched, reconciler.refused)
        raise as_http_error(request, refused) from refused
    except Exception:
        if not Plugin.of(request).rolls_back:
            # No link was written, so the records go back to what the links say.
            restoring.put_back(request.registry, touched, touched.records)
        raise


def on_change(event: ResourceChanged) -> None:
    """Remember where to look; at once for a request that did not come through the tween."""
    touched = Touched.of(event.request)
    if touched is not None:
        touched.hear(event)
        return
    alone = Touched()
    alone.hear(event)
    settle(event.request, alone)


def before_traversal(event: BeforeTraversal) -> None:
    """Buckets or collections are about to be deleted: uploads into them end first, and those that
    begin now wait. Later it would be too late: the rows that they wait for would be locked."""
    request = event.request
    name = getattr(getattr(request, "matched_route", None), "name", "")
    if request.method != "DELETE" or name not in PARENTS or Touched.of(request) is None:
        return
    ids = request.matchdict or {}
    bucket_id = ids.get("bucket_id", ids.get("id"))
    uris = [f"/buckets/{bucket_id}"] if bucket_id else None
    rows_of(request.registry.storage).lock_parents(uris)


def on_context_found(event: ContextFound) -> None:
    """A record in the URL of a writing request: take a copy before Kinto's views change it."""
    request = event.request
    touched = Touched.of(request)
    if touched is None or request.method in READING:
        return
    target = _target(request)
    if target is None or target in touched.former:
        return
    record = getattr(request.context, "current_object", None)
    touched.meet(target, _former(request, target, record) if record else None)


def _target(request: Request) -> Target | None:
    """The record that a request to Kinto is about; None where it is about something else."""
    name = getattr(getattr(request, "matched_route", None), "name", "")
    ids = request.matchdict or {}
    record_id = ids.get("id") if name == "record-object" else None
    if name == "record-plural" and request.method == "POST":
        with contextlib.suppress(ValueError, TypeError, KeyError):
            record_id = request.json_body["data"]["id"]
    if not isinstance(record_id, str):
        return None
    return Target(ids["bucket_id"], ids["collection_id"], record_id)


def _former(request: Request, target: Target, record: dict[str, Any]) -> Former:
    copied, permissions = restoring.copy_of(request.registry, target, record)
    return Former(copied, _had_a_link(request, target, record_field.value_of(record)), permissions)


def _had_a_link(request: Request, target: Target, value: Any) -> bool:
    errand = Errand.of(request)
    if value is None:
        return False
    if errand is not None and errand.change is not None:
        return True  # It gets another value: nobody will ask.
    rows = rows_of(request.registry.storage)
    if any(same(link.value, value) for link in rows.of_records([target.uri])):
        return True
    # An import that never had one: nobody may change it until it is written, since then nothing
    # would tell it from a record that was read before its link went.
    now = rows.lock_record(target)
    return now is None or not same(now.attachment, value)


def _turn(request: Request, errand: Errand | None) -> contextlib.AbstractContextManager[object]:
    """One writer at a time, where the storage can't undo anything. Nobody waits there for a
    body: a file is received before, and JSON is read now, as Kinto's views will."""
    plugin = Plugin.of(request)
    if plugin.rolls_back or (errand and errand.change is None and request.method != "DELETE"):
        return contextlib.nullcontext()
    with contextlib.suppress(OSError):
        request.body  # noqa: B018 - WebOb keeps it
    return rows_of(request.registry.storage).turn()
