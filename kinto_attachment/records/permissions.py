"""Who may do what with a record, by Kinto's own rules."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol

from kinto.authorization import RouteFactory
from pyramid.authorization import Authenticated, Everyone
from pyramid.httpexceptions import HTTPError, HTTPNotFound
from pyramid.interfaces import IAuthorizationPolicy, IRoutesMapper
from pyramid.request import Request

from kinto_attachment.records.subrequests import subrequest
from kinto_attachment.targets import Target


class Context(Protocol):
    """Kinto's route context of the record: what it would require for a method."""

    current_object: dict[str, Any] | None
    target: Target
    get_prefixed_principals: Callable[[], list[str]]


class OwnersContext:
    """The context of a record in a default bucket that does not exist yet: Kinto makes it at the
    write, for the caller alone. What Kinto's policy looks at."""

    resource_name = "record"
    required_permission = "create"
    on_plural_endpoint = False
    current_object = None

    def __init__(self, request: Request, target: Target) -> None:
        self.target = target
        self.permission_object_id = f"{target.collection_uri}/records"
        self.get_prefixed_principals = partial(getattr, request, "prefixed_principals")

    def check_permission(self, principals: list[str], bound_permissions: object) -> bool:
        """Whoever has come this far is known, and asks for his own bucket."""
        return Authenticated in principals


def context(request: Request, target: Target, method: str) -> Context:
    """What Kinto would require for ``method`` on the record, without sending it.

    :param method: ``PUT`` for uploads (write where the record exists, else record:create on
        the collection), ``PATCH`` for removals, ``GET`` for downloads.
    :raises pyramid.httpexceptions.HTTPNotFound: bucket or collection missing, as Kinto says it.
    """
    sub = subrequest(request, target, method)
    found = request.registry.queryUtility(IRoutesMapper)(sub)
    if found["route"] is None:
        raise HTTPNotFound()
    sub.matchdict, sub.matched_route = found["match"], found["route"]
    found_context = RouteFactory(sub)
    # The principals of the request itself: nobody is authenticated twice.
    found_context.get_prefixed_principals = partial(getattr, request, "prefixed_principals")
    found_context.target = target
    result: Context = found_context
    return result


def may_read(request: Request, target: Target) -> bool:
    """Whether the user of ``request`` may read the record, by Kinto's own rules."""
    policy = request.registry.getUtility(IAuthorizationPolicy)
    try:
        readable = context(request, target, "GET")
    except HTTPError:
        return False
    return bool(policy.permits(readable, request.prefixed_principals, "dynamic"))


def readable(request: Request, uris: Collection[str]) -> set[str]:
    """Those of these collections or records, by URI, that the user may read by a permission
    that somebody gave him; whatever their number, one question to Kinto's permissions.

    Rights that Kinto's settings give to everybody are not looked at: :func:`may_read` does.
    """
    principals = set(request.prefixed_principals)
    above = {uri: _ancestors(uri) for uri in uris}
    asked = sorted(set().union(*above.values()))
    if not asked:
        return set()
    found = request.registry.permission.get_objects_permissions(asked)
    granting = {
        uri
        for uri, given in zip(asked, found, strict=True)
        if principals & ({*given.get("read", ())} | {*given.get("write", ())})
    }
    return {uri for uri, ancestors in above.items() if granting & ancestors}


def _ancestors(uri: str) -> set[str]:
    """A record or collection, and all that it is in: who may read or write one of these, by
    Kinto's documentation, may read it."""
    parts = uri.split("/")
    return {"/".join(parts[:length]) for length in range(3, len(parts) + 1, 2)}


def is_public(request: Request, target: Target) -> bool:
    """Whether everyone may read the record, by Kinto's own rules."""
    readable = context(request, target, "GET")
    readable.get_prefixed_principals = lambda: [Everyone]
    policy = request.registry.getUtility(IAuthorizationPolicy)
    return bool(policy.permits(readable, [Everyone], "dynamic"))
