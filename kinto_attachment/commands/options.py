"""Arguments that several commands take, once: each with its default and its meaning."""

import argparse
import math
import re

MOST_JOBS = 50

AUTH_VARIABLE = "KINTO_ATTACHMENT_AUTH"


def add_ini(parser: argparse.ArgumentParser) -> None:
    """``--ini``, which the server reads too."""
    parser.add_argument("--ini", required=True, help="Kinto's configuration file")


def add_reporting(parser: argparse.ArgumentParser, verbose: str = "") -> None:
    """``--json`` and ``--quiet``; where ``verbose`` says what it shows, ``--verbose``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="print nothing where the exit code is 0: for cron, which mails what is printed",
    )
    if verbose:
        parser.add_argument("--verbose", action="store_true", help=verbose)


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
        type=_number,
        default=3600,
        metavar="SECONDS",
        help="leave alone what is younger (default: %(default)s)",
    )


def add_ceiling(parser: argparse.ArgumentParser) -> None:
    """``--ceiling``, in per cent of all files."""
    parser.add_argument(
        "--ceiling",
        type=_number,
        default=10,
        metavar="PERCENT",
        help="refuse to remove more than this share of all files (default: %(default)s)",
    )


def add_collection(parser: argparse.ArgumentParser) -> None:
    """``--server``, ``--bucket``, ``--collection``, ``--auth``, ``--retries`` and ``--json``."""
    parser.add_argument(
        "--server",
        required=True,
        type=_server,
        metavar="URL",
        help="Kinto's URL with its version, as in https://kinto.example.org/v1",
    )
    parser.add_argument(
        "--bucket",
        type=record_id,
        default="default",
        help="bucket of the collection (default: %(default)s, which is one of your own)",
    )
    parser.add_argument(
        "--collection", type=record_id, required=True, help="collection of the records"
    )
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help=(
            "who you are, or 'Bearer TOKEN'; the password is asked for where it is left out;"
            " other users see a command's arguments, but not its environment:"
            f" {AUTH_VARIABLE} does the same"
        ),
    )
    parser.add_argument(
        "--retries",
        type=_retries,
        default=5,
        metavar="NUMBER",
        help="how often a request is repeated that failed for a while (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def record_id(text: str) -> str:
    """What Kinto takes for an id."""
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a valid id: write letters, digits, _ and -, and begin with a letter"
            " or digit"
        )
    return text


def size(text: str) -> int:
    """Bytes: as in ``500kB``, ``8MB``, ``1GB``, or with ``i`` for steps of 1,024."""
    written = re.fullmatch(r"([0-9]{1,15})\s*(?:([kmg])(i?))?b?", text.strip().lower(), re.ASCII)
    if not written:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number of bytes, as in 8MB or 8MiB")
    step = 1024 if written[3] else 1000
    return int(written[1]) * step ** " kmg".index(written[2] or " ")


def _server(text: str) -> str:
    if not re.match(r"https?://[^/]", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no URL: write it as in https://kinto.example.org/v1"
        )
    if "@" in text or "?" in text or "#" in text:
        raise argparse.ArgumentTypeError(
            "write the URL alone, without name, password or query: these go into --auth"
        )
    return text


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number, 0 or more")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number")
    return number


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_JOBS):
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to {MOST_JOBS}")
    return int(text)
