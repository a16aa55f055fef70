"""Bodies that are sent and received by blocks: kinto-http reads them to memory."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import requests

from kinto_attachment.client.answers import bounded
from kinto_attachment.client.outcomes import Failure, named_failures, refusal

CONNECT_TIMEOUT, ANSWER_TIMEOUT, STORE_TIMEOUT = 10.0, 60.0, 600.0
"""Seconds without a sign of life: to connect, with TLS, to answer, and to store a file that was
sent."""

MOST_REDIRECTS = 5


class Transfers:
    """Requests to one server, and to the places where it has its files. For any thread.

    :param server: the URL with its version.
    :param auth: as requests takes it.
    """

    def __init__(self, server: str, auth: Any) -> None:
        self._server = server
        self._auth = auth
        self._of_thread = threading.local()

    def post(self, url: str, body: Iterable[bytes], headers: Mapping[str, str]) -> dict[str, Any]:
        """Send a form, once; gives the answer's JSON.

        :raises Failure: as the server says.
        """
        response = self.ask("POST", url, headers, body)
        with named_failures():
            answer = response.json()
        if not isinstance(answer, dict):
            raise Failure("the server's answer is no attachment")
        return answer

    def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Iterable[bytes] | None = None,
    ) -> requests.Response:
        """Send a request of an upload, once; gives the answer, which has been read.

        :param url: below the server's own: credentials go there.
        :raises Failure: as the server says.
        """
        with named_failures(), self._send(method, url, self._auth, headers, body) as response:
            bounded(response)
            if response.status_code >= 400:
                raise refusal(response)
            if response.status_code not in (200, 201, 204):
                to = response.headers.get("Location", "nowhere")
                raise Failure(
                    f"the server redirects uploads to {_shown(to)}", response.status_code
                )
            _ = response.content
            return response

    def open(
        self, url: str, headers: Mapping[str, str], own_headers: Mapping[str, str]
    ) -> requests.Response:
        """Ask for a file, once; the caller reads the body, and closes the response.

        :param own_headers: go, like the credentials, to URLs below the server's own alone.
        :raises Failure: as the server says.
        """
        for _ in range(MOST_REDIRECTS + 1):
            own = self.owns(url)
            more = own_headers if own else {}
            auth = self._auth if own else nobody
            response = self._send("GET", url, auth, {**headers, **more})
            if not response.is_redirect:
                return self._accepted(response, url)
            response.close()
            with named_failures():
                url = urljoin(url, response.headers["Location"])
        raise Failure(f"there is no end of redirects; the last one was to {_shown(url)}")

    def owns(self, url: str) -> bool:
        """Whether a URL is below the server's, so that the credentials may go there."""
        with named_failures():
            asked, ours = urlsplit(_as_sent(url)), urlsplit(_as_sent(self._server))
            if asked.scheme not in ("http", "https"):
                return False
            climbs = ".." in unquote(asked.path).replace("\\", "/").split("/")
            below = asked.path.startswith(f"{ours.path.rstrip('/')}/") and not climbs
            return below and _origin(asked) == _origin(ours)

    def _send(
        self, method: str, url: str, auth: Any, headers: Mapping[str, str], body: Any = None
    ) -> requests.Response:
        session = getattr(self._of_thread, "session", None)
        if session is None:
            session = self._of_thread.session = requests.Session()
        with named_failures():
            response: requests.Response = session.request(
                method,
                url,
                headers={"Accept": "application/json, */*;q=0.5", **headers},
                auth=auth,
                data=body,
                stream=True,
                allow_redirects=False,
                timeout=(CONNECT_TIMEOUT, STORE_TIMEOUT if body else ANSWER_TIMEOUT),
            )
        return response

    def _accepted(self, response: requests.Response, url: str) -> requests.Response:
        if response.status_code in (200, 206):
            return response
        with response:
            bounded(response)
            found = refusal(response)
        if response.status_code in (401, 403) and not self.owns(url):
            raise Failure(
                f"{found}; no password was sent to {_shown(url)}, as that is not below"
                f" {self._server}",
                found.status,
            )
        raise found


def nobody(request: Any) -> Any:
    """No credentials, and none of ``~/.netrc`` either."""
    return request


def _as_sent(url: str) -> str:
    """A URL as it goes out, whatever its spelling."""
    return str(requests.Request("GET", url).prepare().url)


def _shown(url: str) -> str:
    """Without what may be a signature."""
    return url.partition("?")[0]


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    ports = {"http": 80, "https": 443}
    return url.scheme, url.hostname, url.port or ports.get(url.scheme)
