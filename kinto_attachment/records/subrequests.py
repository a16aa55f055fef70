"""Records are read, judged and written by Kinto itself, through sub-requests.

So permissions, schemas, preconditions, history, events and errors are Kinto's own. A
sub-request shares the transaction and the events of the request that it serves.
"""

from urllib.parse import quote

from kinto.core.utils import build_request, json
from pyramid.httpexceptions import (
    HTTPBadRequest,
)
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment import record_field
from kinto_attachment.targets import Target

NOT_FOR_THE_RECORD = (
    "Accept",
    "Content-Digest",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Type",
    "Expect",
    "If-Modified-Since",
    "If-Range",
    "If-Unmodified-Since",
    "Range",
    "Repr-Digest",
    "Response-Behavior",  # With the history plugin it makes Kinto's PATCH fail.
    "Transfer-Encoding",
)
"""Headers of a request for a file that mean something else, or nothing, to its record."""


def remove_attachment(request: Request, target: Target) -> Response:
    """Take the field out of the record: out, not null, which collection schemas refuse."""
    sub = subrequest(
        request,
        target,
        "PATCH",
        json.dumps(record_field.change_to(None)),
        {"Content-Type": record_field.MERGE_PATCH},
    )
    return answer(request, sub)


def with_headers(response: Response, answer: Response) -> Response:
    """``response`` with the version of the record that Kinto's ``answer`` has."""
    for name in ("ETag", "Last-Modified"):
        response.headers[name] = answer.headers[name]
    return response


def answer(request: Request, sub: Request) -> Response:
    response = request.invoke_subrequest(sub, use_tweens=False)
    if response.status_code >= HTTPBadRequest.code:
        # Kinto returns validation errors; returned errors would be committed.
        raise response
    return response


def subrequest(
    request: Request,
    target: Target,
    method: str,
    body: str = "",
    headers: dict[str, str] | None = None,
) -> Request:
    path = quote(target.uri)
    sub = build_request(request, {"method": method, "path": path, "body": body})
    for name in NOT_FOR_THE_RECORD:
        sub.headers.pop(name, None)
    sub.headers.update(headers or {})
    return sub
