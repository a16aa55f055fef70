"""Copy all files that records name into another store, while the server works."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from kinto_attachment.commands.options import add_jobs
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

    from kinto_attachment.maintenance.copying import CopyReport
    from kinto_attachment.storage import CompleteStore

NAME = "copy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")
    parser.add_argument(
        "--to", required=True, metavar="INI", help="the same, with the other store's settings"
    )
    add_jobs(parser, "copied")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto.core.storage.exceptions import BackendError

    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.copying import CopyReport
    from kinto_attachment.storage import StoreError

    report = CopyReport()
    with kinto(arguments.ini) as registry, kinto(arguments.to) as other:
        try:
            refusal = _refusal(registry, other)
            if refusal is None:
                _copy(arguments, registry, other, report)
        except (StoreError, BackendError) as error:
            refusal = f"It stopped, run it again: it goes on. {type(error).__name__}: {error}"
    if refusal:
        complain(refusal)
        return ERROR
    _summary(report, arguments.json)
    return FINDINGS if report.findings else CLEAN


def _copy(
    arguments: argparse.Namespace, registry: "Registry", other: "Registry", report: "CopyReport"
) -> None:
    from kinto_attachment.maintenance.copying import PROBLEMS, Copier
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.rows import rows_of
    from kinto_attachment.rows.links import Link

    def found(problem: str, link: Link) -> None:
        if arguments.json:
            told = {"problem": problem, "key": link.key, "record": link.record_uri}
            print(json.dumps({**told, "kept": link.kept}), flush=True)
        else:
            whose = "an old file of" if link.kept else "of"
            told_of = f"{link.key} {whose} {link.record_uri}: {PROBLEMS[problem]}"
            print(printable(told_of), flush=True)

    # Both are complete: nothing would be copied otherwise.
    source = cast("CompleteStore", Plugin.of_registry(registry).store)
    destination = cast("CompleteStore", Plugin.of_registry(other).store)
    settings = Plugin.of_registry(other).settings
    with progress(" files") as tick:
        rows, jobs = rows_of(registry.storage), arguments.jobs
        Copier(rows, source, destination, settings, jobs=jobs, found=found, tick=tick).copy(report)


def _refusal(registry: "Registry", other: "Registry") -> str | None:
    """Why nothing is copied at all, and what to do."""
    from kinto_attachment.attachments import custody
    from kinto_attachment.maintenance import migration
    from kinto_attachment.maintenance.copying import are_one
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import CompleteStore, Marked

    plugin, destination = Plugin.of_registry(registry), Plugin.of_registry(other).store
    source = plugin.store
    if registry.settings["storage_url"] != other.settings["storage_url"]:
        return (
            "The two inis name different databases: write the same kinto.storage_url in both,"
            " since only the store is another one."
        )
    if not (isinstance(source, CompleteStore) and isinstance(destination, CompleteStore)):
        return (
            "The backend of one of the stores can't read or list files, so a copy could not be"
            " checked: write base_path, aws.bucket_name or gcloud.bucket_name in its place."
        )
    if migration.is_due(registry):
        return "Links of 8.x or 9.x are still to be taken over: run `kinto migrate` first."
    reason = custody.refusal(plugin.custody)
    if reason:
        return f"Refused, for --ini: {reason}"
    if isinstance(destination, Marked):
        destination.prepare()
    if are_one(source, destination):
        return "Both inis name the same store: --to takes the ini of another one."
    return _taken(other)


def _taken(other: "Registry") -> str | None:
    """Why the destination can't be this database's; it is marked where it has no mark."""
    import transaction

    from kinto_attachment.attachments import custody
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import Marked

    plugin = Plugin.of_registry(other)
    destination = plugin.store
    if not isinstance(destination, Marked):
        return None
    if destination.mark() is None:
        with transaction.manager:
            plugin.custody.claim()
        return None
    reason = custody.refusal(plugin.custody)
    return f"Refused, for --to: {reason}" if reason else None


def _summary(report: "CopyReport", as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(report)))
        return
    print(f"copied: {report.copied} files, {report.bytes} bytes")
    print(f"already there: {report.present}")
    print(f"replaced or removed meanwhile: {report.gone}")
    print(f"findings: {report.findings}")
