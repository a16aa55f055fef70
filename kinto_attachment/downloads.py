"""The bytes of an attachment as a response: conditional, by range, and safe to open."""

import base64
from collections.abc import Callable, Iterator

from pyramid.httpexceptions import HTTPFound
from pyramid.request import Request
from pyramid.response import Response

from kinto_attachment.disposition import disposition
from kinto_attachment.links import Link
from kinto_attachment.storage import Reader, Storage, Unsupported, lacks


class Stream(Response):
    """A response whose body is never asked for as a whole.

    Kinto reads every response's body for a metric, which would take the file to memory.
    """

    body = property(lambda self: b"", lambda self, value: None)


class Chunks:
    """WebOb's ``app_iter`` over a stored file, with seeking for ranges.

    The file is opened before the headers go out: from then on a replacement can't pull it away
    (local store), and a missing one is a clean 404.
    """

    def __init__(self, storage: Storage, key: str, sent: Callable[[int], None]) -> None:
        self._storage = storage
        self._key = key
        self._sent = sent
        self._count = 0
        self._reader: Reader | None = storage.open(key)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._reader or ():
            self._count += len(chunk)
            yield chunk

    def app_iter_range(self, start: int, stop: int) -> "Chunks":
        """The bytes from ``start`` up to, without, ``stop``: WebOb asks for it."""
        if self._reader:
            self._reader.close()
        self._reader = self._storage.open(self._key, start, stop)
        return self

    def close(self) -> None:
        """The WSGI server calls this also when the client has gone away."""
        if self._reader:
            self._reader.close()
            self._reader = None
            self._sent(self._count)


def respond(request: Request, storage: Storage, link: Link) -> Response:
    """Serve a file. Raises FileNotFoundError and
    :class:`~kinto_attachment.storage.StorageError`."""
    if "read" in lacks(storage):
        return _redirect(storage, link)
    found = storage.stat(link.key)
    response = Stream(conditional_response=True, request=request)
    response.content_type = link.mimetype
    if link.mimetype == "text/plain":
        response.charset = "utf-8"
    metrics = request.registry.metrics
    response.app_iter = Chunks(
        storage, link.key, lambda sent: metrics.count("attachment_bytes_out", count=sent)
    )
    response.content_length = found.size  # After app_iter: WebOb's setter resets it.
    response.etag = link.hash
    response.last_modified = int(found.modified)
    # Several ranges may always be answered with the whole file (RFC 9110, section 14.2);
    # WebOb would send the first one alone.
    several = "," in request.headers.get("Range", "")
    response.accept_ranges = "none" if several else "bytes"
    if several:
        response.conditional_response = False
    response.headers.update(
        {
            "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(link.hash)).decode()}:",
            "Content-Disposition": disposition(link.filename, link.mimetype),
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "private, no-cache",
        }
    )
    return response


def _redirect(storage: Storage, link: Link) -> Response:
    """To where the backend itself says that the file is."""
    url = str(storage.url(link.key))
    if not url.startswith(("https://", "http://")):
        raise Unsupported(f"{link.key} can't be downloaded: the backend's URL of it is {url!r}")
    return HTTPFound(location=url, headers={"Cache-Control": "private, no-cache"})
