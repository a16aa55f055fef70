"""List the records that have an attachment: id, size, SHA-256, media type and name."""

import argparse
import json
from typing import TYPE_CHECKING

from kinto_attachment import record_field
from kinto_attachment.commands.clients.remote import run_on_collection, tell_of_nothing
from kinto_attachment.commands.options import add_collection
from kinto_attachment.commands.reporting import CLEAN, printable

if TYPE_CHECKING:
    from kinto_attachment.client.remote import Record, Remote

NAME = "ls"

FIELDS = ("size", "hash", "mimetype", "filename")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_collection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return run_on_collection(arguments, _list)


def _list(arguments: argparse.Namespace, remote: "Remote") -> int:
    empty = True
    for record in remote.records():
        if record_field.NAME in record:
            empty = False
            print(_json(record) if arguments.json else _line(record))
    if empty:
        tell_of_nothing(arguments)
    return CLEAN


def _json(record: "Record") -> str:
    return json.dumps({"id": record["id"], **record[record_field.NAME]})


def _line(record: "Record") -> str:
    """The name comes last: it alone may have spaces."""
    attachment = record[record_field.NAME]
    return "\t".join([record["id"], *(printable(str(attachment.get(f, "-"))) for f in FIELDS)])
