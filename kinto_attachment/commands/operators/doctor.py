"""Tell what does not agree: records, links, files. Changes nothing, unless --repair is given."""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from kinto_attachment.commands.options import add_ceiling, add_grace
from kinto_attachment.commands.reporting import (
    CLEAN,
    ERROR,
    FINDINGS,
    complain,
    printable,
    progress,
)

if TYPE_CHECKING:
    from kinto.core.types import Registry

    from kinto_attachment.maintenance.doctor.findings import Finding
    from kinto_attachment.storage import CompleteStore

NAME = "doctor"
REPAIRS = ("unlinked", "dead-link", "unnamed", "missing")
SHOWN = 20
"""Findings of a kind that are shown one by one; --json shows all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")
    parser.add_argument("--hashes", action="store_true", help="read files, compare their SHA-256")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
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


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.ceiling import AboveCeiling
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import CompleteStore, StoreError

    with kinto(arguments.ini) as registry, progress(" objects") as tick:
        store = Plugin.of_registry(registry).store
        if not isinstance(store, CompleteStore):
            complain("This backend can't list or read files: there is nothing to compare with.")
            return ERROR
        try:
            return _examine(arguments, registry, store, tick)
        except StoreError as error:
            complain(f"The store failed, run it again: {error}")
        except AboveCeiling as error:
            complain(str(error))
        return ERROR


def _examine(
    arguments: argparse.Namespace,
    registry: "Registry",
    store: "CompleteStore",
    tick: Callable[[int], object],
) -> int:
    from kinto_attachment.attachments import custody
    from kinto_attachment.maintenance.doctor.inspection import Inspector
    from kinto_attachment.maintenance.doctor.repair import Repairer
    from kinto_attachment.plugin import Plugin

    refusal = custody.refusal(Plugin.of_registry(registry).custody) if arguments.repair else None
    if refusal:
        complain(f"Refused: {refusal}")
        return ERROR
    inspector = Inspector(registry, store, arguments.grace, arguments.hashes, tick)
    repairer = Repairer(registry, store, inspector, arguments.ceiling, arguments.foreign)
    counted: Counter[str] = Counter()
    for finding in inspector.findings():
        counted[finding.kind] += 1
        repairer.note(finding)
        _show(finding, arguments.json, counted[finding.kind])
    refused = repairer.refusal(arguments.repair) if arguments.repair else None
    repaired = 0
    if arguments.repair and not refused and not arguments.dry_run:
        repaired = repairer.repair(arguments.repair)
    _summary(counted, repaired, arguments)
    if refused:
        complain(refused)
        return ERROR
    return FINDINGS if counted.total() > repaired else CLEAN


def _show(finding: "Finding", as_json: bool, number: int) -> None:
    if as_json:
        line = {"kind": finding.kind, "place": finding.place, "detail": finding.detail}
        print(json.dumps(line))
    elif number <= SHOWN:
        print(printable(f"{finding.kind:10} {finding.place}: {finding.detail}"))
    elif number == SHOWN + 1:
        print(f"{finding.kind:10} ... and more, which --json shows")


def _summary(counted: Counter[str], repaired: int, arguments: argparse.Namespace) -> None:
    from kinto_attachment.maintenance.doctor.findings import KINDS

    if arguments.json:
        found = {kind: counted[kind] for kind in KINDS}
        print(json.dumps({"summary": found, "repaired": repaired}))
        return
    for kind, meaning in KINDS.items():
        print(f"{counted[kind]:8}  {kind:10} {meaning}")
    if arguments.repair:
        planned = f"{counted[arguments.repair]} would be repaired"
        print(planned if arguments.dry_run else f"repaired: {repaired}")
