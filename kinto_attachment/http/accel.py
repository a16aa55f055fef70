"""nginx sends the file, after Kinto has said that it may (``X-Accel-Redirect``).

nginx reads the client's preconditions and ranges once more, its own way. So it is given what it
answers as we would, which is nearly everything; the rest is sent by us.
"""

from urllib.parse import quote

from pyramid.request import Request


def answers_alike(request: Request, size: int, part: tuple[int, int] | None) -> bool:
    """Whether nginx, as our documentation sets it up, answers a request that has passed its
    preconditions as we would.

    It compares ``If-Match`` with an entity tag of its own, takes a Range with HEAD, with a file
    that is empty, and where it does not understand it.

    :param size: of the file, in bytes.
    :param part: the range that is to be sent; None for the whole file.
    """
    if request.method != "GET" or not size or "If-Match" in request.headers:
        return False
    return part is not None or "Range" not in request.headers


def location(prefix: str, key: str) -> str:
    """The internal URL of a file, below the setting ``accel_redirect``."""
    return prefix + quote(key)
