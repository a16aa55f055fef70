"""What a server answers, before anything is made of it: of a bounded size, and of its form.

The server may be anybody's. What is wrong with its answer is a :class:`Failure`.
"""

import re
from collections.abc import Iterator
from typing import Any

import requests

from kinto_attachment.client.outcomes import Failure

Record = dict[str, Any]

MOST_BYTES = 64 * 1024 * 1024
"""Of an answer that is read to memory."""

MOST_ERROR_BYTES = 1024 * 1024
"""Of an answer that says what is wrong."""

MOST_SIZE = 2**63 - 1
"""Of a file: no disk takes more."""

MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(; ?[\w!#$&^.+-]+=[\w!#$&^.+-]+)*", re.ASCII)
"""What may stand in a header as the type of a file."""


class _Bounded:
    """The raw body of a response; it ends the request where it does not end itself."""

    def __init__(self, raw: Any, most: int) -> None:
        self._raw = raw
        self._left = most

    def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
        """As urllib3 has it, and requests calls it."""
        for block in self._raw.stream(amount, decode_content=decode_content):
            self._left -= len(block)
            if self._left < 0:
                self._raw.close()
                raise Failure("the server's answer does not end")
            yield block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


def bounded(response: requests.Response, *_: Any, **__: Any) -> requests.Response:
    """A response that may be read to memory; also a hook of requests."""
    most = MOST_BYTES if response.status_code < 400 else MOST_ERROR_BYTES
    response.raw = _Bounded(response.raw, most)
    # kinto-http makes a warning of it, which Python prints as it came.
    response.headers.pop("Alert", None)
    return response


def record_of(found: Any) -> Record:
    """A record, without an attachment that is none: 8.x and 9.x leave null after a removal."""
    if not (
        isinstance(found, dict)
        and isinstance(found.get("id"), str)
        and found["id"]
        and isinstance(found.get("last_modified"), int)
    ):
        raise Failure("the server's answer has a record without an id or last_modified")
    if not isinstance(found.get("attachment"), dict):
        found.pop("attachment", None)
    return found


def data_of(answer: Any, kind: type) -> Any:
    """What an answer has as its ``data``: a list or an object, as asked for."""
    found = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(found, kind):
        raise Failure("the server's answer is not what Kinto answers")
    return found


def is_complete(attachment: Any) -> bool:
    """Whether it has what a download needs, in the form that it needs."""
    return (
        isinstance(attachment, dict)
        and isinstance(attachment.get("location"), str)
        and type(attachment.get("size")) is int
        and 0 <= attachment["size"] <= MOST_SIZE
        and re.fullmatch("[0-9a-f]{64}", str(attachment.get("hash"))) is not None
    )
