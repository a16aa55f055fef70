"""Attachments in the default bucket: ``/buckets/default/…/attachment``.

Kinto's plugin forwards such requests with the body held in memory. Here the URL is rewritten
before routing, like a proxy in front would do, whichever of the two plugins comes first; so
the default bucket runs through the same code as any other.
"""

import re

from kinto.core.storage.exceptions import ObjectNotFoundError
from kinto.core.utils import instance_uri
from kinto.plugins.default_bucket import resource_create_object
from kinto.views.buckets import Bucket
from kinto.views.collections import Collection
from pyramid.config import Configurator
from pyramid.events import NewRequest
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request

from kinto_attachment.attachments import Target

_ALIAS = re.compile(r"(/v\d+/buckets/)default(/collections/[^/]+/records/[^/]+/attachment.*)")
_MARK = "kinto_attachment.default_bucket"


def includeme(config: Configurator) -> None:
    """Follow the alias, where the default_bucket plugin is in use."""
    includes = config.get_settings().get("includes", "")
    if "kinto.plugins.default_bucket" in includes:
        config.add_subscriber(_follow_alias, NewRequest)


def ensure_parents(request: Request, target: Target) -> bool:
    """Create bucket and collection, as the default bucket does for every write.

    :returns: whether anything was written to Kinto's storage.
    """
    if not request.environ.get(_MARK):
        return False
    created = False
    bucket_uri = instance_uri(request, "bucket", id=target.bucket_id)
    for cls, uri, parent, name, object_id in (
        (Bucket, bucket_uri, "", "bucket", target.bucket_id),
        (Collection, target.collection_uri, bucket_uri, "collection", target.collection_id),
    ):
        if not _exists(request, name, parent, object_id):
            resource_create_object(request=request, resource_cls=cls, uri=uri)
            created = True
    return created


def _exists(request: Request, resource_name: str, parent_id: str, object_id: str) -> bool:
    where = {"resource_name": resource_name, "parent_id": parent_id, "object_id": object_id}
    try:
        request.registry.storage.get(**where)
    except ObjectNotFoundError:
        return False
    return True


def _follow_alias(event: NewRequest) -> None:
    request = event.request
    alias = _ALIAS.fullmatch(request.path_info)
    if alias is None or request.method == "OPTIONS":
        return
    if request.authenticated_userid is None:
        raise HTTPForbidden()  # Kinto makes it a 401, as for the rest of the default bucket.
    request.path_info = f"{alias[1]}{request.default_bucket_id}{alias[2]}"
    request.environ[_MARK] = True
