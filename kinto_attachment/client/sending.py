"""Sends a file to a record, once, whatever breaks in between.

The hash in the record tells whether the file has arrived. So the record is looked at again after
every try whose end is not known.

A little above 200 lines: a try in one request and one in several stand side by side.
"""

import base64
import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

from kinto_attachment.client import naming, resuming
from kinto_attachment.client.answers import Record
from kinto_attachment.client.content import Content
from kinto_attachment.client.form_body import FileChanged, FormBody, media_type_of
from kinto_attachment.client.ids import LocalFile
from kinto_attachment.client.outcomes import Failure, Temporary, Tries
from kinto_attachment.client.reading import content_of, opened
from kinto_attachment.client.remote import Remote
from kinto_attachment.client.upload_notes import noted
from kinto_attachment.client.wanted import Wanted

UPLOADED, REPLACED, UNCHANGED = "uploaded", "replaced", "unchanged"
WRITTEN = "written"
"""The file was there, and other fields of the record were not."""


class Sender:
    """Sends one file after the other, from any thread.

    :param fields: ``data`` and ``permissions``, which go along with each file.
    :param passed: called with bytes that are done; less than 0: done in vain.
    :param resume_above: bytes above which a file is sent in several requests, where the server
        takes that.
    """

    def __init__(
        self,
        remote: Remote,
        fields: Mapping[str, Any],
        passed: Callable[[int], object],
        resume_above: float,
    ) -> None:
        self.passed = passed
        self._resume_above = resume_above if remote.takes_pieces else math.inf
        self._remote = remote
        self._fields = fields

    def send(
        self, record_id: str, file: LocalFile, content: Content, record: Record | None
    ) -> str:
        """Send a file and its fields, unless the record has them; returns what was done.

        :param record_id: of the record that it is for.
        :param content: of the file.
        :param record: as it was when it was last looked at; None where there was none.
        :raises FileChanged: where the file is not what ``content`` says.
        :raises Failure: what the last try did.
        """
        status, now = self._bring(record_id, file, content, record)
        if file.wanted.is_met_by(now):
            return status
        if status != UNCHANGED:
            now = self._remote.record(record_id)  # It was modified, by us.
        written = self.describe(record_id, file.wanted, now)
        return WRITTEN if written and status == UNCHANGED else status

    def describe(self, record_id: str, wanted: Wanted, record: Record | None) -> bool:
        """Write fields of a record, unless it has them; tells whether that was needed.

        :raises Failure: what the last try did.
        """
        tries, conflicts, written = Tries(self._remote.retries), 0, False
        while not wanted.is_met_by(record):
            try:
                self._write_once(record_id, wanted, record)
                return True
            except Temporary as error:
                tries.again(error)
                written = True  # If they are there now, it was this try.
            except Failure as error:
                if error.status != 412 or conflicts:
                    raise
                conflicts += 1
            record = self._remote.record(record_id)
        return written

    def _write_once(self, record_id: str, wanted: Wanted, record: Record | None) -> None:
        data = dict(wanted.fields)
        if wanted.exactly and record and "attachment" in record:
            data["attachment"] = record["attachment"]
        body = {**self._fields, "data": data}
        method = "put" if wanted.exactly else "patch"
        self._remote.write(method, record_id, body, _condition(record))

    def _bring(
        self, record_id: str, file: LocalFile, content: Content, record: Record | None
    ) -> tuple[str, Record | None]:
        """What was done, and the record as far as its fields are known."""
        tries, status, conflicts = Tries(self._remote.retries), UNCHANGED, 0
        while not _has(record, file, content):
            sent = REPLACED if record and "attachment" in record else UPLOADED
            try:
                self._send_once(record_id, file, content, record)
                return sent, {**(record or {}), **self._data(file)}
            except Temporary as error:
                tries.again(error)
                status = sent  # If it is there now, it was this try.
            except Failure as error:
                if error.status != 412 or conflicts:
                    raise
                conflicts += 1
            record = self._remote.record(record_id)
        self.passed(content.size)
        return status, record

    def _data(self, file: LocalFile) -> dict[str, Any]:
        return {**self._fields.get("data", {}), **file.wanted.fields}

    def _send_once(
        self, record_id: str, file: LocalFile, content: Content, record: Record | None
    ) -> None:
        went = 0

        def passed(size: int) -> None:
            nonlocal went
            went += size
            self.passed(size)

        try:
            data = self._data(file)
            fields = {**self._fields, "data": data} if data else self._fields
            sending = _Sending(record_id, file, content, fields, _condition(record), passed)
            with opened(file) as source:
                answer = self._answer(sending, source)
            if not content.is_that_of({"attachment": answer}):
                raise Failure("the server's answer has another size or SHA-256", 400)
        except BaseException as error:
            self.passed(-went)
            # 400 is what a server says that has compared the content with our header.
            if isinstance(error, Failure) and error.status == 400:
                _see_that_it_is_still(content, file)
            raise

    def _answer(self, sending: "_Sending", source: IO[bytes]) -> Any:
        """What the server says of the file that it has then."""
        if sending.content.size > self._resume_above:
            with contextlib.suppress(resuming.WholeInstead):
                return self._send_pieces(sending, source)
            source.seek(0)
        body = sending.form(source)
        return self._remote.post(sending.record_id, body, sending.form_headers(body))

    def _send_pieces(self, sending: "_Sending", source: IO[bytes]) -> Any:
        url = self._remote.uploads_url(sending.record_id)
        headers = sending.upload_headers()
        with noted(sending.file.path.parent, url) as note:
            upload = resuming.Resumption(
                self._remote.transfers,
                self._remote.retries,
                url,
                note,
                sending.content.size,
                sending.passed,
            )
            answer = upload.send(source, headers)
        if answer is None:
            answer = (self._remote.record(sending.record_id) or {}).get("attachment")
        return answer


@dataclass(frozen=True)
class _Sending:
    """One try with one file. ``fields``: of the record; ``condition``: a header."""

    record_id: str
    file: LocalFile
    content: Content
    fields: Mapping[str, Any]
    condition: dict[str, str]
    passed: Callable[[int], object]

    def form(self, source: IO[bytes]) -> FormBody:
        """It in one request."""
        file, size = self.file, self.content.size
        return FormBody(source, size, file.filename, self.fields, self.passed, file.media_type)

    def form_headers(self, body: FormBody) -> dict[str, str]:
        """Of that request."""
        digest = base64.b64encode(self.content.digest).decode()
        promised = {"Content-Type": body.content_type, "Repr-Digest": f"sha-256=:{digest}:"}
        return promised | self.condition

    def upload_headers(self) -> dict[str, str]:
        """Of the request that begins an upload in several."""
        file = self.file
        told = {
            "filename": file.filename,
            "filetype": media_type_of(file.filename, file.media_type),
            "sha256": self.content.hash,
            **{name: json.dumps(value) for name, value in self.fields.items()},
        }
        size = str(self.content.size)
        return {"Upload-Length": size, "Upload-Metadata": resuming.metadata(told)} | self.condition


def _see_that_it_is_still(content: Content, file: LocalFile) -> None:
    if content_of(file) != content:
        raise FileChanged


def _has(record: Record | None, file: LocalFile, content: Content) -> bool:
    """Whether the record has the file; where it is to be a copy of another, by its name, too."""
    if not content.is_that_of(record):
        return False
    name = file.told_as
    # Servers take characters out of other names.
    is_kept = name is not None and name == naming.safe(name)
    return not is_kept or (record or {}).get("attachment", {}).get("filename") == name


def _condition(record: Record | None) -> dict[str, str]:
    """A header: the record is as it was when it was looked at."""
    if record is None:
        return {"If-None-Match": "*"}
    return {"If-Match": f'"{record["last_modified"]}"'}
