"""Fixtures of the fault tests."""

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import FaultyStorage, Launcher, LossyProxy, made_faulty
from tests.support import parts


@pytest.fixture
def launcher(
    postgresql: str, local_store: dict[str, str], make_server: Callable[..., parts.Server]
) -> Iterator[Launcher]:
    """Servers in processes of their own, on the same database and store as make_server's."""
    # Records of another test, whose files are gone, would keep the servers from their work.
    make_server(parts.postgresql_settings(postgresql))
    settings = {
        **parts.SETTINGS,
        **parts.postgresql_settings(postgresql),
        **local_store,
    }
    made = Launcher(settings)
    yield made
    made.close()


@pytest.fixture
def faulty(server: parts.Server) -> FaultyStorage:
    """The server's store, which fails when it is told to."""
    attachments = server.registry.attachments
    storage = made_faulty(attachments.store)
    server.registry.attachments = dataclasses.replace(attachments, store=storage)
    return storage


@pytest.fixture
def proxy(postgresql: str) -> Iterator[LossyProxy]:
    from urllib.parse import parse_qs, unquote, urlsplit

    (folder,) = parse_qs(urlsplit(postgresql).query)["host"]
    with tempfile.TemporaryDirectory() as short:  # A socket's path may have 107 bytes only.
        made = LossyProxy(f"{unquote(folder)}/.s.PGSQL.5432", Path(short))
        yield made
        made.close()


@pytest.fixture
def on_s3(
    on_postgresql: Callable[..., parts.Server], postgresql: str, s3_store: dict[str, Any]
) -> Iterator[tuple[parts.Server, Launcher]]:
    """A server on PostgreSQL and S3, and processes to kill on the same two."""
    server = on_postgresql(s3_store)
    own = {name: value for name, value in s3_store.items() if value is not None}
    settings = {**parts.SETTINGS, **parts.postgresql_settings(postgresql), **own}
    launcher = Launcher(settings)
    yield server, launcher
    launcher.close()
