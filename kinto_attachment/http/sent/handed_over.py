"""What is handed over: files that nginx or the store sends, after Kinto has said that it may.

Both read the client's preconditions and ranges once more, each in its own way. So each of them is
given what it answers as we would, which is nearly everything; the rest is sent by us.
"""

from pyramid.request import Request

from kinto_attachment.http.sent import ranges
from kinto_attachment.http.sent.conditions import Conditions
from kinto_attachment.rows.links import Link


def to_nginx(request: Request, size: int, part: tuple[int, int] | None) -> bool:
    """Whether nginx, set up as our documentation says, answers a request that has passed its
    preconditions as we would.

    It compares ``If-Match`` with an entity tag of its own, and takes what is no date in
    ``If-Unmodified-Since`` for a very old one. It looks at a Range with HEAD and with an empty
    file, and answers 416 where it does not understand one.

    :param size: of the file, in bytes.
    :param part: the range that is to be sent; None for the whole file.
    """
    headers = request.headers
    if request.method != "GET" or not size:
        return False
    if "If-Match" in headers or "If-Unmodified-Since" in headers:
        return False
    asked = headers.get("Range")
    return asked is None or (part is not None and ranges.is_plain(asked, size))


def to_store(request: Request, link: Link, version: str) -> bool:
    """Whether a store answers a GET as we would.

    Clients repeat their conditions where they are sent to. Stores have entity tags of their own,
    and take ours for a version that is gone; not all of them know ``If-Range``, or in which order
    conditions come, and an empty file is refused to whoever asks for a range of it. An
    ``If-Match`` that names none of ours may be theirs, and is judged there.
    """
    headers = request.headers
    if not link.size or not ranges.is_plain(headers.get("Range"), link.size):
        return False
    if "If-Match" in headers:
        return not Conditions(headers, link.hash, version, None).matched()
    dates = ("If-Unmodified-Since", "If-Modified-Since", "If-Range")
    return not any(name in headers for name in dates)
