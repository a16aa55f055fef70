"""Run a Kinto with attachments to try out, on this machine only.

Records live in memory and are gone when it ends; files go to a directory of its own.

A little above 200 lines: whoever wants a server like this one reads it as an example.
"""

import argparse
import contextlib
import errno
import logging
import os
import secrets
import shlex
import struct
import time
import warnings
import zlib
from typing import IO, Any

from kinto_attachment.client import locks

NAME = "serve"
HOST = "127.0.0.1"
USER = "alice:secret"
RECORD = "buckets/default/collections/pictures/records/first"
PICTURE = "picture.png"
MARK = ".kinto-attachment-serve"
"""Empty file that tells this command's directories from others, and that it locks."""

SETTINGS = {
    "kinto.storage_backend": "kinto.core.storage.memory",
    "kinto.permission_backend": "kinto.core.permission.memory",
    "kinto.cache_backend": "kinto.core.cache.memory",
    "kinto.includes": "kinto.plugins.default_bucket kinto_attachment",
    "multiauth.policies": "basicauth",
    "kinto.attachment.demo": "true",
}
"""Kinto's settings, but for those that differ each time."""

WAITRESS = {
    "recv_bytes": 256 * 1024,  # An upload costs a fifth of the processor time of the default.
    "max_request_body_size": 10 * 1024**3,
}

MESSAGE = """\
Kinto runs at {url} and ends with Ctrl-C. Then its records are gone; its files
are in {directory}.

Try it in a browser, with any name and password:

{url}attachments/

Or attach a picture to a record that everyone may read:

{attach}

Read the record:

{read}

Open the file: put {url} before the record's `location`.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may stand after the command's name."""
    parser.add_argument(
        "--port",
        type=_port,
        default=8888,
        help="port on 127.0.0.1; 0: any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--directory", default="serve-data", help="where the files go (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    directory = os.path.abspath(arguments.directory)
    with _take(directory):
        server = _listen(_application(directory), arguments.port)
        with contextlib.suppress(KeyboardInterrupt):  # Before waitress is there to catch it.
            print(_message(directory, server.effective_port), flush=True)
            server.run()  # It returns after Ctrl-C.
        server.close()
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: write a number up to 65535")
    return int(text)


def _take(directory: str) -> IO[str]:
    """Prepare the directory; it is ours until the file that is returned gets closed."""
    from pyramid.exceptions import ConfigurationError

    from kinto_attachment.storage import StoreError

    try:
        lock = _own(directory)
        _remove_leftovers(directory)
        with open(os.path.join(directory, PICTURE), "wb") as file:
            file.write(_picture())
    except (OSError, StoreError, ConfigurationError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SystemExit(
            f"{directory} can't be used ({reason}): name another directory with --directory."
        ) from error
    return lock


def _own(directory: str) -> IO[str]:
    """Make the directory where needed, and keep others of our kind out.

    Leftover files are removed from it, so it must be one that this command made: another
    server's files look the same.
    """
    os.makedirs(directory, exist_ok=True)
    mark = os.path.join(directory, MARK)
    if os.listdir(directory) and not os.path.exists(mark):
        raise SystemExit(
            f"{directory} holds other files: name a new or an empty directory with --directory."
        )
    lock = open(mark, "a")  # noqa: SIM115
    try:
        locks.hold(lock.fileno())
    except BlockingIOError:
        raise SystemExit(
            f"{directory} is in use by another `kinto-attachment serve`: stop that one, or name"
            " another directory with --directory."
        ) from None
    return lock


def _remove_leftovers(directory: str) -> None:
    """The records of the last run are gone: so go their files, and nothing else."""
    from kinto_attachment import keys
    from kinto_attachment.storage.local import LocalFileStorage

    storage = LocalFileStorage(_files(directory))
    storage.delete_many([file.key for file in storage.files() if keys.id_of_key(file.key)])
    storage.remove_unfinished(before=time.time())
    storage.uploads.remove_abandoned(time.time(), lambda _: False)


def _application(directory: str) -> Any:
    import kinto

    from kinto_attachment.storage import start_log

    # That the demo page is not for production is what this command is about.
    logging.getLogger(start_log.__name__).setLevel(logging.ERROR)
    settings = {
        **SETTINGS,
        "kinto.userid_hmac_secret": secrets.token_hex(),
        "kinto.attachment.base_path": _files(directory),
    }
    _forget_environment(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Kinto misses HTTPS, for which 127.0.0.1 has no use.
        return kinto.main({}, **settings)


def _forget_environment(settings: dict[str, str]) -> None:
    """Kinto lets the environment override any setting: those are meant for other servers."""
    names = {key.removeprefix("kinto.").replace(".", "_").upper() for key in settings}
    for variable in list(os.environ):
        if variable.startswith("KINTO_") or variable in names:
            del os.environ[variable]


def _listen(application: Any, port: int) -> Any:
    import waitress

    try:
        return waitress.create_server(application, host=HOST, port=port, **WAITRESS)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = "is taken: stop what uses it, or name another"
        else:
            reason = f"can't be used ({error.strerror}): name another"
        raise SystemExit(f"Port {port} {reason} with --port.") from error


def _message(directory: str, port: int) -> str:
    url = f"http://{HOST}:{port}/v1/"
    picture = f"attachment=@{_curl_quoted(os.path.join(directory, PICTURE))}"
    form = ["-F", picture, "-F", 'permissions={"read": ["system.Everyone"]}']
    attach = ["curl", "--user", USER, *form, f"{url}{RECORD}/attachment"]
    read = ["curl", "--user", USER, f"{url}{RECORD}"]
    return MESSAGE.format(
        url=url, directory=directory, attach=shlex.join(attach), read=shlex.join(read)
    )


def _curl_quoted(path: str) -> str:
    """A path as curl reads it in a form, where these characters have a meaning."""
    if not set(path) & set(',;"\\'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _files(directory: str) -> str:
    return os.path.join(directory, "files")


def _picture(side: int = 64) -> bytes:
    """A PNG: a square of changing colours."""
    rows = [bytes(c for x in range(side) for c in (4 * x, 4 * y, 160)) for y in range(side)]
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        png += struct.pack(">I", len(data)) + kind + data + checksum
    return png
