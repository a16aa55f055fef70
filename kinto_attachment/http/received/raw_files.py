"""The body of a PUT, which is the file itself: ``curl -T``."""

from pyramid.request import Request

from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.http.received import content_disposition
from kinto_attachment.http.received.bodies import Body

URL_ENCODED = "application/x-www-form-urlencoded"


def check(request: Request) -> None:
    """See, before the body is read, that it can be a file as it is, and has a name.

    :raises Refused: for a form; for a part of a file (RFC 9110, section 14.5); for a name whose
        encoding nobody knows.
    """
    content_type = request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type.startswith("multipart/") or content_type == URL_ENCODED:
        raise Refused("form_by_put", content_type=content_type)
    if "Content-Range" in request.headers:
        raise Refused("part_of_file")
    filename(request)


def part(request: Request, body: Body) -> FilePart:
    """The file: as :func:`filename` says, of the type that the request says."""
    return FilePart(filename(request), request.headers.get("Content-Type"), body.chunks())


def filename(request: Request) -> str | None:
    """The name from ``Content-Disposition``, or else from ``?filename=``; None without both."""
    said = content_disposition.read(request.headers.get("Content-Disposition", ""))
    return said.known_filename() or request.GET.get("filename")
