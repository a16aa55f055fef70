"""Requests for JSON to one server, by kinto-http."""

from typing import Any

import kinto_http

from kinto_attachment.client.answers import bounded
from kinto_attachment.client.outcomes import Temporary, Tries, named_failures
from kinto_attachment.client.transfers import ANSWER_TIMEOUT, CONNECT_TIMEOUT


class Asker:
    """For any number of threads.

    :param server: the URL with its version.
    :param auth: as requests takes it.
    :param retries: of one request.
    """

    def __init__(self, server: str, auth: Any, retries: int) -> None:
        self._retries = retries
        self._client = kinto_http.Client(server_url=server, auth=auth)

    def once(self, method: str, path: str, **more: Any) -> tuple[Any, Any]:
        """The answer's JSON, which may be anything, and its headers.

        :raises kinto_attachment.client.outcomes.Failure: as the server says.
        """
        with named_failures():
            # A redirect is no answer: an upload could not follow it, and a password should not.
            return self._client.session.request(
                method,
                path,
                allow_redirects=False,
                hooks={"response": bounded},
                timeout=(CONNECT_TIMEOUT, ANSWER_TIMEOUT),
                **more,
            )

    def patiently(self, method: str, path: str) -> tuple[Any, Any]:
        """The same, and once more where it failed for a while."""
        tries = Tries(self._retries)
        while True:
            try:
                return self.once(method, path)
            except Temporary as error:
                tries.again(error)
