"""The bytes of an attachment as a response: conditional, by range, and safe to open."""

import base64
from collections.abc import Callable, Iterator
from urllib.parse import quote

from pyramid.httpexceptions import HTTPFound, HTTPNotModified
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.disposition import disposition
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows.links import Link
from kinto_attachment.storage import (
    Presigning,
    Readable,
    Reader,
    Store,
    StoredFile,
    StoreError,
)

REDIRECT_SECONDS = 300
"""How long a URL of the store is valid that a download is redirected to."""

PRIVATE = "private, no-cache"


class Stream(Response):
    """A response whose body is never asked for as a whole.

    Kinto reads every response's body for a metric, which would take the file to memory.
    """

    body = property(lambda self: b"", lambda self, value: None)


class Chunks:
    """WebOb's ``app_iter`` over a stored file.

    The file is opened before the headers go out: from then on a replacement can't pull it away
    (local store), and a missing one is a clean 404.

    :param wanted: the range that WebOb will ask for, from its first byte up to, without, its
        last; None where it will ask for no byte at all.
    """

    def __init__(
        self,
        store: Readable,
        key: str,
        wanted: tuple[int, int | None] | None,
        sent: Callable[[int], None],
    ) -> None:
        self._wanted = wanted
        self._sent = sent
        self._count = 0
        self._reader: Reader | None = store.open(key, *wanted) if wanted else None

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._reader or ():
            self._count += len(chunk)
            yield chunk

    def app_iter_range(self, start: int, stop: int) -> "Chunks":
        """WebOb asks for the range that was foreseen; for HEAD it sends nothing of it."""
        if self._wanted not in (None, (start, stop)):
            raise AssertionError("WebOb and wanted_range differ")  # pragma: no cover
        return self

    def close(self) -> None:
        """The WSGI server calls this also when the client has gone away."""
        if self._reader:
            self._reader.close()
            self._reader = None
            self._sent(self._count)


def respond(request: Request, plugin: Plugin, link: Link, public: bool) -> Response:
    """Serve a file.

    :param public: whether caches that many people share may keep it.
    :raises FileNotFoundError: where the store has lost it.
    :raises kinto_attachment.storage.StoreError: as the store failed.
    """
    settings, store = plugin.settings, plugin.store
    cached = f"public, max-age={settings.public_max_age}" if public else PRIVATE
    if not isinstance(store, Readable):
        return _redirected(request, link, _url_of_the_backend(store, link), cached)
    url = _presigned_url(request, plugin, link)
    if url:
        return _redirected(request, link, url, cached)
    headers = {
        "Cache-Control": cached,
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(link.hash)).decode()}:",
        "Content-Disposition": disposition(link.filename, link.mimetype),
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    found = store.stat(link.key)
    if settings.accel_redirect and link.hash not in request.if_none_match:
        headers["X-Accel-Redirect"] = settings.accel_redirect + quote(link.key)
        return _described(Stream(request=request, headerlist=[*headers.items()]), link, found)
    return _streamed(request, store, link, found, headers)


def _streamed(
    request: Request, store: Readable, link: Link, found: StoredFile, headers: dict[str, str]
) -> Response:
    response = Stream(conditional_response=True, request=request)
    _described(response, link, found)
    # Several ranges may always be answered with the whole file (RFC 9110, section 14.2);
    # WebOb would send the first one alone.
    several = "," in request.headers.get("Range", "")
    response.accept_ranges = "none" if several else "bytes"
    response.conditional_response = not several
    count = request.registry.metrics.count
    response.app_iter = Chunks(
        store,
        link.key,
        wanted_range(request, response, found.size),
        lambda sent: count("attachment_bytes_out", count=sent),
    )
    response.content_length = found.size  # After app_iter: WebOb's setter resets it.
    response.headers.update(headers)
    return response


def _described(response: Response, link: Link, found: StoredFile) -> Response:
    response.content_type = link.mimetype
    if link.mimetype == "text/plain":
        response.charset = "utf-8"
    response.etag = link.hash
    response.last_modified = int(found.modified)
    return response


def wanted_range(request: Request, response: Response, size: int) -> tuple[int, int | None] | None:
    """The bytes that WebOb is going to send, by its own rules for conditional responses."""
    if request.method == "HEAD" or _unchanged(request, response):
        return None
    if not (response.conditional_response and request.range and response in request.if_range):
        return (0, None)
    asked = request.range.content_range(size)
    return (asked.start, asked.stop) if asked else None


def _unchanged(request: Request, response: Response) -> bool:
    if not response.conditional_response:
        return False
    if request.if_none_match:
        return response.etag in request.if_none_match
    since = request.if_modified_since
    return bool(since and response.last_modified <= since)


def _redirected(request: Request, link: Link, url: str, cached: str) -> Response:
    if link.hash in request.if_none_match:
        return HTTPNotModified(headers={"Cache-Control": cached, "ETag": f'"{link.hash}"'})
    return HTTPFound(location=url, headers={"Cache-Control": PRIVATE})


def _url_of_the_backend(store: Store, link: Link) -> str:
    """Where a file is read that the plugin can't read itself."""
    url = str(store.url(link.key))
    if not url.startswith(("https://", "http://")):
        raise StoreError(f"{link.key} can't be downloaded: the backend says {url!r}")
    return url


def _presigned_url(request: Request, plugin: Plugin, link: Link) -> str | None:
    """Where a download is redirected to; None where the plugin itself sends the file.

    A presigned URL is good for GET alone, so HEAD is always answered here.
    """
    redirects = plugin.settings.download == "redirect" and request.method == "GET"
    if redirects and isinstance(plugin.store, Presigning):
        return plugin.store.presigned_url(link.key, link.filename, link.mimetype, REDIRECT_SECONDS)
    return None
