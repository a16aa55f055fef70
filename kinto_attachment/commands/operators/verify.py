"""Read stored files again, all or a sample, and tell which ones are missing or damaged."""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from kinto_attachment.commands.options import add_ini, add_jobs, add_reporting
from kinto_attachment.commands.reporting import (
    CLEAN,
    ERROR,
    FINDINGS,
    Teller,
    complain,
    ending_on_sigterm,
    progress,
)

if TYPE_CHECKING:
    from kinto.core.types import Registry

    from kinto_attachment.maintenance.verification.state import StateFile
    from kinto_attachment.maintenance.verification.verifier import Damage, Progress
    from kinto_attachment.storage import ReadableStore

NAME = "verify"

SENTENCES = {
    "missing": "it is missing; {0.expected} bytes were expected",
    "size": "the size differs; {0.expected} bytes were expected, {0.found} found",
    "hash": "the SHA-256 differs; {0.expected} was expected, {0.found} found",
    "unreadable": "it can't be read; {0.expected} bytes were expected, the store says: {0.found}",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_ini(parser)
    parser.add_argument(
        "--sample",
        type=_percent,
        default=100.0,
        metavar="PERCENT",
        help="look at a random share of the files, as in 1%% (default: all)",
    )
    parser.add_argument(
        "--max-rate",
        type=_rate,
        metavar="RATE",
        help="read no faster than this, over all jobs, as in 50MB/s (default: no limit)",
    )
    add_jobs(parser, "read")
    parser.add_argument(
        "--state", metavar="FILE", help="note there how far it is, and go on from there"
    )
    add_reporting(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto_attachment.attachments import custody
    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.verification.state import StateFile
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import ReadableStore

    ini = os.path.abspath(arguments.ini)
    state = StateFile(arguments.state, f"--ini {ini} --sample {arguments.sample:g}%")
    with kinto(arguments.ini, _advice(arguments)) as registry, ending_on_sigterm():
        plugin = Plugin.of_registry(registry)
        if not isinstance(plugin.store, ReadableStore):
            complain(
                "The store's backend can't read files back, so nothing can be compared: look at"
                " the files with the store's own tools."
            )
            return ERROR
        reason = custody.absence(plugin.custody)
        if reason:
            complain(reason)
            return ERROR
        return _verify(arguments, registry, plugin.store, state)


def _verify(
    arguments: argparse.Namespace,
    registry: "Registry",
    store: "ReadableStore",
    state: "StateFile",
) -> int:
    from kinto_attachment.maintenance.verification.pace import Pace
    from kinto_attachment.maintenance.verification.verifier import Verifier
    from kinto_attachment.records import last_runs
    from kinto_attachment.rows import rows_of

    teller, begin = Teller(arguments), state.load()
    with _kept(state, arguments), progress(" files", arguments.quiet) as tick:

        def keep(now: "Progress") -> None:
            state.keep(now)
            tick(1)

        result = Verifier(
            rows_of(registry.storage),
            store,
            share=arguments.sample / 100,
            jobs=arguments.jobs,
            pace=Pace(arguments.max_rate),
            found=lambda damage: _tell(teller, damage),
            keep=keep,
        ).verify(begin)
    counts = {name: count for name, count in asdict(result).items() if name != "after"}
    counts["sampled"] = arguments.sample < 100
    kept = {name: counts[name] for name in ("files", "bytes", "damaged", "sampled")}
    last_runs.publish(registry, last_runs.VERIFY, kept)
    state.remove()
    return teller.sum_up(FINDINGS if result.damaged else CLEAN, _lines(result), counts)


@contextlib.contextmanager
def _kept(state: "StateFile", arguments: argparse.Namespace) -> Iterator[None]:
    """Whatever ends the run, what is done is noted."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        complain(f"Stopped after {state.progress.total} files. {_advice(arguments)}")
        raise
    finally:
        state.save()


def _advice(arguments: argparse.Namespace) -> str:
    if arguments.state:
        return "Run it again with the same --state: it goes on from there."
    return "Run it again: it begins anew, but with --state FILE it would go on."


def _tell(teller: Teller, damage: "Damage") -> None:
    link = damage.link
    whose = "an old file of" if link.kept else "of"
    sentence = SENTENCES[damage.problem].format(damage)
    told = {"problem": damage.problem, "key": link.key, "record": link.record_uri}
    seen = {"kept": link.kept, "expected": damage.expected, "found": damage.found}
    said = f"{link.key} {whose} {link.record_uri}: {sentence}"
    teller.finding(damage.problem, said, {**told, **seen})


def _lines(result: "Progress") -> Iterator[str]:
    yield f"looked at: {result.files} of {result.total} files, {result.bytes} bytes"
    yield f"replaced or removed meanwhile: {result.gone}"
    yield f"missing or damaged: {result.damaged}"


def _percent(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", text, re.ASCII)
    if not found or not 0 < float(found[1]) <= 100:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no share: write a number above 0 and up to 100 with %, as in 1%"
        )
    return float(found[1])


def _rate(text: str) -> float:
    from kinto_attachment.maintenance.verification.pace import rate_of

    try:
        return rate_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
