"""Fetch the files of a collection's records into a folder: those that are not there yet."""

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kinto_attachment import record_field
from kinto_attachment.commands.clients.remote import (
    add_path_field,
    run_on_collection,
    tell_of_nothing,
)
from kinto_attachment.commands.options import add_collection, add_jobs, record_id
from kinto_attachment.commands.reporting import Reporter

if TYPE_CHECKING:
    from kinto_attachment.client.answers import Record
    from kinto_attachment.client.downloading import Downloader
    from kinto_attachment.client.outcomes import Outcome
    from kinto_attachment.client.remote import Remote

NAME = "download"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument(
        "ids", nargs="*", type=record_id, metavar="ID", help="id of a record (default: all)"
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="where the files go")
    add_path_field(
        parser, "field of a record with the path that its file gets in FOLDER, as in path"
    )
    parser.add_argument(
        "--records",
        action="store_true",
        help="note the records of the whole collection in FOLDER, too, for `upload --records`",
    )
    add_collection(parser)
    add_jobs(parser, "fetched")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return run_on_collection(arguments, _download)


def _download(arguments: argparse.Namespace, remote: "Remote") -> int:
    from kinto_attachment.client.answers import is_complete
    from kinto_attachment.client.downloading import Downloader
    from kinto_attachment.client.partial_file import taken

    to = Path(arguments.to)
    all_records = _records(arguments, remote)
    records = {one: record for one, record in all_records.items() if record_field.NAME in record}
    if not (records or arguments.ids):
        tell_of_nothing(arguments)
    attachments = [record[record_field.NAME] for record in records.values()]
    total = sum(file["size"] for file in attachments if is_complete(file))
    with taken(to):
        reporter = Reporter(arguments.json, total)
        downloader = Downloader(
            remote, to, records, path_field=arguments.path_field, passed=reporter.passed
        )
        if not arguments.ids:
            downloader.forget_old_partial_files()
        fetched = downloader.download(arguments.jobs, reporter.look)
        code = reporter.tell(chain(_missing(arguments.ids, records), fetched))
        if arguments.records:
            _note(to, all_records, downloader)
        return code


def _records(arguments: argparse.Namespace, remote: "Remote") -> dict[str, "Record"]:
    """By id: those that are asked for, with the fields that are asked for."""
    from kinto_attachment.client.outcomes import Unusable
    from kinto_attachment.client.remote import FIELDS

    if arguments.records and arguments.ids:
        raise Unusable("--records notes the whole collection: leave the ids out.")
    if arguments.records:
        remote.fields = None
    elif arguments.path_field:
        remote.fields = (*FIELDS, arguments.path_field)
    found = remote.records(arguments.ids or None, with_attachment=not arguments.records)
    return {record["id"]: record for record in found}


def _missing(ids: list[str], records: dict[str, "Record"]) -> "Iterator[Outcome]":
    from kinto_attachment.client.outcomes import FAILED, Outcome

    for wanted in dict.fromkeys(ids):
        if wanted not in records:
            yield Outcome({"id": wanted}, FAILED, error="no such record, or it has no attachment")


def _note(to: Path, records: dict[str, "Record"], downloader: "Downloader") -> None:
    from kinto_attachment.client import notes
    from kinto_attachment.client.outcomes import Unusable

    bare = ((None, record) for record in records.values() if record_field.NAME not in record)
    try:
        notes.write(to, chain(bare, downloader.arrived()))
    except OSError as error:
        raise Unusable(
            f"{to / notes.NAME} can't be written ({error.strerror}): the files are there, run it"
            " again."
        ) from error
