"""Remove files that no record names. A dry run, unless --delete is given."""

import argparse
import sys
from typing import Any

NAME = "gc"

CLEAN, FINDINGS, ERROR = 0, 1, 2
"""Exit codes: nothing to do or all done; a dry run found something; it could not be done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See :class:`kinto_attachment.commands.Command`."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")
    parser.add_argument("--delete", action="store_true", help="remove what is found")
    parser.add_argument(
        "--grace",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="leave alone what is younger (default: %(default)s)",
    )
    parser.add_argument(
        "--ceiling",
        type=float,
        default=10,
        metavar="PERCENT",
        help="refuse to remove more than this share of all files (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """See :class:`kinto_attachment.commands.Command`."""
    from kinto_attachment.commands.environment import kinto
    from kinto_attachment.garbage import Collector
    from kinto_attachment.storage import StorageError

    with kinto(arguments.ini) as registry, _progress() as tick:
        collector = Collector(registry, arguments.grace, tick)
        try:
            report = collector.look()
            refused = arguments.delete and report.above(arguments.ceiling)
            if arguments.delete and not refused:
                collector.act(report)
        except StorageError as error:
            print(f"The store failed, run it again: {error}", file=sys.stderr)
            return ERROR
    _summary(report)
    if refused:
        _say_refused(report, arguments.ceiling)
        return ERROR
    return FINDINGS if report.findings and not arguments.delete else CLEAN


def _summary(report: Any) -> None:
    print(f"files: {report.files}, links: {report.links}")
    print(f"files that nothing names: {report.orphans}, removed: {report.removed_files}")
    print(f"links that no record backs: {report.dead_links}, removed: {report.removed_links}")
    if report.unfinished:
        print(f"unfinished uploads removed: {report.unfinished}")


def _say_refused(report: Any, ceiling: float) -> None:
    print(
        f"Refused: {report.share():.0f} % of the files would go, more than {ceiling:g} %. See that"
        " the ini names the right database and store; --ceiling 100 removes them all the same.",
        file=sys.stderr,
    )


def _progress() -> Any:
    """A bar on a terminal, nothing elsewhere. Its context gives the function that moves it."""
    from contextlib import contextmanager

    from tqdm import tqdm

    @contextmanager
    def bar() -> Any:
        with tqdm(unit=" objects", disable=None, leave=False) as shown:
            yield shown.update

    return bar()
