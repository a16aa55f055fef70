"""Fetch the files of a collection's records into a folder: those that are not there yet."""

import argparse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from kinto_attachment import record_field
from kinto_attachment.commands.clients.remote import run_on_collection, tell_of_nothing
from kinto_attachment.commands.options import add_collection, add_jobs, record_id
from kinto_attachment.commands.reporting import Reporter

if TYPE_CHECKING:
    from kinto_attachment.client.remote import Remote

NAME = "download"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument(
        "ids", nargs="*", type=record_id, metavar="ID", help="id of a record (default: all)"
    )
    parser.add_argument("--to", required=True, metavar="FOLDER", help="where the files go")
    add_collection(parser)
    add_jobs(parser, "fetched")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return run_on_collection(arguments, _download)


def _download(arguments: argparse.Namespace, remote: "Remote") -> int:
    from kinto_attachment.client.downloading import Downloader, is_complete
    from kinto_attachment.client.outcomes import FAILED, Outcome
    from kinto_attachment.client.partial_file import taken

    found = remote.records(arguments.ids or None)
    records = {record["id"]: record for record in found if record_field.NAME in record}
    missing = [
        Outcome({"id": wanted}, FAILED, error="no such record, or it has no attachment")
        for wanted in dict.fromkeys(arguments.ids)
        if wanted not in records
    ]
    if not (records or arguments.ids):
        tell_of_nothing(arguments)
    attachments = [record[record_field.NAME] for record in records.values()]
    total = sum(file["size"] for file in attachments if is_complete(file))
    with taken(Path(arguments.to)):
        reporter = Reporter(arguments.json, total)
        downloader = Downloader(remote, Path(arguments.to), records, passed=reporter.passed)
        if not arguments.ids:
            downloader.forget_old_partial_files()
        fetched = downloader.download(arguments.jobs, reporter.look)
        return reporter.tell(chain(missing, fetched))
