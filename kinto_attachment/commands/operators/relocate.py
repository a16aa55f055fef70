"""Rewrite the beginning of the location in records. A dry run, unless --apply is given."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from kinto_attachment.commands.options import add_ini, add_reporting
from kinto_attachment.commands.reporting import (
    CLEAN,
    ERROR,
    FINDINGS,
    Teller,
    complain,
    progress,
)

if TYPE_CHECKING:
    from kinto.core.types import Registry

    from kinto_attachment.maintenance.relocation import Change, Move, RelocationReport

NAME = "relocate"

EXAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_ini(parser)
    parser.add_argument(
        "--from",
        required=True,
        dest="old",
        metavar="URL",
        help="what locations begin with now; '' for bare keys",
    )
    new = parser.add_mutually_exclusive_group(required=True)
    new.add_argument(
        "--to",
        dest="new",
        metavar="URL",
        help="what they are to begin with: the ini's base_url, or a part of it; '' for bare keys",
    )
    new.add_argument(
        "--own",
        action="store_true",
        help="make them the URLs at which the plugin itself serves the files, as it does without"
        " base_url",
    )
    parser.add_argument("--apply", action="store_true", help="change the records")
    parser.add_argument(
        "--outside",
        action="store_true",
        help="with --apply: take also a --to that is not the ini's base_url",
    )
    add_reporting(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.relocation import Move

    move = Move(arguments.old, arguments.new)
    refusal = move.mistake()
    if refusal is None:
        with kinto(arguments.ini, "Run it again: it goes on.") as registry:
            refusal = _contradiction(registry) if arguments.own else None
            if refusal is None and arguments.apply:
                refusal = _refusal(registry) or _outside(arguments, registry)
            if refusal is None:
                return _relocate(arguments, registry, move)
    complain(refusal)
    return ERROR


def _outside(arguments: argparse.Namespace, registry: "Registry") -> str | None:
    """Why records would get locations that this server does not know, and what to do."""
    from kinto_attachment.plugin import Plugin

    if arguments.own or arguments.outside:
        return None
    base_url = Plugin.of_registry(registry).settings.base_url
    # An empty --to begins any URL, and is meant only where base_url is empty, too.
    if base_url == arguments.new or (arguments.new and (base_url or "").startswith(arguments.new)):
        return None
    says = "no base_url" if base_url is None else f"base_url = {base_url}"
    return (
        f"The ini has {says}, so the server would not know locations with --to {arguments.new!r}:"
        " change the ini first, or --to, or say --outside."
    )


def _contradiction(registry: "Registry") -> str | None:
    """Why new files would get other locations than the plugin's own, and what to do."""
    from kinto_attachment.plugin import Plugin

    settings = Plugin.of_registry(registry).settings
    if settings.base_url is not None:
        return (
            "--own is for servers that serve their files: take base_url and extra.base_url out of"
            " the ini first, or new files would get other locations."
        )
    if settings.legacy_format:
        return "--own does not go with legacy_format = true, whose locations are bare keys."
    return None


def _refusal(registry: "Registry") -> str | None:
    """Why nothing can be changed in this database, and what to do."""
    from pyramid.settings import asbool

    from kinto_attachment.attachments import custody
    from kinto_attachment.maintenance import migration
    from kinto_attachment.plugin import Plugin

    if asbool(registry.settings["readonly"]):
        return "The ini has kinto.readonly = true: take one that may write records."
    plugin = Plugin.of_registry(registry)
    if not plugin.rolls_back:
        return (
            "The ini has kinto.transaction_per_request = false, so a change could not be undone"
            " where it fails: take a copy of the ini without that line."
        )
    if migration.is_due(registry):
        return "Links of 8.x or 9.x are still to be taken over: run `kinto migrate` first."
    reason = custody.refusal(plugin.custody)
    return f"Refused: {reason}" if reason else None


def _relocate(arguments: argparse.Namespace, registry: "Registry", move: "Move") -> int:
    from kinto_attachment.maintenance.relocation import Relocation, RelocationReport
    from kinto_attachment.plugin import Plugin

    teller, report = Teller(arguments), RelocationReport()

    def refused(record_uri: str, reason: str) -> None:
        told = {"record": record_uri, "refused": reason}
        teller.finding("refused", f"{record_uri} is not changed: {reason}", told)

    with progress(" links", arguments.quiet) as tick:
        within = Plugin.of_registry(registry).locations if arguments.apply else None
        relocation = Relocation(
            registry, move, refused, tick, None if arguments.outside else within
        )
        for change in relocation.changes(report):
            if arguments.apply:
                relocation.apply(change, report)
                continue
            if report.records + report.kept < EXAMPLES:
                _show(teller, change)
            report.count(change)
    todo = not arguments.apply and report.records + report.kept
    return teller.sum_up(
        FINDINGS if todo or report.refused else CLEAN,
        _lines(report, arguments.apply),
        {"applied": arguments.apply, **asdict(report)},
    )


def _show(teller: Teller, change: "Change") -> None:
    old, new = change.link.value["location"], change.value["location"]
    told = {"record": change.link.record_uri, "old": old, "new": new}
    teller.finding("example", f"{old} -> {new}", told)


def _lines(report: "RelocationReport", applied: bool) -> Iterator[str]:
    done = "changed" if applied else "to change"
    yield f"records {done}: {report.records}, kept old files {done}: {report.kept}"
    yield f"refused: {report.refused}"
    if not applied and report.records + report.kept:
        yield "This was a dry run: add --apply."
