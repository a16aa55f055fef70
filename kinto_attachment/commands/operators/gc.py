"""Remove files that no record names. A dry run, unless --delete is given."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from kinto_attachment.commands.options import add_ceiling, add_grace, add_ini, add_reporting
from kinto_attachment.commands.reporting import (
    CLEAN,
    ERROR,
    FINDINGS,
    SHOWN,
    Teller,
    complain,
    progress,
)

if TYPE_CHECKING:
    from kinto_attachment.maintenance.garbage import Garbage, GarbageReport

NAME = "gc"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_ini(parser)
    parser.add_argument("--delete", action="store_true", help="remove what is found")
    add_grace(parser)
    add_ceiling(parser)
    add_reporting(parser, verbose=f"name each file and link, and not {SHOWN} of a kind")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.attachments import custody
    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.garbage import Collector
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.records import last_runs

    teller = Teller(arguments, most=SHOWN)
    with kinto(arguments.ini) as registry, progress(" objects", arguments.quiet) as tick:
        refusal = custody.refusal(Plugin.of_registry(registry).custody)
        if refusal:
            complain(f"Refused: {refusal}")
            return ERROR
        collector = Collector(registry, arguments.grace, tick)
        if not arguments.delete:
            report = collector.look(lambda garbage: _tell_found(teller, garbage))
            return teller.sum_up(_code(report), _lines(report), asdict(report))
        report = collector.look()
        if report.above(arguments.ceiling):
            teller.sum_up(ERROR, _lines(report), asdict(report))
            complain(_refused(report, arguments.ceiling))
            return ERROR
        collector.act(report, arguments.ceiling, lambda garbage: _tell_removed(teller, garbage))
        last_runs.publish(registry, last_runs.GC, asdict(report))
    return teller.sum_up(CLEAN, _lines(report), asdict(report))


def _code(report: "GarbageReport") -> int:
    found = report.findings or report.expired or report.expired_uploads
    return FINDINGS if found else CLEAN


def _tell_found(teller: Teller, garbage: "Garbage") -> None:
    facts = {**asdict(garbage), "removed": False}
    teller.finding(garbage.kind, f"{garbage.kind:10} {garbage.named()}", facts)


def _tell_removed(teller: Teller, garbage: "Garbage") -> None:
    facts = {**asdict(garbage), "removed": True}
    teller.done(garbage.kind, f"{garbage.kind:10} {garbage.named()}: removed", facts)


def _lines(report: "GarbageReport") -> Iterator[str]:
    yield f"files: {report.files}, links: {report.links}"
    yield f"files that nothing names: {report.orphans}, removed: {report.removed_files}"
    yield f"links that no record backs: {report.dead_links}, removed: {report.removed_links}"
    if report.expired:
        yield f"old files kept for long enough: {report.expired}"
    if report.uploads:
        yield f"uploads that may go on: {report.uploads}, of {report.upload_bytes} bytes"
    if report.expired_uploads:
        yield f"uploads that were not finished in time: {report.expired_uploads}"
    if report.unfinished:
        yield f"unfinished uploads removed: {report.unfinished}"


def _refused(report: "GarbageReport", ceiling: float) -> str:
    return (
        f"Refused: {report.share():.0f} % of the files would go, more than {ceiling:g} %. See that"
        " the ini names the right database and store; --ceiling 100 removes them all the same."
    )
