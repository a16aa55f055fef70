"""Sends a file to a record, once, whatever breaks in between.

The hash in the record tells whether the file has arrived. So the record is looked at again after
every try whose end is not known.
"""

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from kinto_attachment.client.form_body import FileChanged, FormBody
from kinto_attachment.client.ids import LocalFile
from kinto_attachment.client.outcomes import Failure, Temporary, Tries
from kinto_attachment.client.remote import Record, Remote

UPLOADED, REPLACED, UNCHANGED = "uploaded", "replaced", "unchanged"


@dataclass(frozen=True)
class Content:
    """What a file held when it was read."""

    size: int
    digest: bytes

    @property
    def hash(self) -> str:
        return self.digest.hex()

    def is_that_of(self, record: Record | None) -> bool:
        """Whether the record has it already."""
        attachment = (record or {}).get("attachment", {})
        return (attachment.get("hash"), attachment.get("size")) == (self.hash, self.size)


def content_of(path: os.PathLike[str]) -> Content:
    """Read a file. Raises :class:`OSError`."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Content(file.tell(), digest.digest())


class Sender:
    """Sends one file after the other, from any thread.

    :param fields: ``data`` and ``permissions``, which go along with each file.
    :param passed: called with bytes that are done; less than 0: done in vain.
    """

    def __init__(
        self, remote: Remote, fields: Mapping[str, Any], passed: Callable[[int], object]
    ) -> None:
        self.passed = passed
        self._remote = remote
        self._fields = fields

    def send(
        self, record_id: str, file: LocalFile, content: Content, record: Record | None
    ) -> str:
        """Send a file, unless the record has it; returns what was done.

        :param record_id: of the record that it is for.
        :param content: of the file.
        :param record: as it was when it was last looked at; None where there was none.
        :raises FileChanged: where the file is not what ``content`` says.
        :raises Failure: what the last try did.
        """
        tries, status, conflicts = Tries(self._remote.retries), UNCHANGED, 0
        while not content.is_that_of(record):
            sent = REPLACED if record and "attachment" in record else UPLOADED
            try:
                self._send_once(record_id, file, content, record)
                return sent
            except Temporary as error:
                tries.again(error)
                status = sent  # If it is there now, it was this try.
            except Failure as error:
                if error.status != 412 or conflicts:
                    raise
                conflicts += 1
            record = self._remote.record(record_id)
        self.passed(content.size)
        return status

    def _send_once(
        self, record_id: str, file: LocalFile, content: Content, record: Record | None
    ) -> None:
        went = 0

        def passed(size: int) -> None:
            nonlocal went
            went += size
            self.passed(size)

        try:
            with open(file.path, "rb") as source:
                body = FormBody(source, content.size, file.filename, self._fields, passed)
                answer = self._remote.post(record_id, body, _headers(body, content, record))
            if not content.is_that_of({"attachment": answer}):
                raise Failure("the server's answer has another size or SHA-256", 400)
        except BaseException as error:
            self.passed(-went)
            # 400 is what a server says that has compared the content with our header.
            if isinstance(error, Failure) and error.status == 400:
                _see_that_it_is_still(content, file)
            raise


def _see_that_it_is_still(content: Content, file: LocalFile) -> None:
    if content_of(file.path) != content:
        raise FileChanged


def _headers(body: FormBody, content: Content, record: Record | None) -> dict[str, str]:
    if record is None:
        condition = {"If-None-Match": "*"}
    else:
        condition = {"If-Match": f'"{record["last_modified"]}"'}
    digest = base64.b64encode(content.digest).decode()
    return {"Content-Type": body.content_type, "Repr-Digest": f"sha-256=:{digest}:", **condition}
