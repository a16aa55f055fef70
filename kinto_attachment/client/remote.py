"""One collection of a Kinto server, as the commands see it.

A little above 200 lines: all that is asked of a server is here.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import kinto_http

from kinto_attachment.client.outcomes import (
    FAILED,
    Failure,
    Outcome,
    Temporary,
    Tries,
    Unusable,
    named_failures,
)
from kinto_attachment.client.transfers import ANSWER_TIMEOUT, Transfers, nobody

Record = dict[str, Any]
Result = TypeVar("Result")

QUERY_LENGTH = 2000
"""Characters of the ids in one look-up: servers and proxies take lines of 4,000 at least."""

FIELDS = "id,attachment"


class Remote:
    """The collection, for any number of threads.

    :param server: the URL with its version, as in ``https://kinto.example.org/v1``.
    :param auth: as requests takes it; None for nobody.
    :param retries: of one request.
    """

    def __init__(self, server: str, bucket: str, collection: str, auth: Any, retries: int) -> None:
        self.server = server.rstrip("/")
        self.retries = retries
        self._path = f"/buckets/{bucket}/collections/{collection}"
        self._auth = auth or nobody
        self._base_url: str | None = None
        self._client = kinto_http.Client(
            server_url=self.server,
            auth=self._auth,
            bucket=bucket,
            collection=collection,
            timeout=ANSWER_TIMEOUT,
        )
        self.transfers = Transfers(self.server, self._auth)

    @property
    def uri(self) -> str:
        """URL of the collection."""
        return self.server + self._path

    def connect(self) -> None:
        """See that the server is there, and has attachments.

        :raises Unusable: otherwise.
        """
        try:
            info = self._patiently(partial(self._request, "get", "/"))
            capabilities = info["capabilities"]
        except Temporary as error:
            raise Unusable(f"{self.server} can't be reached: {error}.") from error
        except (Failure, LookupError, TypeError) as error:
            raise Unusable(
                f"{self.server} is not a Kinto server ({error}): write the URL with its version,"
                " as in https://kinto.example.org/v1."
            ) from error
        if "attachments" not in capabilities:
            raise Unusable(
                f"{self.server} has no kinto-attachment: install it there, and add it to the"
                " setting kinto.includes."
            )
        self._base_url = capabilities["attachments"].get("base_url")

    def is_there(self) -> bool:
        """Whether the server answers at this moment."""
        with contextlib.suppress(Failure):
            self._request("get", "/")
            return True
        return False

    def failed(self, what: dict[str, str], error: Exception) -> Outcome:
        """The outcome for an error: of the server, or of this machine's own disk.

        :raises Unusable: where the server is gone, so that the others need not be tried.
        """
        if isinstance(error, Temporary) and not error.status and not self.is_there():
            raise Unusable(f"{self.server} is gone: {error}. Run it again.") from error
        return Outcome(what, FAILED, error=str(error))

    def records(self, ids: Iterable[str] | None = None) -> Iterator[Record]:
        """The records with these ids that exist; without ids, those that have an attachment.

        They have ``id``, ``last_modified`` and, if there is one, ``attachment``.

        :raises Unusable: where the collection can't be read at all.
        """
        try:
            if ids is None:
                yield from self._pages({"has_attachment": "true", "_sort": "id"})
                return
            for group in groups(ids):
                # In quotes: else Kinto takes 123 for a number.
                yield from self._pages(
                    {"in_id": ",".join(f'"{record_id}"' for record_id in group)}
                )
        except Temporary as error:
            raise Unusable(f"{self.server} gave up: {error}. Run it again.") from error
        except Failure as error:
            raise self._unreadable(error) from error

    def record(self, record_id: str) -> Record | None:
        """One record as it is now; None where there is none.

        :raises Failure: as the server says.
        """
        path = f"{self._path}/records/{record_id}?_fields={FIELDS}"
        try:
            answer = self._patiently(partial(self._request, "get", path))
        except Failure as error:
            if error.status == 404:
                return None
            raise
        return _record(answer["data"])

    def remove(self, record_id: str, whole: bool) -> bool:
        """Remove a record's attachment, or the record; tells whether there was one.

        :raises Failure: as the server says.
        """
        path = f"{self._path}/records/{record_id}" + ("" if whole else "/attachment")
        try:
            self._patiently(partial(self._request, "delete", path))
        except Failure as error:
            if error.status != 404:
                raise
            return False
        return True

    def post(self, record_id: str, body: Iterable[bytes], headers: Mapping[str, str]) -> Any:
        """Send a form to a record's ``/attachment``, once; gives the answer's JSON.

        :raises Failure: as the server says.
        """
        return self.transfers.post(f"{self.uri}/records/{record_id}/attachment", body, headers)

    def url(self, location: str) -> str:
        """Where the file with this ``location`` is read.

        :raises Failure: where the server does not tell it.
        """
        if urlsplit(location).scheme:
            return location
        if not isinstance(self._base_url, str):
            raise Failure(
                "the server does not tell where its files are: set kinto.attachment.base_url"
                " or kinto.attachment.extra.base_url there"
            )
        return f"{self._base_url.rstrip('/')}/{location.lstrip('/')}"

    def _pages(self, query: Mapping[str, str]) -> Iterator[Record]:
        page = urlencode({"_fields": FIELDS, **query})
        while page:
            path = f"{self._path}/records?{page}"
            answer, headers = self._patiently(partial(self._answer, "get", path))
            yield from map(_record, answer["data"])
            # The query alone: the host may be one that a proxy hides.
            page = urlsplit(headers.get("Next-Page", "")).query

    def _patiently(self, task: Callable[[], Result]) -> Result:
        tries = Tries(self.retries)
        while True:
            try:
                return task()
            except Temporary as error:
                tries.again(error)

    def _request(self, method: str, path: str) -> Any:
        return self._answer(method, path)[0]

    def _answer(self, method: str, path: str) -> tuple[Any, Any]:
        with named_failures():
            # A redirect is no answer: an upload could not follow it, and a password should not.
            return self._client.session.request(method, path, allow_redirects=False)

    def _unreadable(self, error: Failure) -> Unusable:
        create = "as in `curl --user NAME --request PUT "
        told = {
            401: "a name and password, or a token, is wanted here: give --auth USER:PASSWORD",
            403: (
                "these credentials may not read it, or there is no such bucket: give others"
                f" with --auth, or create it, {create}{self.uri.rsplit('/', 2)[0]}`"
            ),
            404: f"there is no such collection: create it, {create}{self.uri}`",
        }
        return Unusable(f"{self.uri}: {told.get(error.status, str(error))}.")


def groups(ids: Iterable[str]) -> Iterator[list[str]]:
    """Ids that fit into the query of one URL."""
    group: list[str] = []
    length = 0
    for record_id in ids:
        cost = len(record_id) + len("%22%22%2C")
        if group and length + cost > QUERY_LENGTH:
            yield group
            group, length = [], 0
        group.append(record_id)
        length += cost
    if group:
        yield group


def _record(found: Record) -> Record:
    """Without an attachment that is none: 8.x and 9.x leave null after a removal."""
    if not isinstance(found.get("attachment"), dict):
        found.pop("attachment", None)
    return found
