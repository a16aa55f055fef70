"""List the records that have an attachment: id, size, SHA-256, media type and name."""

import argparse
from typing import TYPE_CHECKING

from kinto_attachment import record_field
from kinto_attachment.commands.clients.remote import run_on_collection, tell_of_nothing
from kinto_attachment.commands.options import add_collection
from kinto_attachment.commands.reporting import CLEAN, say, say_json

if TYPE_CHECKING:
    from kinto_attachment.client.answers import Record
    from kinto_attachment.client.remote import Remote

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
            if arguments.json:
                say_json({"id": ""} | record[record_field.NAME] | {"id": record["id"]})
            else:
                _say_line(record)
    if empty:
        tell_of_nothing(arguments)
    return CLEAN


def _say_line(record: "Record") -> None:
    """The name comes last: it alone may have spaces."""
    attachment = record[record_field.NAME]
    say(record["id"], *(str(attachment.get(field, "-")) for field in FIELDS))
