"""Forms that pages of other sites send, with a password that the browser has kept.

Kinto's own requests are JSON, which a page of another site can't send without a preflight. A
multipart form needs none (Fetch, "CORS-safelisted method"), and a browser adds the password that
its user once typed for this server. So a form of another origin is refused, unless that origin is
named in ``kinto.cors_origins``; the default, ``*``, names nobody. What a script sends by CORS
goes on working: it gives the password itself.
"""

from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from pyramid.request import Request
from pyramid.settings import aslist

from kinto_attachment.attachments.refusals import Refused


def check(request: Request) -> bool:
    """Whether a form may set permissions.

    Browsers say who sends a request in ``Sec-Fetch-Site`` and ``Sec-Fetch-Mode``, where the
    connection is safe (Fetch Metadata), and in ``Origin`` with each ``POST``. What has none of
    them comes from a program.

    :raises Refused: for a form of another site, which is not named, from a user who is known.
        Nobody else lends it any rights.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "").lower()
    if site in ("same-origin", "none") or not (site or origin):
        return True
    if not site and _host(origin or "") == _host(f"//{request.host}"):
        return True
    if request.authenticated_userid is None:
        return True
    names = aslist(request.registry.settings["cors_origins"])
    if any(fnmatchcase(origin or "", name) for name in names if name != "*"):
        return not is_simple(request)
    if "*" in names and not is_simple(request):
        return True
    raise Refused("cross_site_form", origin=sender(request))


def sender(request: Request) -> str:
    """The site that a form comes from, for a sentence."""
    return str(request.headers.get("Origin") or "another site")


def is_navigation(request: Request) -> bool:
    """Whether a browser sends a form without script, and wants a page."""
    mode = request.headers.get("Sec-Fetch-Mode")
    if mode is not None:
        return bool(mode.lower() == "navigate")
    accepted = request.headers.get("Accept", "").lower()
    if "text/html" not in accepted or "application/xhtml+xml" not in accepted:
        return False
    offers = request.accept.acceptable_offers(["application/json", "text/html"])
    return bool(offers) and offers[0][0] == "text/html"


def is_simple(request: Request) -> bool:
    """Whether no script of the page could have given a password of its own: a navigation, or a
    request in the mode ``no-cors``."""
    mode = request.headers.get("Sec-Fetch-Mode")
    return is_navigation(request) if mode is None else mode.lower() != "cors"


def _host(url: str) -> str:
    """Host and port, since behind a proxy the scheme may be another one than the browser's."""
    try:
        found = urlsplit(url)
        port = found.port
    except ValueError:
        return ""
    host = found.hostname or ""
    return host if port in (None, 80, 443) else f"{host}:{port}"
