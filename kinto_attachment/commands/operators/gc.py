"""Remove files that no record names. A dry run, unless --delete is given."""

import argparse
from typing import TYPE_CHECKING

from kinto_attachment.commands.options import add_ceiling, add_grace
from kinto_attachment.commands.reporting import CLEAN, ERROR, FINDINGS, complain, progress

if TYPE_CHECKING:
    from kinto_attachment.maintenance.garbage import GarbageReport

NAME = "gc"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")
    parser.add_argument("--delete", action="store_true", help="remove what is found")
    add_grace(parser)
    add_ceiling(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.attachments import custody
    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.ceiling import AboveCeiling
    from kinto_attachment.maintenance.garbage import Collector
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import StoreError

    with kinto(arguments.ini) as registry, progress(" objects") as tick:
        collector = Collector(registry, arguments.grace, tick)
        try:
            refusal = custody.refusal(Plugin.of_registry(registry).custody)
            if refusal:
                complain(f"Refused: {refusal}")
                return ERROR
            report = collector.look()
            refused = arguments.delete and report.above(arguments.ceiling)
            if arguments.delete and not refused:
                collector.act(report, arguments.ceiling)
        except StoreError as error:
            complain(f"The store failed, run it again: {error}")
            return ERROR
        except AboveCeiling as error:
            complain(str(error))
            return ERROR
    _summary(report)
    if refused:
        _say_refused(report, arguments.ceiling)
        return ERROR
    found = report.findings or report.expired
    return FINDINGS if found and not arguments.delete else CLEAN


def _summary(report: "GarbageReport") -> None:
    print(f"files: {report.files}, links: {report.links}")
    print(f"files that nothing names: {report.orphans}, removed: {report.removed_files}")
    print(f"links that no record backs: {report.dead_links}, removed: {report.removed_links}")
    if report.expired:
        print(f"old files kept for long enough: {report.expired}")
    if report.unfinished:
        print(f"unfinished uploads removed: {report.unfinished}")


def _say_refused(report: "GarbageReport", ceiling: float) -> None:
    complain(
        f"Refused: {report.share():.0f} % of the files would go, more than {ceiling:g} %. See that"
        " the ini names the right database and store; --ceiling 100 removes them all the same."
    )
