"""Sends a large file in several requests, by tus 1.0.0 (https://tus.io/protocols/resumable-upload).

How far it has come is what the server says, so it goes on after a broken connection, a restart of
the server, and, by the note beside the file, a restart of the command.

A little above 200 lines: one upload, from its beginning to its end.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any
from urllib.parse import urlsplit

from kinto_attachment.client.form_body import BLOCK, FileChanged
from kinto_attachment.client.outcomes import Failure, Temporary, Tries, named_failures
from kinto_attachment.client.transfers import Transfers
from kinto_attachment.client.upload_notes import VALID, UploadNote

ABOVE = 8_000_000
"""Bytes above which a file is sent so, unless the user says otherwise."""

PIECE = 8 * 1024 * 1024
"""Bytes of one request. A server, or a proxy, that hands on only whole requests loses no more
than that; some proxies refuse requests from 100 MB on. At S3 it is one whole part."""

VERSION = "1.0.0"
OWN = {"Tus-Resumable": VERSION}

MOST_METADATA = 4096
"""Bytes of ``Upload-Metadata``: servers take no longer header."""

GONE = (404, 410)
REFUSED = (400, 412, 413)
"""Statuses by which a server ends an upload for good."""

FULL = (429, 507)
"""No more unfinished uploads are taken. A file in one request is."""


OFF = "uploads_off"
"""Why a server refuses for one collection what it takes for others."""


class WholeInstead(Exception):
    """The file has to be sent in one request."""


def metadata(values: Mapping[str, str]) -> str:
    """The header ``Upload-Metadata``.

    :raises WholeInstead: where it would be too long.
    """
    pairs = (
        f"{name} {base64.b64encode(value.encode('utf-8', 'replace')).decode()}"
        for name, value in values.items()
    )
    header = ",".join(pairs)
    if len(header) > MOST_METADATA:
        raise WholeInstead
    return header


class Resumption:
    """One file on its way to one record.

    :param url: of the record's uploads.
    :param note: what an earlier run has noted.
    :param size: bytes of the file.
    :param passed: called with bytes that went; less than 0: that went in vain.
    """

    def __init__(
        self,
        transfers: Transfers,
        retries: int,
        url: str,
        note: UploadNote,
        size: int,
        passed: Callable[[int], object],
    ) -> None:
        self._transfers = transfers
        self._tries = Tries(retries)
        self._uploads_url = url
        self._note = note
        self._size = size
        self._passed = passed
        self._url = ""
        self._there = 0  # Bytes that the server has.
        self._furthest = 0  # The most that it ever had: only what goes beyond is progress.
        self._told = 0

    def send(self, source: IO[bytes], headers: Mapping[str, str]) -> Any:
        """Send what the server has not yet; gives the answer's JSON, or None where the answer
        was lost: then the record tells.

        :param headers: of the request that begins the upload. One that was begun with others is
            given up: it is for another content, other fields, or another state of the record.
        :raises FileChanged: where the file has become shorter.
        :raises WholeInstead: where the server takes no upload in several requests now.
        :raises Failure: as the server says.
        """
        purpose = hashlib.sha256(json.dumps(sorted(headers.items())).encode()).hexdigest()
        self._recall(purpose)
        try:
            return self._send(source, headers, purpose)
        except FileChanged:
            self._give_up()
            raise
        except Failure as error:
            if error.status in REFUSED:
                self._note.forget()
            raise

    def _send(self, source: IO[bytes], headers: Mapping[str, str], purpose: str) -> Any:
        while True:
            try:
                if not (self._url and self._look()):
                    self._begin(headers, purpose)
                answer = None
                while self._there < self._size:
                    answer = self._send_piece(source)
                self._note.forget()
                return answer
            except Temporary as error:
                self._tries.again(error)

    def _recall(self, purpose: str) -> None:
        noted = self._note.read()
        if noted:
            self._url = f"{self._uploads_url}/{noted[0]}"
            if noted[1] != purpose:
                self._give_up()

    def _give_up(self) -> None:
        """The server need not keep it until it expires."""
        with contextlib.suppress(Failure):
            self._transfers.ask("DELETE", self._url, OWN)
        self._url = ""
        self._note.forget()

    def _begin(self, headers: Mapping[str, str], purpose: str) -> None:
        self._arrived(0)
        try:
            answer = self._transfers.ask("POST", self._uploads_url, {**OWN, **headers})
        except Failure as error:
            if error.status in FULL or error.reason == OFF:
                raise WholeInstead from error
            raise
        with named_failures():
            # The last name alone: the host may be one that a proxy hides.
            path = urlsplit(answer.headers.get("Location", "")).path
        upload_id = path.rpartition("/")[2]
        if not VALID.fullmatch(upload_id):
            raise Failure("the server does not tell the URL of the upload that it has begun")
        self._url = f"{self._uploads_url}/{upload_id}"
        self._note.write(upload_id, purpose)

    def _look(self) -> bool:
        """Ask how far it has come; False where the server knows nothing of it."""
        try:
            answer = self._transfers.ask("HEAD", self._url, OWN)
        except Failure as error:
            if error.status not in GONE:
                raise
            self._url = ""
            return False
        self._arrived(self._offset(answer.headers))
        return True

    def _send_piece(self, source: IO[bytes]) -> Any:
        before = self._there
        headers = {
            **OWN,
            "Accept": "application/json",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(before),
        }
        piece = Piece(source, before, min(PIECE, self._size - before), self._went)
        try:
            answer = self._transfers.ask("PATCH", self._url, headers, piece)
        except Failure as error:
            if error.status in GONE and not isinstance(error, Temporary):
                raise Temporary(str(error), error.status) from error
            raise
        self._arrived(self._offset(answer.headers))
        if self._there <= before:
            raise Temporary("the server has not taken what was sent")
        with named_failures():
            return answer.json() if self._there == self._size and answer.content else None

    def _offset(self, headers: Mapping[str, str]) -> int:
        with named_failures():
            offset = int(headers.get("Upload-Offset", ""))
        if not 0 <= offset <= self._size:
            raise Failure("the server says that more has come than the file has")
        return offset

    def _went(self, size: int) -> None:
        self._told += size
        self._passed(size)

    def _arrived(self, offset: int) -> None:
        self._there = offset
        self._went(offset - self._told)
        if offset > self._furthest:
            self._furthest = offset
            self._tries.progressed()


class Piece:
    """The body of one request: some of a file's bytes, read while they are sent."""

    def __init__(
        self, source: IO[bytes], start: int, size: int, passed: Callable[[int], object]
    ) -> None:
        self._source = source
        self._start = start
        self._size = size
        self._passed = passed

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """The bytes. Raises :class:`FileChanged` where the file has become shorter."""
        self._source.seek(self._start)
        left = self._size
        while left:
            block = self._source.read(min(left, BLOCK))
            if not block:
                raise FileChanged
            yield block
            left -= len(block)
            self._passed(len(block))
