"""The ``kinto-attachment`` command line: one file a command, one entry in :data:`COMMANDS`.

A command that can't go on ends with ``raise SystemExit("one sentence")``, which Python prints
on stderr, with exit code 1. Wrong arguments end with 2, Ctrl-C with 130.
"""

import argparse
from collections.abc import Sequence
from typing import Protocol

from kinto_attachment.commands import serve
from kinto_attachment.commands.clients import delete, download, ls, upload
from kinto_attachment.commands.operators import claim, copy, doctor, gc, relocate, verify

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 and the signal's number."""


class Command(Protocol):
    """What the module of a command has. The first line of its docstring is its help."""

    NAME: str
    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; returns the exit code."""


COMMANDS: tuple[Command, ...] = (
    serve,
    upload,
    download,
    delete,
    ls,
    gc,
    doctor,
    claim,
    copy,
    relocate,
    verify,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kinto-attachment", description="Attach files to Kinto's records."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        summary = (command.__doc__ or "").strip().splitlines()[0]
        subparser = commands.add_parser(command.NAME, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser
