"""Remove the attachments of records, or with --records the records themselves."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kinto_attachment.commands.clients.remote import run_on_collection
from kinto_attachment.commands.options import add_collection, add_jobs, record_id
from kinto_attachment.commands.reporting import Reporter

if TYPE_CHECKING:
    from kinto_attachment.client.outcomes import Outcome
    from kinto_attachment.client.remote import Remote

NAME = "delete"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument("ids", nargs="+", type=record_id, metavar="ID", help="of a record")
    parser.add_argument("--records", action="store_true", help="delete the records, too")
    add_collection(parser)
    add_jobs(parser, "removed")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return run_on_collection(arguments, _delete)


def _delete(arguments: argparse.Namespace, remote: "Remote") -> int:
    from kinto_attachment.client.removing import remove

    ids, jobs = list(dict.fromkeys(arguments.ids)), arguments.jobs
    reporter = Reporter(arguments.json, len(ids), " files")

    def outcomes() -> Iterator["Outcome"]:
        for outcome in remove(remote, ids, arguments.records, jobs, reporter.look):
            reporter.passed(1)
            yield outcome

    return reporter.tell(outcomes())
