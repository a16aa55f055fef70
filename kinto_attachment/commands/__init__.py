"""The ``kinto-attachment`` command line: one file a command, one entry in :data:`COMMANDS`.

They end with 0, 1 or 2 (see reporting.py): where one can't go on, it may
``raise SystemExit("one sentence")``, which is told on stderr, and is 2. Wrong arguments end with
2, too, Ctrl-C with 130.
"""

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Protocol

from kinto_attachment.commands import serve
from kinto_attachment.commands.clients import delete, download, ls, upload
from kinto_attachment.commands.operators import claim, copy, doctor, gc, relocate, verify
from kinto_attachment.commands.reporting import ERROR, CannotLook, complain

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
    _open_closed_streams()
    arguments = _parser().parse_args(argv)
    try:
        with _without_warnings():
            code: int = arguments.run(arguments)
    except CannotLook:
        return ERROR
    except SystemExit as ended:
        if not isinstance(ended.code, str):
            raise
        complain(ended.code)
        return ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _open_closed_streams() -> None:
    """Whoever closed one, as by ``>&-``, wants to hear nothing there. Python has None for it then,
    and the next file that is opened would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Libraries warn whoever develops with them, at each start; cron would mail that to whoever
    runs the command. Who asks for warnings, by ``-W`` or ``PYTHONWARNINGS``, gets them."""
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
        yield


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
