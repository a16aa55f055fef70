"""Tell the store that its files belong to this database: after a restore, or a move."""

import argparse

from kinto_attachment.commands.reporting import CLEAN, ERROR, complain

NAME = "claim"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    import transaction

    from kinto_attachment.commands.operators.environment import kinto
    from kinto_attachment.commands.reporting import printable
    from kinto_attachment.plugin import Plugin
    from kinto_attachment.storage import StoreError

    with kinto(arguments.ini) as registry:
        try:
            with transaction.manager:
                former = Plugin.of_registry(registry).custody.claim()
        except StoreError as error:
            complain(f"The store can't be marked: {error}")
            return ERROR
    print("The store is marked as this database's.")
    print(f"Before: {printable(former)}" if former else "It had no mark before.")
    return CLEAN
