"""The bytes of an attachment as a response: conditional, by range, and safe to open."""

import base64
from collections.abc import Callable, Iterator
from email.utils import formatdate
from urllib.parse import quote

from kinto.core.errors import ERRORS, http_error
from pyramid.httpexceptions import HTTPError, HTTPFound, HTTPRequestRangeNotSatisfiable
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.disposition import disposition, plays
from kinto_attachment.http import preconditions
from kinto_attachment.http.sent import handed_over, ranges
from kinto_attachment.http.sent.conditions import Conditions, Verdict
from kinto_attachment.plugin import Plugin
from kinto_attachment.rows.links import Link
from kinto_attachment.storage import Presigning, Readable, Reader, Store, StoredFile, StoreError

REDIRECT_SECONDS = 300
"""How long a URL of the store is valid that a download is redirected to."""

PRIVATE = "private, no-cache"

SANDBOXED = "default-src 'none'; sandbox"
PLAYING = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"
"""For sound and films, which a browser wraps in a page of its own that needs its medium and its
style. Script runs under neither."""

Headers = list[tuple[str, str]]
Part = tuple[int, int] | None


class Stream(Response):
    """A response whose body is never asked for as a whole.

    Kinto reads every response's body for a metric, which would take the file to memory.
    """

    body = property(lambda self: b"", lambda self, value: None)


class Chunks:
    """WebOb's ``app_iter`` over a stored file, or a part of it.

    The file is opened before the headers go out: from then on a replacement can't pull it away
    (local store), and a missing one is a clean 404.
    """

    def __init__(self, reader: Reader, sent: Callable[[int], None]) -> None:
        self._sent = sent
        self._count = 0
        self._reader: Reader | None = reader

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._reader or ():
            self._count += len(chunk)
            yield chunk

    def close(self) -> None:
        """The WSGI server calls this also when the client has gone away."""
        if self._reader:
            self._reader.close()
            self._reader = None
            self._sent(self._count)


def respond(request: Request, plugin: Plugin, link: Link, version: int, public: bool) -> Response:
    """Serve a file.

    :param version: ``last_modified`` of the record that names it.
    :param public: whether caches that many people share may keep it.
    :raises FileNotFoundError: where the store has lost it.
    :raises kinto_attachment.storage.StoreError: as the store failed.
    :raises pyramid.httpexceptions.HTTPError: 412 and 416.
    """
    store = plugin.store
    theirs = _is_elsewhere(request, plugin) and handed_over.to_store(request, link, str(version))
    found = store.stat(link.key) if isinstance(store, Readable) and not theirs else None
    modified = int(found.modified) if found else None
    asked = Conditions(request.headers, link.hash, str(version), modified)
    verdict = asked.verdict()
    about = _of_every_answer(plugin, link, public)
    if verdict is Verdict.UNCHANGED:
        return Stream(status=304, headerlist=about, app_iter=[])
    if not isinstance(store, Readable):
        return _redirected(_url_of_the_backend(store, link))
    url = _presigned_url(store, link) if theirs else None
    if url:
        return _redirected(url)
    if verdict is Verdict.FAILED:
        raise preconditions.modified_meanwhile()
    found = found or store.stat(link.key)
    part = _part(request, asked, found.size)
    return _sent(request, plugin, link, found, part, about)


def _sent(
    request: Request, plugin: Plugin, link: Link, found: StoredFile, part: Part, headers: Headers
) -> Response:
    """The response with the bytes, by us or by nginx."""
    start, stop = part or (0, found.size)
    headers += [
        ("Content-Type", link.mimetype),
        ("Last-Modified", formatdate(int(found.modified), usegmt=True)),
        ("Repr-Digest", f"sha-256=:{base64.b64encode(bytes.fromhex(link.hash)).decode()}:"),
        ("Content-Disposition", disposition(link.filename, link.mimetype)),
        ("Content-Security-Policy", PLAYING if plays(link.mimetype) else SANDBOXED),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if plugin.settings.accel_redirect and handed_over.to_nginx(request, found.size, part):
        where = plugin.settings.accel_redirect + quote(link.key)
        # nginx says this by itself with a whole file, and would say it twice.
        ranges_taken = [("Accept-Ranges", "bytes")] if part else []
        headers += [*ranges_taken, ("X-Accel-Redirect", where)]
        return Stream(headerlist=headers, app_iter=[])
    headers += [("Accept-Ranges", "bytes"), ("Content-Length", str(stop - start))]
    if part:
        headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{found.size}"))
    if request.method == "HEAD":
        return Stream(headerlist=headers, app_iter=[])
    count = request.registry.metrics.count
    reader = plugin.store.open(link.key, *(part or ()))  # type: ignore[attr-defined]
    chunks = Chunks(reader, lambda sent: count("attachment_sent_bytes", count=sent))
    return Stream(status=206 if part else 200, headerlist=headers, app_iter=chunks)


def _of_every_answer(plugin: Plugin, link: Link, public: bool) -> Headers:
    """What a 304 has too (RFC 9110, section 15.4.5).

    ``Vary``: without an ``Origin`` there is no ``Access-Control-Allow-Origin``, and a cache
    would give that answer to a page of another origin as well.
    """
    kept = f"public, max-age={plugin.settings.public_max_age}" if public else PRIVATE
    return [("Cache-Control", kept), ("Vary", "Origin"), ("ETag", f'"{link.hash}"')]


def _part(request: Request, asked: Conditions, size: int) -> Part:
    """The range that is wanted; None for the whole. HEAD has none (section 14.2)."""
    if request.method != "GET" or not asked.range_counts():
        return None
    try:
        return ranges.wanted(request.headers.get("Range"), size)
    except ranges.Unsatisfiable:
        raise _unsatisfiable(size) from None


def _unsatisfiable(size: int) -> HTTPError:
    error = http_error(
        HTTPRequestRangeNotSatisfiable(),
        errno=ERRORS.INVALID_PARAMETERS,
        message=f"The file has {size} bytes, and none of them is in the Range that was asked for.",
    )
    error.headers["Content-Range"] = f"bytes */{size}"
    return error


def _is_elsewhere(request: Request, plugin: Plugin) -> bool:
    """Whether the store itself sends files. A URL that it signs is good for GET alone."""
    redirects = plugin.settings.download == "redirect" and request.method == "GET"
    return redirects and isinstance(plugin.store, Presigning)


def _redirected(url: str) -> Response:
    """The URL lives five minutes: no cache is to keep the answer."""
    return HTTPFound(location=url, headers={"Cache-Control": PRIVATE, "Vary": "Origin"})


def _url_of_the_backend(store: Store, link: Link) -> str:
    """Where a file is read that the plugin can't read itself."""
    url = str(store.url(link.key))
    if not url.startswith(("https://", "http://")):
        raise StoreError(f"{link.key} can't be downloaded: the backend says {url!r}")
    return url


def _presigned_url(store: Readable, link: Link) -> str | None:
    """Where a download is redirected to; None where the plugin itself sends the file."""
    if not isinstance(store, Presigning):
        return None
    return store.presigned_url(link.key, link.filename, link.mimetype, REDIRECT_SECONDS)
