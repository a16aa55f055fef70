"""Rewrite the beginning of the location in records. A dry run, unless --apply is given."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

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

    from kinto_attachment.maintenance.relocation import Change, Move, RelocationReport

NAME = "relocate"

EXAMPLES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")
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
        help="what they are to begin with; '' for bare keys",
    )
    new.add_argument(
        "--own",
        action="store_true",
        help="make them the URLs at which the plugin itself serves the files, as it does without"
        " base_url",
    )
    parser.add_argument("--apply", action="store_true", help="change the records")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto.core.storage.exceptions import BackendError
    from kinto.core.utils import sqlalchemy

    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.relocation import Move, RelocationReport

    move, report = Move(arguments.old, arguments.new), RelocationReport()
    refusal = move.mistake()
    if refusal is None:
        with kinto(arguments.ini) as registry:
            refusal = _contradiction(registry) if arguments.own else None
            if refusal is None and arguments.apply:
                refusal = _refusal(registry)
            try:
                if refusal is None:
                    _relocate(arguments, registry, move, report)
            except (BackendError, sqlalchemy.exc.SQLAlchemyError) as error:
                refusal = f"The database failed, run it again: it goes on. {error}"
    if refusal:
        complain(refusal)
        return ERROR
    _summary(report, arguments)
    todo = not arguments.apply and report.records + report.kept
    return FINDINGS if todo or report.refused else CLEAN


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
    from kinto_attachment.storage import StoreError

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
    try:
        reason = custody.refusal(plugin.custody)
    except StoreError as error:
        return f"The store failed, run it again: {error}"
    return f"Refused: {reason}" if reason else None


def _relocate(
    arguments: argparse.Namespace, registry: "Registry", move: "Move", report: "RelocationReport"
) -> None:
    from kinto_attachment.maintenance.relocation import Relocation

    def refused(record_uri: str, reason: str) -> None:
        if arguments.json:
            print(json.dumps({"record": record_uri, "refused": reason}))
        else:
            print(printable(f"{record_uri} is not changed: {reason}"))

    with progress(" links") as tick:
        relocation = Relocation(registry, move, refused, tick)
        for change in relocation.changes(report):
            if arguments.apply:
                relocation.apply(change, report)
                continue
            if report.records + report.kept < EXAMPLES:
                _show(change, arguments.json)
            report.count(change)


def _show(change: "Change", as_json: bool) -> None:
    old, new = change.link.value["location"], change.value["location"]
    if as_json:
        print(json.dumps({"record": change.link.record_uri, "old": old, "new": new}))
    else:
        print(printable(f"{old} -> {new}"))


def _summary(report: "RelocationReport", arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps({"applied": arguments.apply, **asdict(report)}))
        return
    done = "changed" if arguments.apply else "to change"
    print(f"records {done}: {report.records}, kept old files {done}: {report.kept}")
    print(f"refused: {report.refused}")
    if not arguments.apply and report.records + report.kept:
        print("This was a dry run: add --apply.")
