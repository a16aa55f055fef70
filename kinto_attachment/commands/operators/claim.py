"""Tell the store that its files belong to this database: after a restore, or a move."""

import argparse

from kinto_attachment.commands.options import add_ini, add_reporting
from kinto_attachment.commands.reporting import CLEAN, Teller

NAME = "claim"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    add_ini(parser)
    add_reporting(parser)


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    import transaction

    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.plugin import Plugin

    with kinto(arguments.ini) as registry, transaction.manager:
        former = Plugin.of_registry(registry).custody.claim()
    before = f"Before: {former}" if former else "It had no mark before."
    lines = ["The store is marked as this database's.", before]
    return Teller(arguments).sum_up(CLEAN, lines, {"before": former})
