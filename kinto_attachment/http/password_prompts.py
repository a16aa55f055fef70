"""A picture in a page asks nobody for a password.

A browser that meets ``WWW-Authenticate: Basic`` on what a page has in it, an ``<img>`` for
example, opens its dialogue for a password in the middle of that page; without a window it waits
for ever. The page has no use for an answer: its own requests say who the user is.
"""

from pyramid.request import Request
from pyramid.response import Response

EMBEDDED = {"audio", "font", "image", "manifest", "script", "style", "track", "video", "worker"}
"""What ``Sec-Fetch-Dest`` says where no person has gone to the URL (Fetch, section 2.2.7)."""


def suppress(request: Request) -> None:
    """See that a refusal of ``request`` opens no dialogue, where it is for a part of a page."""
    if request.headers.get("Sec-Fetch-Dest") in EMBEDDED:
        request.add_response_callback(_without_prompt)


def _without_prompt(request: Request, response: Response) -> None:
    response.headers.pop("WWW-Authenticate", None)
