"""Attachments in the default bucket: ``/buckets/default/…/attachment``.

Kinto's plugin forwards such requests with the body held in memory. Here the URL is rewritten
before routing, like a proxy in front would do, whichever of the two plugins comes first; so
the default bucket runs through the same code as any other.
"""

import re

from pyramid.config import Configurator
from pyramid.events import NewRequest
from pyramid.httpexceptions import HTTPForbidden
from pyramid.request import Request

from kinto_attachment.http import password_prompts

_ALIAS = re.compile(
    r"(/v\d+/buckets/)default(/collections/[^/]+/records/[^/]+/attachment.*)", re.DOTALL
)
_MARK = "kinto_attachment.http.default_bucket"


def includeme(config: Configurator) -> None:
    """Follow the alias, where the default_bucket plugin is in use."""
    includes = config.get_settings().get("includes", "")
    if "kinto.plugins.default_bucket" in includes:
        config.add_subscriber(_follow_alias, NewRequest)


def followed(request: Request) -> bool:
    """Whether the URL names the default bucket: Kinto makes what is missing of it at the write,
    and lets its owner write everywhere in it."""
    return bool(request.environ.get(_MARK))


def _follow_alias(event: NewRequest) -> None:
    request = event.request
    alias = _ALIAS.fullmatch(request.path_info)
    if alias is None or request.method == "OPTIONS":
        return
    if request.authenticated_userid is None:
        password_prompts.suppress(request)
        raise HTTPForbidden()  # Kinto makes it a 401, as for the rest of the default bucket.
    request.path_info = f"{alias[1]}{request.default_bucket_id}{alias[2]}"
    request.environ[_MARK] = True
