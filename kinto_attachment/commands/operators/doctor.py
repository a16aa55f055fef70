"""Tell what does not agree: records, links, files. Changes nothing, unless --repair is given."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
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
    from kinto.core.types import Registry

    from kinto_attachment.rows.uploads import Unfinished
    from kinto_attachment.storage import CompleteStore

NAME = "doctor"
REPAIRS = ("unlinked", "dead-link", "unnamed", "missing")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_ini(parser)
    parser.add_argument("--hashes", action="store_true", help="read files, compare their SHA-256")
    parser.add_argument("--repair", choices=REPAIRS, help="what to mend")
    parser.add_argument(
        "--foreign",
        action="store_true",
        help="with --repair unnamed: remove also files whose name is none of ours, as those are"
        " that 8.x stored, that its keep_old_files kept, or that other programs put there",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what --repair would do")
    add_grace(parser)
    add_ceiling(parser)
    add_reporting(parser, verbose=f"show each finding, and not {SHOWN} of a kind")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import CompleteStore

    with kinto(arguments.ini) as registry, progress(" objects", arguments.quiet) as tick:
        store = Plugin.of_registry(registry).store
        if not isinstance(store, CompleteStore):
            complain("This backend can't list or read files: there is nothing to compare with.")
            return ERROR
        return _examine(arguments, registry, store, tick)


def _examine(
    arguments: argparse.Namespace,
    registry: "Registry",
    store: "CompleteStore",
    tick: Callable[[int], object],
) -> int:
    from kinto_attachment.attachments import custody
    from kinto_attachment.maintenance import expired_uploads
    from kinto_attachment.maintenance.doctor.findings import KINDS
    from kinto_attachment.maintenance.doctor.inspection import Inspector
    from kinto_attachment.maintenance.doctor.repair import Repairer
    from kinto_attachment.plugin import Plugin

    ask = custody.refusal if arguments.repair else custody.absence
    refusal = ask(Plugin.of_registry(registry).custody)
    if refusal:
        complain(f"Refused: {refusal}")
        return ERROR
    inspector = Inspector(registry, store, arguments.grace, arguments.hashes, tick)
    repairer = Repairer(registry, store, inspector, arguments.ceiling, arguments.foreign)
    teller, counted = Teller(arguments, most=SHOWN), Counter[str]()
    for finding in inspector.findings():
        counted[finding.kind] += 1
        repairer.note(finding)
        facts = {"kind": finding.kind, "place": finding.place, "detail": finding.detail}
        said = f"{finding.kind:10} {finding.place}: {finding.detail}"
        teller.finding(finding.kind, said, facts)
    refused = repairer.refusal(arguments.repair) if arguments.repair else None
    repaired = 0
    if arguments.repair and not refused and not arguments.dry_run:
        repaired = repairer.repair(arguments.repair)
    code = FINDINGS if counted.total() > repaired else CLEAN
    unfinished = expired_uploads.unfinished(registry)
    sums = {
        "summary": {kind: counted[kind] for kind in KINDS},
        "repaired": repaired,
        "unfinished": asdict(unfinished),
    }
    lines = [*_lines(counted, repaired, arguments), *_unfinished_line(unfinished)]
    teller.sum_up(ERROR if refused else code, lines, sums)
    if refused:
        complain(refused)
        return ERROR
    return code


def _unfinished_line(found: "Unfinished") -> Iterator[str]:
    if found.uploads and found.oldest is not None:
        since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.oldest))
        yield (
            f"uploads that may go on: {found.uploads}, of {found.received} bytes, the oldest since"
            f" {since}"
        )


def _lines(counted: Counter[str], repaired: int, arguments: argparse.Namespace) -> Iterator[str]:
    from kinto_attachment.maintenance.doctor.findings import KINDS

    for kind, meaning in KINDS.items():
        yield f"{counted[kind]:8}  {kind:10} {meaning}"
    if arguments.repair:
        planned = f"{counted[arguments.repair]} would be repaired"
        yield planned if arguments.dry_run else f"repaired: {repaired}"
