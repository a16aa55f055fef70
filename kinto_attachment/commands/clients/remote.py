"""What the commands have in common that work on a collection of a server."""

import argparse
import getpass
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kinto_attachment.client.wanted import SERVERS
from kinto_attachment.commands.options import AUTH_VARIABLE
from kinto_attachment.commands.reporting import (
    ERROR,
    complain,
    ending_on_sigterm,
    leave_stdout,
)

if TYPE_CHECKING:
    from kinto_attachment.client.remote import Remote

CUT = 141
"""Exit code where nobody reads any more, as shells have it: 128 and SIGPIPE's number."""


def run_on_collection(
    arguments: argparse.Namespace, work: Callable[[argparse.Namespace, "Remote"], int]
) -> int:
    """Connect, and do it; returns the exit code."""
    try:
        import kinto_http  # noqa: F401
    except ImportError:
        complain("This needs kinto-http: install it with `pip install 'kinto-attachment[sync]'`.")
        return ERROR
    from kinto_attachment.client.outcomes import Unusable

    try:
        with ending_on_sigterm():
            code = work(arguments, _connected(arguments))
            sys.stdout.flush()
            return code
    except Unusable as error:
        complain(str(error))
        return ERROR
    except BrokenPipeError:
        leave_stdout()
        return CUT


def add_path_field(parser: argparse.ArgumentParser, what: str) -> None:
    """``--path-field``: by the same name, folders go into records and come back."""
    parser.add_argument("--path-field", type=_field, metavar="FIELD", help=what)


def tell_of_nothing(arguments: argparse.Namespace) -> None:
    """On stderr: a wrong password may be another user, who has a bucket of his own."""
    complain(
        f"Nothing that you may see in the collection {arguments.collection} of the bucket"
        f" {arguments.bucket} has an attachment. Is --auth right, and --collection?"
    )


def _field(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text) or text in SERVERS:
        raise argparse.ArgumentTypeError(
            f"{text!r} can't be the field: write letters, digits, _ and -, as in path, and no"
            " field that the server writes"
        )
    return text


def _connected(arguments: argparse.Namespace) -> "Remote":
    from kinto_attachment.client.remote import Remote

    auth = _auth(arguments.auth or os.environ.get(AUTH_VARIABLE))
    remote = Remote(
        arguments.server, arguments.bucket, arguments.collection, auth, arguments.retries
    )
    remote.connect()
    return remote


def _auth(text: str | None) -> Any:
    """As requests takes it. Never part of a message."""
    from kinto_http import BearerTokenAuth

    from kinto_attachment.client.outcomes import Unusable

    if not text:
        return None
    scheme, space, token = text.strip().partition(" ")
    if space and (scheme.lower() in ("basic", "bearer") or ":" not in text):
        if not re.fullmatch(r"[!-~]+", scheme + token):
            raise Unusable("--auth has a token with characters that no token has: copy it again.")
        return BearerTokenAuth(token, type=scheme)
    user, colon, password = text.partition(":")
    if not colon:
        if not sys.stdin.isatty():
            raise Unusable(
                f"--auth has no password: write USER:PASSWORD there, or into {AUTH_VARIABLE}."
            )
        password = getpass.getpass(f"Password of {user}: ")
    # In bytes: a text would be sent in Latin-1, or not at all.
    return os.fsencode(user), os.fsencode(password)
