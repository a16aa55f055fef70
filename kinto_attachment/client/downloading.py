"""Fetches the files of records into a folder, each as a whole or not at all."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import requests

from kinto_attachment.client import naming
from kinto_attachment.client.outcomes import Failure, Outcome, Temporary, Tries, named_failures
from kinto_attachment.client.partial_file import (
    Damaged,
    PartialFile,
    Writing,
    remove_other_partial_files,
)
from kinto_attachment.client.remote import Record, Remote
from kinto_attachment.client.threads import results

DOWNLOADED, UNCHANGED, GONE = "downloaded", "unchanged", "gone"

BLOCK = 256 * 1024
"""Bytes that are received at once."""

MOVED_ON = frozenset({403, 404, 410, 412})
"""Statuses that a store has for a file that was replaced or removed."""


class Downloader:
    """One run.

    :param records: by id.
    :param passed: called with bytes that are done, from any thread; less than 0: done in vain.
    """

    def __init__(
        self,
        remote: Remote,
        folder: Path,
        records: Mapping[str, Record],
        *,
        passed: Callable[[int], object],
    ) -> None:
        self._remote = remote
        self._folder = folder
        self._passed = passed
        self._records = records
        filenames = {
            record_id: str(r["attachment"].get("filename")) for record_id, r in records.items()
        }
        self._names = naming.names_for(filenames)
        self._taken = {naming.key(name): record_id for record_id, name in self._names.items()}

    def download(self, jobs: int, idle: Callable[[], object]) -> Iterator[Outcome]:
        """Fetch what the folder has not yet; gives what became of each record.

        :raises Unusable: where nothing more can be fetched.
        """
        tasks = (partial(self._settle, record) for record in self._records.values())
        return results(tasks, jobs, idle)

    def forget_old_partial_files(self) -> None:
        """Remove unfinished files that no record wants any more."""
        wanted = set()
        for record_id, record in self._records.items():
            attachment = record["attachment"]
            if is_complete(attachment):
                wanted.add(self._partial_file(attachment, self._names[record_id]).path)
        remove_other_partial_files(self._folder, wanted)

    def _settle(self, record: Record) -> Outcome:
        what = {"file": self._names[record["id"]], "id": record["id"]}
        try:
            return self._fetch_current(record, what)
        except (Failure, OSError) as error:
            return self._remote.failed(what, error)

    def _fetch_current(self, record: Record, what: dict[str, str]) -> Outcome:
        """Once more where the record has got another file meanwhile."""
        try:
            return self._fetch(record["attachment"], what)
        except Failure as error:
            if error.status not in MOVED_ON | {0}:
                raise
            now = (self._remote.record(record["id"]) or {}).get("attachment")
            if now == record["attachment"]:
                raise
            if is_complete(record["attachment"]):
                self._partial_file(record["attachment"], what["file"]).discard()
            if now is None:
                return Outcome(what, GONE)
        return self._fetch(now, {**what, "file": self._name_of_new(now, record["id"])})

    def _name_of_new(self, attachment: Any, record_id: str) -> str:
        name = naming.safe(str(attachment.get("filename")))
        if self._taken.setdefault(naming.key(name), record_id) == record_id:
            return name
        return naming.with_id(name, record_id)

    def _fetch(self, attachment: Any, what: dict[str, str]) -> Outcome:
        if not is_complete(attachment):
            raise Failure("its attachment has no location, size or SHA-256: upload the file again")
        file = self._partial_file(attachment, what["file"])
        size, digest = attachment["size"], attachment["hash"]
        if file.is_done():
            self._passed(size)
            return Outcome(what, UNCHANGED, size, digest)
        self._until_whole(file, self._remote.url(attachment["location"]), digest)
        return Outcome(what, DOWNLOADED, size, digest)

    def _partial_file(self, attachment: Any, name: str) -> PartialFile:
        return PartialFile(self._folder, name, attachment["size"], attachment["hash"])

    def _until_whole(self, file: PartialFile, url: str, digest: str) -> None:
        tries, damages = Tries(self._remote.retries), 0
        while True:
            try:
                return self._go_on(file, url, digest, tries)
            except Temporary as error:
                tries.again(error)
            except Damaged:
                file.discard()
                damages += 1
                if damages == 2:
                    raise Failure(
                        "what arrives is not what the record says, by its size or SHA-256: look"
                        " at the file on the server, or upload it again"
                    ) from None

    def _go_on(self, file: PartialFile, url: str, digest: str, tries: Tries) -> None:
        with file.opened() as writing:
            before = writing.count
            self._passed(before)
            try:
                if before < file.size:
                    self._receive(writing, file.size, url, digest)
                file.finish(writing)
            except BaseException:
                self._passed(-writing.count)
                if writing.count > before:
                    tries.progressed()
                raise

    def _receive(self, writing: Writing, size: int, url: str, digest: str) -> None:
        headers, own_headers = {"Accept-Encoding": "identity"}, {}
        if writing.count:
            headers["Range"] = f"bytes={writing.count}-"
            own_headers["If-Range"] = f'"{digest}"'  # Others have ETags that we do not know.
        try:
            response = self._remote.transfers.open(url, headers, own_headers)
        except Failure as error:
            if error.status == 416:
                raise Damaged from error
            raise
        with response, named_failures():
            if response.status_code == 206 and not _continues(response, writing.count, size):
                raise Damaged
            if response.status_code != 206:
                self._passed(-writing.count)
                writing.restart()
            for block in response.iter_content(BLOCK):
                writing.write(block)
                self._passed(len(block))
        if writing.count < size:
            raise Temporary("the connection ended before the file did")


def is_complete(attachment: Any) -> bool:
    """Whether it has what a download needs, in the form that it needs."""
    return (
        isinstance(attachment, dict)
        and isinstance(attachment.get("location"), str)
        and isinstance(attachment.get("size"), int)
        and re.fullmatch("[0-9a-f]{64}", str(attachment.get("hash"))) is not None
    )


def _continues(response: requests.Response, start: int, size: int) -> bool:
    """Whether the body is what we lack, to the last byte."""
    ends = {f"bytes {start}-{size - 1}/{size}", f"bytes {start}-{size - 1}/*"}
    return response.headers.get("Content-Range") in ends and start > 0 and _is_plain(response)


def _is_plain(response: requests.Response) -> bool:
    """Ranges count what is sent, not what comes out of a gzip."""
    return response.headers.get("Content-Encoding", "identity") == "identity"
