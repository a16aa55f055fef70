"""What became of one file or record, and what goes wrong meanwhile: for good, or for a while."""

import contextlib
import email.utils
import http.client
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import kinto_http
import kinto_http.exceptions
import requests
import urllib3.exceptions

FAILED = "failed"

TEMPORARY = frozenset({408, 409, 423, 429, 500, 502, 503, 504, 507})
"""Statuses after which the same request may do better."""

LONGEST_PAUSE, LONGEST_ASKED_FOR = 30.0, 600.0
"""Seconds between two tries: by ourselves, and where the server says when to come back."""

LONGEST_REASON = 1000
"""Characters of what a server says that is wrong."""


BROKEN_CONNECTIONS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
)
UNUSABLE_URL = (
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.LocationValueError,
)


@dataclass(frozen=True)
class Outcome:
    """One line of what a command tells.

    :param what: the words that tell it from others, as in ``{"file": "a.txt", "id": "a"}``.
    :param status: as in ``uploaded``; ``failed`` where there is an error.
    :param size: of the file, in bytes.
    """

    what: dict[str, str]
    status: str
    size: int | None = None
    hash: str | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Without what is not known."""
        more = {"size": self.size, "hash": self.hash, "error": self.error}
        known = {name: value for name, value in more.items() if value is not None}
        return {**self.what, "status": self.status, **known}


class Failure(Exception):
    """It can't be done; the message is a clause for the user.

    :param status: of the answer; 0 where there was none.
    :param reason: the server's word for it, as kinto-attachment has one.
    """

    def __init__(self, sentence: str, status: int = 0, reason: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason


class Temporary(Failure):
    """It may work next time.

    :param pause: seconds that the server asks for; None where it leaves that to us.
    """

    def __init__(self, sentence: str, status: int = 0, pause: float | None = None) -> None:
        super().__init__(sentence, status)
        self.pause = pause


class Unusable(Exception):
    """Nothing can be done at all; the message is a sentence that says what to do."""


class Tries:
    """Counts the tries of one thing, and waits between them."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._failed = 0

    def again(self, error: Temporary) -> None:
        """Wait for the next try. Raises ``error`` where there was the last one."""
        if self._failed >= self._retries:
            raise error
        pause = error.pause
        if pause is None:
            # By chance: clients that failed together should not come back together.
            pause = min(2.0**self._failed, LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
        self._failed += 1
        time.sleep(min(pause, LONGEST_ASKED_FOR))

    def progressed(self) -> None:
        """Something came of the last try: begin to count anew."""
        self._failed = 0


@contextlib.contextmanager
def named_failures() -> Iterator[None]:
    """Turn what requests and kinto-http raise into :class:`Failure` and :class:`Temporary`."""
    try:
        yield
    except kinto_http.exceptions.BackoffException as error:
        raise Temporary("the server asks for a pause", 503, error.backoff) from error
    except kinto_http.KintoException as error:
        if error.response is None:
            raise Failure(str(error)) from error
        raise refusal(error.response) from error
    except (*BROKEN_CONNECTIONS, ValueError, RecursionError) as error:
        raise _failure_of(error) from error


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, requests.exceptions.SSLError):
        return Failure(f"there is no safe connection ({_cause(error)})")
    if isinstance(error, UNUSABLE_URL):
        return Failure(f"the URL can't be used ({error})")
    if isinstance(error, (requests.exceptions.JSONDecodeError, RecursionError)):
        return Failure("the answer is no JSON")
    if isinstance(error, BROKEN_CONNECTIONS) and "handshake" in _cause(error):
        return Temporary("it does not answer to https: is http:// meant, or another port?")
    if isinstance(error, BROKEN_CONNECTIONS):
        return Temporary(f"the connection failed ({_cause(error)})")
    return Failure(f"what the server says can't be used ({error})")  # A number or URL is none.


def refusal(response: requests.Response) -> Failure:
    """The failure that an answer stands for, in the server's own words."""
    try:
        body = response.json()
    except (requests.exceptions.RequestException, Failure, ValueError, RecursionError):
        body = None
    told = body.get("message") if isinstance(body, dict) else None
    reason = str(told or response.reason)[:LONGEST_REASON]
    sentence = f"the server says {response.status_code}: {reason}"
    if response.status_code in TEMPORARY:
        return Temporary(sentence, response.status_code, _retry_after(response))
    details = body.get("details") if isinstance(body, dict) else None
    named = details.get("reason") if isinstance(details, dict) else None
    return Failure(sentence, response.status_code, str(named or ""))


def _retry_after(response: requests.Response) -> float | None:
    """Seconds; the header has a number of them, or a date."""
    asked = response.headers.get("Retry-After", "")
    if asked.isascii() and asked.isdigit():
        return float(asked)
    try:
        moment = email.utils.parsedate_to_datetime(asked).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(moment - time.time(), 0)


def _cause(error: BaseException) -> str:
    """The first reason in a chain of errors: the others repeat the URL and say no more."""
    found = error
    while following := found.__cause__ or found.__context__:
        found = following
    return str(found) or type(found).__name__
