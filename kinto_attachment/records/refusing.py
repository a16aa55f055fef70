"""A refusal as Kinto's error, and a failure of the store in the log."""

import logging

from kinto.core.errors import ERRORS, http_error
from pyramid.httpexceptions import (
    HTTPClientError,
    HTTPError,
    HTTPException,
    HTTPInternalServerError,
    HTTPTooManyRequests,
    status_map,
)
from pyramid.request import Request

from kinto_attachment.attachments.refusals import REFUSALS, Refused
from kinto_attachment.printable import printable

logger = logging.getLogger(__name__)


class HTTPChecksumMismatch(HTTPClientError):
    """The status of tus (1.0, "Checksum") that HTTP has not."""

    code = 460
    title = "Checksum Mismatch"


_STATUSES: dict[int, type[HTTPException]] = {**status_map, 460: HTTPChecksumMismatch}


def as_http_error(
    request: Request, refused: Refused, cause: BaseException | None = None
) -> HTTPError:
    """The response for a refusal, in Kinto's error format; it must be raised, not returned.

    Kinto commits the transaction of a 4xx that is returned. What is no fault of the client's is
    logged here, and so once.

    :param cause: what has failed, if it is not what the refusal was raised from.
    """
    row = REFUSALS[refused.reason]
    request.registry.metrics.count("attachment_refusals", unique=[("reason", refused.reason)])
    response = http_error(
        _STATUSES[row.status](),
        errno=ERRORS[row.errno],
        message=str(refused),
        details={"reason": refused.reason, **refused.facts},
    )
    if row.status >= HTTPInternalServerError.code or row.status == HTTPTooManyRequests.code:
        seconds = request.registry.settings["retry_after_seconds"]
        response.headers["Retry-After"] = str(seconds)
    if row.status >= HTTPInternalServerError.code:
        _log(request, row.status, refused, cause or refused.__cause__)
    return response


def _log(request: Request, status: int, refused: Refused, cause: BaseException | None) -> None:
    """The record is in the path; the store's own messages never have credentials."""
    key = getattr(cause, "key", None)
    file = f", file {key}" if key else ""
    why = f"{type(cause).__name__}: {cause}" if cause else str(refused)
    logger.error("%s", printable(f"{status} to {request.method} {request.path}{file}: {why}"))


def refuse_in_batch(request: Request) -> None:
    """Raise :class:`Refused` for a member of a batch, whose bodies are JSON both ways."""
    if hasattr(request, "parent"):
        raise Refused("in_batch")
