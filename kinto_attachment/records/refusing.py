"""A refusal as Kinto's error."""

from kinto.core.errors import ERRORS, http_error
from pyramid.httpexceptions import HTTPError, HTTPInternalServerError, status_map
from pyramid.request import Request

from kinto_attachment.attachments.refusals import REFUSALS, Refused


def as_http_error(request: Request, refused: Refused) -> HTTPError:
    """The response for a refusal, in Kinto's error format; it must be raised, not returned.

    Kinto commits the transaction of a 4xx that is returned.
    """
    row = REFUSALS[refused.reason]
    request.registry.metrics.count("attachment_refusals", unique=[("reason", refused.reason)])
    response = http_error(
        status_map[row.status](),
        errno=ERRORS[row.errno],
        message=str(refused),
        details={"reason": refused.reason, **refused.facts},
    )
    if row.status >= HTTPInternalServerError.code:
        seconds = request.registry.settings["retry_after_seconds"]
        response.headers["Retry-After"] = str(seconds)
    return response


def refuse_in_batch(request: Request) -> None:
    """Raise :class:`Refused` for a member of a batch, whose bodies are JSON both ways."""
    if hasattr(request, "parent"):
        raise Refused("in_batch")
