"""Fetches the files of records into a folder, each as a whole or not at all."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import requests

from kinto_attachment.client import naming
from kinto_attachment.client.answers import Record, is_complete
from kinto_attachment.client.outcomes import Failure, Outcome, Temporary, Tries, named_failures
from kinto_attachment.client.partial_file import (
    Damaged,
    PartialFile,
    Writing,
    remove_other_partial_files,
)
from kinto_attachment.client.remote import Remote
from kinto_attachment.client.threads import results

DOWNLOADED, UNCHANGED, GONE = "downloaded", "unchanged", "gone"

BLOCK = 256 * 1024
"""Bytes that are received at once."""

MOVED_ON = frozenset({403, 404, 410, 412})
"""Statuses that a store has for a file that was replaced or removed."""


class Downloader:
    """One run.

    :param records: by id; all of them have an attachment.
    :param path_field: of a record, which has the path that its file is to have in the folder.
    :param passed: called with bytes that are done, from any thread; less than 0: done in vain.
    """

    def __init__(
        self,
        remote: Remote,
        folder: Path,
        records: Mapping[str, Record],
        *,
        path_field: str | None,
        passed: Callable[[int], object],
    ) -> None:
        self._remote = remote
        self._folder = folder
        self._passed = passed
        self._path_field = path_field
        self._records = dict(records)
        wanted = {record_id: self._wanted_name(record) for record_id, record in records.items()}
        self._names = naming.names_for(wanted)
        self._taken = {naming.key(name): record_id for record_id, name in self._names.items()}
        self._folders = {f for name in self._names.values() for f in naming.folders_of(name)}
        self._taken |= {naming.key(folder): "" for folder in self._folders}

    def download(self, jobs: int, idle: Callable[[], object]) -> Iterator[Outcome]:
        """Fetch what the folder has not yet; gives what became of each record.

        :raises Unusable: where nothing more can be fetched.
        """
        tasks = [partial(self._settle, record) for record in self._records.values()]
        return results(tasks, jobs, idle)

    def arrived(self) -> Iterator[tuple[str, Record]]:
        """Names in the folder, and records as they were when their files came."""
        for record_id, record in self._records.items():
            yield self._names[record_id], record

    def forget_old_partial_files(self) -> None:
        """Remove unfinished files that no record wants any more."""
        wanted = set()
        for record_id, record in self._records.items():
            attachment = record["attachment"]
            if is_complete(attachment):
                wanted.add(self._partial_file(attachment, self._names[record_id]).path)
        folders = [self._folder, *(self._folder / name for name in self._folders)]
        remove_other_partial_files(folders, wanted)

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
            now = self._remote.record(record["id"]) or {}
            if now.get("attachment") == record["attachment"]:
                raise
            if is_complete(record["attachment"]):
                self._partial_file(record["attachment"], what["file"]).discard()
            if "attachment" not in now:
                del self._records[record["id"]]
                return Outcome(what, GONE)
        name = self._name_of_new(now)
        self._records[record["id"]], self._names[record["id"]] = now, name
        return self._fetch(now["attachment"], {**what, "file": name})

    def _wanted_name(self, record: Record) -> str:
        path = record.get(self._path_field) if self._path_field else None
        if isinstance(path, str):
            return naming.safe_path(path)
        filename = record["attachment"].get("filename")
        return naming.safe(filename if isinstance(filename, str) else record["id"])

    def _name_of_new(self, record: Record) -> str:
        wanted, record_id = self._wanted_name(record), record["id"]
        names = (wanted, naming.with_id(wanted, record_id))
        return next(
            name
            for name in chain(names, naming.alternatives(wanted, record_id))
            if self._taken.setdefault(naming.key(name), record_id) == record_id
        )

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


def _continues(response: requests.Response, start: int, size: int) -> bool:
    """Whether the body is what we lack, to the last byte."""
    ends = {f"bytes {start}-{size - 1}/{size}", f"bytes {start}-{size - 1}/*"}
    # Ranges count what is sent, not what comes out of a gzip.
    is_plain = response.headers.get("Content-Encoding", "identity") == "identity"
    return response.headers.get("Content-Range") in ends and start > 0 and is_plain
