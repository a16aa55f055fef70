"""One collection of a Kinto server, as the commands see it.

A little above 200 lines: all that is asked of a server is here.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from kinto_attachment.client import resuming
from kinto_attachment.client.answers import Record, data_of, record_of
from kinto_attachment.client.asking import Asker
from kinto_attachment.client.ids import groups
from kinto_attachment.client.outcomes import (
    FAILED,
    Failure,
    Outcome,
    Temporary,
    Unusable,
    named_failures,
)
from kinto_attachment.client.transfers import Transfers, nobody

PAGE = 500
"""Records that are asked for at once; a server may give fewer."""

FIELDS = ("id", "attachment")
"""What is asked for of a record, where the others are of no use."""


class Remote:
    """The collection, for any number of threads.

    :param server: the URL with its version, as in ``https://kinto.example.org/v1``.
    :param auth: as requests takes it; None for nobody.
    :param retries: of one request.
    """

    fields: tuple[str, ...] | None = FIELDS
    """Names of the fields that records are to have; None for all."""

    def __init__(self, server: str, bucket: str, collection: str, auth: Any, retries: int) -> None:
        self.server = server.rstrip("/")
        self.retries = retries
        self._path = f"/buckets/{bucket}/collections/{collection}"
        self._base_url: str | None = None
        self.takes_pieces = False
        """Whether the server takes files in several requests, by tus."""
        self._asker = Asker(self.server, auth or nobody, retries)
        self.transfers = Transfers(self.server, auth or nobody)

    @property
    def uri(self) -> str:
        """URL of the collection."""
        return self.server + self._path

    def connect(self) -> None:
        """See that the server is there, and has attachments.

        :raises Unusable: otherwise.
        """
        try:
            info, _ = self._asker.patiently("get", "/")
            told = info["capabilities"].get("attachments")
        except Temporary as error:
            raise Unusable(f"{self.server} can't be reached: {error}.") from error
        except (Failure, LookupError, TypeError, AttributeError) as error:
            raise Unusable(
                f"{self.server} is not a Kinto server ({error}): write the URL with its version,"
                " as in https://kinto.example.org/v1."
            ) from error
        if not isinstance(told, dict):
            raise Unusable(
                f"{self.server} has no kinto-attachment: install it there, and add it to the"
                " setting kinto.includes."
            )
        self._base_url = told.get("base_url")
        uploads = told.get("uploads")
        self.takes_pieces = isinstance(uploads, dict) and uploads.get("tus") == resuming.VERSION

    def is_there(self) -> bool:
        """Whether the server answers at this moment."""
        with contextlib.suppress(Failure):
            self._asker.once("get", "/")
            return True
        return False

    def failed(self, what: dict[str, str], error: Exception) -> Outcome:
        """The outcome for an error: of the server, or of this machine's own disk.

        :raises Unusable: where the server is gone, so that the others need not be tried.
        """
        if isinstance(error, Temporary) and not error.status and not self.is_there():
            raise Unusable(f"{self.server} is gone: {error}. Run it again.") from error
        return Outcome(what, FAILED, error=str(error))

    def records(
        self, ids: Iterable[str] | None = None, *, with_attachment: bool = True
    ) -> Iterator[Record]:
        """The records with these ids that exist; without ids, those that have an attachment.

        They have :attr:`fields`, and always ``id`` and ``last_modified``; ``attachment`` only
        where there is one.

        :param with_attachment: False for those without one, too, where no ids are given.
        :raises Unusable: where the collection can't be read at all.
        """
        try:
            if ids is None:
                only = {"has_attachment": "true"} if with_attachment else {}
                yield from self._pages({**only, "_sort": "id", "_limit": str(PAGE)})
                return
            for group in groups(ids):
                # In quotes: else Kinto takes 123 for a number.
                found = self._pages({"in_id": ",".join(f'"{record_id}"' for record_id in group)})
                yield from (record for record in found if record["id"] in group)
        except Temporary as error:
            raise Unusable(f"{self.server} gave up: {error}. Run it again.") from error
        except Failure as error:
            raise self._unreadable(error) from error

    def record(self, record_id: str) -> Record | None:
        """One record as it is now; None where there is none.

        :raises Failure: as the server says.
        """
        path = f"{self._record_path(record_id)}?{urlencode(self._asked_fields())}"
        try:
            answer, _ = self._asker.patiently("get", path)
        except Failure as error:
            if error.status == 404:
                return None
            raise
        return self._that(record_id, answer)

    def write(
        self, method: str, record_id: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Record:
        """PUT or PATCH a record, once; gives it as it is then.

        :param body: with ``data``, and perhaps ``permissions``.
        :raises Failure: as the server says.
        """
        path = self._record_path(record_id)
        answer, _ = self._asker.once(method, path, payload=dict(body), headers=dict(headers))
        return self._that(record_id, answer)

    def remove(self, record_id: str, whole: bool) -> bool:
        """Remove a record's attachment, or the record; tells whether there was one.

        :raises Failure: as the server says.
        """
        path = self._record_path(record_id) + ("" if whole else "/attachment")
        try:
            self._asker.patiently("delete", path)
        except Failure as error:
            if error.status != 404:
                raise
            return False
        return True

    def post(self, record_id: str, body: Iterable[bytes], headers: Mapping[str, str]) -> Any:
        """Send a form to a record's ``/attachment``, once; gives the answer's JSON.

        :raises Failure: as the server says.
        """
        url = f"{self.server}{self._record_path(record_id)}/attachment"
        return self.transfers.post(url, body, headers)

    def uploads_url(self, record_id: str) -> str:
        """Where uploads to a record begin that come in several requests."""
        return f"{self.server}{self._record_path(record_id)}/attachment/uploads"

    def url(self, location: str) -> str:
        """Where the file with this ``location`` is read.

        :raises Failure: where the server does not tell it.
        """
        with named_failures():
            if location.startswith("//"):  # It has the scheme of the server.
                return urljoin(self.server, location)
            if urlsplit(location).scheme:
                return location
            if isinstance(self._base_url, str):
                base_url = urljoin(self.server, self._base_url)
                return f"{base_url.rstrip('/')}/{location.lstrip('/')}"
        raise Failure(
            "the server does not tell where its files are: set kinto.attachment.base_url"
            " or kinto.attachment.extra.base_url there"
        )

    def _pages(self, query: Mapping[str, str]) -> Iterator[Record]:
        page = urlencode({**self._asked_fields(), **query})
        seen = set()
        while page:
            seen.add(page)
            path = f"{self._path}/records?{page}"
            answer, headers = self._asker.patiently("get", path)
            found = data_of(answer, list)
            yield from map(record_of, found)
            with named_failures():
                # The query alone: the host may be one that a proxy hides.
                page = urlsplit(headers.get("Next-Page", "")).query
            if page in seen or (page and not found):
                raise Failure("the server's list of records does not end")

    def _that(self, record_id: str, answer: Any) -> Record:
        found = record_of(data_of(answer, dict))
        if found["id"] != record_id:
            raise Failure("the server's answer is another record")
        return found

    def _record_path(self, record_id: str) -> str:
        return f"{self._path}/records/{quote(record_id, safe='', errors='surrogatepass')}"

    def _asked_fields(self) -> dict[str, str]:
        return {} if self.fields is None else {"_fields": ",".join(self.fields)}

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
