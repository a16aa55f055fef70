"""Send files to records of a collection: those that are not there yet, or differ."""

import argparse
import json
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kinto_attachment.commands.clients.remote import add_path_field, run_on_collection
from kinto_attachment.commands.options import add_collection, add_jobs, size
from kinto_attachment.commands.reporting import Reporter

if TYPE_CHECKING:
    from kinto_attachment.client.ids import BareRecord, LocalFile
    from kinto_attachment.client.remote import Remote

NAME = "upload"

EXAMPLES = {"data": '{"title": "At the sea"}', "permissions": '{"read": ["system.Everyone"]}'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a file, or a folder for all that is not hidden in it",
    )
    parser.add_argument(
        "--id",
        choices=("name", "hash"),
        help="what the id of a file's record is made of (default: name)",
    )
    for field, example in EXAMPLES.items():
        parser.add_argument(
            f"--{field}",
            type=partial(_object, example),
            metavar="JSON",
            help=f"{field} for each record that is sent",
        )
    add_path_field(
        parser, "field of a record that is to have its file's path in the folder, as in path"
    )
    parser.add_argument(
        "--records",
        action="store_true",
        help="FILE is a folder of `download --records`: make the collection the same, with the"
        " ids, fields and files that were there",
    )
    parser.add_argument(
        "--resumable-above",
        type=size,
        metavar="SIZE",
        help="send larger files in several requests, where the server takes that, so that an"
        " upload which breaks off goes on where it was (default: 8MB)",
    )
    parser.add_argument(
        "--no-resume", action="store_true", help="send each file in one request, whatever its size"
    )
    add_collection(parser)
    add_jobs(parser, "sent")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    return run_on_collection(arguments, _upload)


def _upload(arguments: argparse.Namespace, remote: "Remote") -> int:
    from kinto_attachment.client.outcomes import Unusable
    from kinto_attachment.client.remote import FIELDS
    from kinto_attachment.client.resuming import ABOVE
    from kinto_attachment.client.uploading import Uploader

    above = arguments.resumable_above
    if arguments.no_resume and above is not None:
        raise Unusable("--no-resume and --resumable-above contradict each other: leave one out.")
    if arguments.records:
        files, total = _noted(arguments)
        remote.fields = None
    else:
        files, total = _found(arguments)
        if arguments.path_field:
            remote.fields = (*FIELDS, arguments.path_field)
    given = {"data": arguments.data, "permissions": arguments.permissions}
    fields = {name: value for name, value in given.items() if value is not None}
    reporter = Reporter(arguments.json, total)
    uploader = Uploader(
        remote,
        fields,
        by_hash=arguments.id == "hash",
        jobs=arguments.jobs,
        passed=reporter.passed,
        resume_above=math.inf if arguments.no_resume else ABOVE if above is None else above,
    )
    return reporter.tell(uploader.upload(files, reporter.look))


def _found(arguments: argparse.Namespace) -> tuple[list["LocalFile | BareRecord"], int]:
    """The files that are named, and their bytes."""
    from kinto_attachment.client.ids import local_files
    from kinto_attachment.client.outcomes import Unusable

    try:
        files = list(local_files(arguments.files, arguments.path_field))
        return [*files], sum(file.path.stat().st_size for file in files)
    except OSError as error:
        raise Unusable(f"{error.filename or error} can't be read: name another FILE.") from error


def _noted(arguments: argparse.Namespace) -> tuple[list["LocalFile | BareRecord"], int]:
    """The records of a folder that was downloaded, and the bytes of their files."""
    from kinto_attachment.client import notes
    from kinto_attachment.client.ids import LocalFile
    from kinto_attachment.client.outcomes import Unusable

    if len(arguments.files) > 1 or arguments.id or arguments.data or arguments.path_field:
        raise Unusable(
            "--records takes one folder, and ids and fields as they are noted in it: leave --id,"
            " --data and --path-field out."
        )
    records = notes.read(Path(arguments.files[0]))
    paths = [one.path for one in records if isinstance(one, LocalFile)]
    return records, sum(path.stat().st_size for path in paths if path.is_file())


def _object(example: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON object: write it as in '{example}'")
    return value
