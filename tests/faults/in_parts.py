"""Uploads in several requests, as the random requests of model.py have them.

A plain list is the model: what each upload is to bring, how far it has come, how it has ended.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import transaction

from kinto_attachment.rows import Upload as Row
from kinto_attachment.rows import upload_rows_of
from tests.faults.harness import collect
from tests.faults.laws import Answer, LawBroken, Laws, canonical
from tests.faults.operations import Begin, GoOn
from tests.http.test_resumable import Tus, metadata
from tests.support.parts import OWNER, sha256

TUS = Tus().headers()
OFFSET = {**TUS, "Content-Type": "application/offset+octet-stream"}
FOR_GOOD = (400, 412, 413)
SETTINGS = {
    "kinto.attachment.uploads": "true",
    "kinto.attachment.max_uploads_per_user": "1000",
}


@dataclass
class Upload:
    """One of them.

    :ivar known: bytes that were acknowledged.
    :ivar ended: how: ``finished``, ``refused``, ``given up`` or ``expired``.
    :ivar value: of the record, where it is finished.
    """

    path: str
    record: str
    user: str
    content: bytes
    deferred: bool
    known: int = 0
    ended: str = ""
    value: Any = None


class InParts:
    """All of one run."""

    def __init__(self, laws: Laws) -> None:
        self._laws = laws
        self._all: list[Upload] = []

    def begin(self, user: str, begin: Begin, uri: str, content: bytes, match: Any) -> None:
        """Begin one, with its first bytes perhaps."""
        length = {"Upload-Defer-Length": "1"} if begin.deferred else {}
        length = length or {"Upload-Length": str(len(content))}
        first = content[: len(content) // 3] if begin.first else b""
        said = {"Upload-Metadata": metadata(filename="a.txt", filetype="text/plain")}
        headers = {**OFFSET, **said, **length, **match}
        answer = self._laws.call(user, "POST", f"{uri}/attachment/uploads", first, headers)
        self._laws.judge(user, answer)
        if answer.status < 300:
            path = answer.headers["Location"].partition("/v1")[2]
            made = Upload(path, uri, user, content, begin.deferred)
            made.known = int(answer.headers.get("Upload-Offset", 0))
            if answer.status != 201 or made.known != len(first):
                raise LawBroken(f"3: {len(first)} bytes were answered by {answer}")
            self._all.append(made)

    def go_on(self, user: str, go_on: GoOn) -> None:
        """A later request for one of them."""
        if not self._all:
            return
        upload = self._all[go_on.which % len(self._all)]
        user = user if go_on.as_another else upload.user
        if go_on.what == "head":
            answer = self._laws.call(user, "HEAD", upload.path, None, TUS)
        elif go_on.what == "delete":
            answer = self._laws.call(user, "DELETE", upload.path, None, TUS)
        else:
            answer = self._append(user, upload, go_on.what)
            return
        self._laws.judge(user, answer)
        if self._is_refused(user, upload, answer):
            return
        if go_on.what == "head":
            self._shows(upload, answer)
        elif upload.ended == "finished":
            self._expect(upload, answer, 409)
        else:
            self._expect(upload, answer, 204)
            upload.ended = "given up"

    def _append(self, user: str, upload: Upload, what: str) -> Answer:
        left = len(upload.content) - upload.known
        size = {"more": left // 2, "rest": left, "empty": 0, "wrong": 1}[what]
        start = upload.known + (1 if what == "wrong" else 0)
        headers = {**OFFSET, "Upload-Offset": str(start), "Accept": "application/json"}
        if upload.deferred and what == "rest":
            headers["Upload-Length"] = str(len(upload.content))
        sent = upload.content[upload.known : upload.known + size]
        answer = self._laws.call(user, "PATCH", upload.path, sent, headers)
        ends = answer.status in (200, 201)
        if ends:
            self._laws.files[canonical(answer.json)] = upload.content
        self._laws.judge(user, answer, uploaded=answer.json if ends else None)
        if self._is_refused(user, upload, answer):
            return answer
        if upload.ended == "finished":
            self._expect(upload, answer, *((409,) if sent or what == "wrong" else (204,)))
        elif what == "wrong":
            self._expect(upload, answer, 409, 400)
        elif what == "rest":
            self._ends(upload, answer)
        else:
            self._expect(upload, answer, 204)
            upload.known += size
            if int(answer.headers["Upload-Offset"]) != upload.known:
                raise LawBroken(f"3: {upload} was answered {answer}")
        return answer

    def _ends(self, upload: Upload, answer: Answer) -> None:
        if answer.status in FOR_GOOD:
            upload.ended = "refused"
            return
        self._expect(upload, answer, 200)
        upload.ended, upload.known = "finished", len(upload.content)
        upload.value = answer.json
        record = self._laws.records().get(upload.record, {})
        if canonical(record.get("attachment")) != canonical(upload.value):
            raise LawBroken(f"3: {upload} was finished, and the record says {record}")
        if upload.value["hash"] != sha256(upload.content):
            raise LawBroken(f"3: {upload} has not the hash of what was sent")

    def _is_refused(self, user: str, upload: Upload, answer: Answer) -> bool:
        """Whether this is none of the user's, or over; then nothing of it may be told."""
        named = self._laws.named().get(upload.record)
        over = upload.ended not in ("", "finished")
        if upload.ended == "finished":
            over = canonical(named) != canonical(upload.value)
        owned = user == upload.user and self._laws.is_alive(upload.record)
        if not over and owned and user == OWNER:
            return False
        if answer.status in (401, 403, 404, 410):
            if "Upload-Offset" in (answer.headers or {}):
                raise LawBroken(f"6: {upload} is told to {user}: {answer}")
            return True
        if over or not owned:
            raise LawBroken(f"6: {upload} goes on for {user}: {answer}")
        return False

    def _shows(self, upload: Upload, answer: Answer) -> None:
        self._expect(upload, answer, 200)
        if int(answer.headers["Upload-Offset"]) != upload.known:
            raise LawBroken(f"1: {upload} has another offset: {answer.headers}")

    def _expect(self, upload: Upload, answer: Answer, *statuses: int) -> None:
        if answer.status not in statuses:
            raise LawBroken(f"3: {upload} was answered {answer}, not {statuses}")

    # What time does

    def expire(self) -> None:
        """A day passes for all of them, and gc comes."""
        storage = self._laws.server.registry.storage
        for row in self._rows():
            upload_rows_of(storage).write(dataclasses.replace(row, expires=0))
        transaction.commit()
        for upload in self._all:
            upload.ended = "expired"
        collect(self._laws.server)
        self._laws.judge_silently()
        if left := self._left():
            raise LawBroken(f"5: after gc there is {left}")

    def _rows(self) -> list[Row]:
        pages = upload_rows_of(self._laws.server.registry.storage).everything()
        found = [row for page in pages for row in page]
        transaction.abort()
        return found

    def _left(self) -> list[str]:
        assert self._laws.server.files
        folder = self._laws.server.files / ".kinto-attachment-uploads"
        files = [path.name for path in folder.iterdir()] if folder.exists() else []
        return files + [row.id for row in self._rows()]
