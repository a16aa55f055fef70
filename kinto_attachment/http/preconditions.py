"""``If-Match`` and ``If-None-Match`` of a write, judged before its body is read.

Those of a download are in conditions.py.
"""

from typing import Any

import colander
from kinto.core.errors import ERRORS, http_error, raise_invalid
from kinto.core.schema import HeaderQuotedInteger
from pyramid.httpexceptions import HTTPError, HTTPPreconditionFailed
from pyramid.request import Request


def check(request: Request, existing: dict[str, Any] | None) -> None:
    """Refuse what Kinto will refuse, before the body is read.

    These are the rules of Kinto's resources for writing, and their 412 and 400; the
    sub-request that writes the record applies them once more.
    """
    if_match = _precondition(request, "If-Match")
    if_none_match = _precondition(request, "If-None-Match")
    if existing is None:
        failed = if_match is not None
    else:
        stale = if_match not in (None, "*") and if_match != existing["last_modified"]
        failed = stale or if_none_match == "*"
    if not failed:
        return
    seen = {k: v for k, v in (existing or {}).items() if k != "__permissions__"}
    response = modified_meanwhile({"existing": seen} if seen else {})
    if seen:
        response.headers["ETag"] = f'"{seen["last_modified"]}"'
    raise response


def modified_meanwhile(details: dict[str, Any] | None = None) -> HTTPError:
    """Kinto's 412, for raising."""
    return http_error(
        HTTPPreconditionFailed(),
        errno=ERRORS.MODIFIED_MEANWHILE,
        message="Resource was modified meanwhile",
        details=details or {},
    )


def _precondition(request: Request, name: str) -> int | str | None:
    if name not in request.headers:
        return None
    try:
        parsed: int | str = HeaderQuotedInteger().deserialize(request.headers[name])
    except (colander.Invalid, ValueError):
        # Kinto's pattern lets pass what only begins with *, and its int() then fails.
        sentence = HeaderQuotedInteger.error_message
        raise_invalid(request, location="header", name=name, description=sentence)
    return parsed
