"""Read stored files again, all or a sample, and tell which ones are missing or damaged."""

import argparse
import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from kinto_attachment.commands.options import add_jobs
from kinto_attachment.commands.reporting import (
    CLEAN,
    ERROR,
    FINDINGS,
    complain,
    ending_on_sigterm,
    printable,
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
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")
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
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from kinto.core.storage.exceptions import BackendError

    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.maintenance.verification.state import StateFile, UnusableState
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import ReadableStore, StoreError

    ini = os.path.abspath(arguments.ini)
    state = StateFile(arguments.state, f"--ini {ini} --sample {arguments.sample:g}%")
    with kinto(arguments.ini) as registry, ending_on_sigterm():
        store = Plugin.of_registry(registry).store
        if not isinstance(store, ReadableStore):
            complain(
                "The store's backend can't read files back, so nothing can be compared: look at"
                " the files with the store's own tools."
            )
            return ERROR
        try:
            result = _verify(arguments, registry, store, state)
        except UnusableState as error:
            complain(str(error))
            return ERROR
        except (StoreError, BackendError) as error:
            what = "database" if isinstance(error, BackendError) else "store"
            complain(f"The {what} failed ({error}). {_advice(arguments)}")
            return ERROR
    return FINDINGS if result.damaged else CLEAN


def _verify(
    arguments: argparse.Namespace,
    registry: "Registry",
    store: "ReadableStore",
    state: "StateFile",
) -> "Progress":
    from kinto_attachment.maintenance.verification.pace import Pace
    from kinto_attachment.maintenance.verification.verifier import Verifier
    from kinto_attachment.records.verified import publish
    from kinto_attachment.rows import rows_of

    begin = state.load()
    with _kept(state, arguments), progress(" files") as tick:

        def keep(now: "Progress") -> None:
            state.keep(now)
            tick(1)

        result = Verifier(
            rows_of(registry.storage),
            store,
            share=arguments.sample / 100,
            jobs=arguments.jobs,
            pace=Pace(arguments.max_rate),
            found=_tell_json if arguments.json else _tell,
            keep=keep,
        ).verify(begin)
    sampled = arguments.sample < 100
    publish(registry, result, sampled)
    state.remove()
    _summary(result, sampled, arguments.json)
    return result


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


def _tell(damage: "Damage") -> None:
    whose = "an old file of" if damage.link.kept else "of"
    sentence = SENTENCES[damage.problem].format(damage)
    # At once: what the state counts must have been told.
    told = f"{damage.link.key} {whose} {damage.link.record_uri}: {sentence}"
    print(printable(told), flush=True)


def _tell_json(damage: "Damage") -> None:
    link = damage.link
    told = {"problem": damage.problem, "key": link.key, "record": link.record_uri}
    seen = {"kept": link.kept, "expected": damage.expected, "found": damage.found}
    print(json.dumps({**told, **seen}), flush=True)


def _summary(result: "Progress", sampled: bool, as_json: bool) -> None:
    if as_json:
        counts = {name: count for name, count in asdict(result).items() if name != "after"}
        print(json.dumps({**counts, "sampled": sampled}))
        return
    print(f"looked at: {result.files} of {result.total} files, {result.bytes} bytes")
    print(f"replaced or removed meanwhile: {result.gone}")
    print(f"missing or damaged: {result.damaged}")


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
