"""Arguments that several commands take, once: each with its default and its meaning."""

import argparse

MOST_JOBS = 50


def add_jobs(parser: argparse.ArgumentParser, what: str) -> None:
    """``--jobs``; ``what`` is done at once."""
    parser.add_argument(
        "--jobs",
        type=_jobs,
        default=4,
        metavar="NUMBER",
        help=f"files that are {what} at once (default: %(default)s)",
    )


def add_grace(parser: argparse.ArgumentParser) -> None:
    """``--grace``, in seconds: servers are at work."""
    parser.add_argument(
        "--grace",
        type=float,
        default=3600,
        metavar="SECONDS",
        help="leave alone what is younger (default: %(default)s)",
    )


def add_ceiling(parser: argparse.ArgumentParser) -> None:
    """``--ceiling``, in per cent of all files."""
    parser.add_argument(
        "--ceiling",
        type=float,
        default=10,
        metavar="PERCENT",
        help="refuse to remove more than this share of all files (default: %(default)s)",
    )


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_JOBS):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to {MOST_JOBS}")
    return int(text)
