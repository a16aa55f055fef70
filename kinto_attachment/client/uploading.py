"""Brings the files of this machine to their records: those that are not there yet."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from kinto_attachment.client.answers import Record
from kinto_attachment.client.content import Content
from kinto_attachment.client.form_body import FileChanged
from kinto_attachment.client.ids import BareRecord, LocalFile, id_for
from kinto_attachment.client.outcomes import Failure, Outcome, Unusable
from kinto_attachment.client.reading import content_of
from kinto_attachment.client.remote import Remote
from kinto_attachment.client.sending import UNCHANGED, WRITTEN, Sender
from kinto_attachment.client.threads import results

GROUP = 50
"""Files that are looked up together."""

LOOKS = 2
"""How often a file is sent that changes while it is sent."""


class Uploader:
    """One run.

    :param fields: ``data`` and ``permissions``, which go along with each file.
    :param by_hash: the record's id is the hash; otherwise it is made of the name.
    :param passed: called with bytes that are done, from any thread; less than 0: done in vain.
    :param resume_above: bytes above which a file is sent in several requests.
    """

    def __init__(
        self,
        remote: Remote,
        fields: Mapping[str, Any],
        *,
        by_hash: bool,
        jobs: int,
        passed: Callable[[int], object],
        resume_above: float,
    ) -> None:
        self._remote = remote
        self._sender = Sender(remote, fields, passed, resume_above)
        self._by_hash = by_hash
        self._jobs = jobs
        self._turns: dict[str, threading.Lock] = {}
        self._arrived: set[str] = set()

    def upload(
        self, files: Sequence[LocalFile | BareRecord], idle: Callable[[], object]
    ) -> Iterator[Outcome]:
        """Send what the collection has not yet; gives what became of each.

        :raises Unusable: where nothing, or nothing more, can be sent.
        """
        if not self._by_hash:
            _refuse_twins(files)
        return results(self._tasks(files), self._jobs, idle)

    def _tasks(self, files: Sequence[LocalFile | BareRecord]) -> Iterator[Callable[[], Outcome]]:
        """One for each file, with its record as it was a moment before."""
        for start in range(0, len(files), GROUP):
            identified = list(self._identified(files[start : start + GROUP]))
            ids = dict.fromkeys(record_id for record_id, _ in identified if record_id)
            records = {record["id"]: record for record in self._remote.records(ids)}
            for record_id, file in identified:
                record = records.get(record_id)
                if isinstance(file, BareRecord):
                    yield partial(self._settle_bare, file, record)
                else:
                    yield partial(self._settle, record_id, file, record)

    def _identified(
        self, files: Sequence[LocalFile | BareRecord]
    ) -> Iterable[tuple[str, LocalFile | BareRecord]]:
        if self._by_hash:
            return results([partial(_hashed, f) for f in files], self._jobs, lambda: None)
        return [(_id_of(file), file) for file in files]

    def _settle_bare(self, bare: BareRecord, record: Record | None) -> Outcome:
        what = {"id": bare.record_id}
        try:
            had_file = record is not None and "attachment" in record
            if had_file:
                self._remote.remove(bare.record_id, whole=False)
                record = self._remote.record(bare.record_id)
            written = self._sender.describe(bare.record_id, bare.wanted, record)
            return Outcome(what, WRITTEN if written or had_file else UNCHANGED)
        except Failure as error:
            return self._remote.failed(what, error)

    def _settle(self, record_id: str, file: LocalFile, record: Record | None) -> Outcome:
        what = {"file": file.name, "id": record_id} if record_id else {"file": file.name}
        try:
            for _ in range(LOOKS):
                content = content_of(file)
                if self._by_hash and content.hash != record_id:
                    record_id = what["id"] = content.hash
                    record = self._remote.record(record_id)
                try:
                    status = self._send(record_id, file, content, record)
                    return Outcome(what, status, content.size, content.hash)
                except FileChanged:
                    record = self._remote.record(record_id)
            raise Failure("it changes while it is sent: run this again when nobody writes it")
        except (Failure, OSError) as error:
            return self._remote.failed(what, error)

    def _send(
        self, record_id: str, file: LocalFile, content: Content, record: Record | None
    ) -> str:
        if not self._by_hash:
            return self._sender.send(record_id, file, content, record)
        # Several files may have one content, and then one record.
        with self._turns.setdefault(record_id, threading.Lock()):
            if record_id in self._arrived:
                self._sender.passed(content.size)
                return UNCHANGED
            status = self._sender.send(record_id, file, content, record)
            self._arrived.add(record_id)
            return status


def _id_of(file: LocalFile | BareRecord) -> str:
    if isinstance(file, BareRecord):
        return file.record_id
    return file.record_id or id_for(file.name)


def _refuse_twins(files: Sequence[LocalFile | BareRecord]) -> None:
    """Raises :class:`Unusable` where two files would have one record."""
    found: dict[str, LocalFile] = {}
    for file in files:
        if isinstance(file, BareRecord):
            continue
        record_id = _id_of(file)
        if record_id in found:
            raise Unusable(
                f"{found[record_id].path} and {file.path} would have the same record {record_id}:"
                " rename one of them, or give --id hash."
            )
        found[record_id] = file


def _hashed(file: LocalFile | BareRecord) -> tuple[str, LocalFile | BareRecord]:
    if isinstance(file, BareRecord):
        return file.record_id, file
    try:
        return content_of(file).hash, file
    except OSError:
        return "", file  # It has no id; why, is told when it is to be sent.
