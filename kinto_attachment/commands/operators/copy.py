"""Copy all files that records name into another store, while the server works."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from kinto_attachment.commands.options import add_ini, add_jobs, add_reporting
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

    from kinto_attachment.maintenance.copying import CopyReport
    from kinto_attachment.storage import CompleteStore

NAME = "copy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_ini(parser)
    parser.add_argument(
        "--to", required=True, metavar="INI", help="the same, with the other store's settings"
    )
    add_jobs(parser, "copied")
    add_reporting(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.commands.operators.environment import kinto

    advice = "Run it again: it goes on."
    with kinto(arguments.ini, advice) as registry, kinto(arguments.to, advice) as other:
        refusal = _refusal(registry, other)
        if refusal is None:
            return _copy(arguments, registry, other)
    complain(refusal)
    return ERROR


def _copy(arguments: argparse.Namespace, registry: "Registry", other: "Registry") -> int:
    from kinto_attachment.maintenance.copying import PROBLEMS, Copier, CopyReport
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.rows import rows_of
    from kinto_attachment.rows.links import Link

    teller, report = Teller(arguments), CopyReport()

    def found(problem: str, link: Link) -> None:
        whose = "an old file of" if link.kept else "of"
        said = f"{link.key} {whose} {link.record_uri}: {PROBLEMS[problem]}"
        told = {"problem": problem, "key": link.key, "record": link.record_uri}
        teller.finding(problem, said, {**told, "kept": link.kept})

    # Both are complete: nothing would be copied otherwise.
    source = cast("CompleteStore", Plugin.of_registry(registry).store)
    destination = cast("CompleteStore", Plugin.of_registry(other).store)
    settings = Plugin.of_registry(other).settings
    with progress(" files", arguments.quiet) as tick:
        rows, jobs = rows_of(registry.storage), arguments.jobs
        Copier(rows, source, destination, settings, jobs=jobs, found=found, tick=tick).copy(report)
    return teller.sum_up(FINDINGS if report.findings else CLEAN, _lines(report), asdict(report))


def _refusal(registry: "Registry", other: "Registry") -> str | None:
    """Why nothing is copied at all, and what to do."""
    from kinto_attachment.attachments import custody
    from kinto_attachment.maintenance import migration
    from kinto_attachment.maintenance.copying import are_one
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import CompleteStore, Marked

    source, destination = Plugin.of_registry(registry).store, Plugin.of_registry(other).store
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
    reason = custody.refusal(Plugin.of_registry(registry).custody)
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

    destination = Plugin.of_registry(other).store
    if not isinstance(destination, Marked):
        return None
    if destination.mark() is None:
        with transaction.manager:
            Plugin.of_registry(other).custody.claim()
        return None
    reason = custody.refusal(Plugin.of_registry(other).custody)
    return f"Refused, for --to: {reason}" if reason else None


def _lines(report: "CopyReport") -> Iterator[str]:
    yield f"copied: {report.copied} files, {report.bytes} bytes"
    yield f"already there: {report.present}"
    yield f"replaced or removed meanwhile: {report.gone}"
    yield f"findings: {report.findings}"
