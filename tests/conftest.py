"""Fixtures: a real PostgreSQL for the session, a fresh application and directory for each test."""

import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.support.parts", "tests.faults.harness")

from tests.faults.harness import Database  # noqa: E402
from tests.support import parts, storage_parts  # noqa: E402
from tests.support import pool as pool_module  # noqa: E402
from tests.support.pool import Pool  # noqa: E402
from tests.support.postgresql import running  # noqa: E402


def pytest_collection_finish() -> None:
    """Each application is a million allocations, and what was imported and collected lives until
    the end: so much is not looked through for garbage all the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(autouse=True)
def no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings come from the test alone."""
    for name in os.environ:
        if name.startswith("KINTO_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_foreign_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials but the test's own, and no look at a machine's metadata service."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def forget_services() -> Iterator[None]:
    """See :func:`tests.support.pool.forget_services`."""
    yield
    pool_module.forget_services()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own.

    Its data are not in a `tmp_path`: for root the server runs as another user, and each start of
    pytest takes the folder of all temporary paths away from other users, in mid-run as well.
    """
    with (
        tempfile.TemporaryDirectory(prefix="kinto-attachment-postgresql-") as folder,
        running(Path(folder) / "data") as url,
    ):
        _prepare(url)
        yield url


def _prepare(url: str) -> None:
    import sqlalchemy

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


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of Kinto's own backends: memory, unless a test asks for others."""
    name = getattr(request, "param", "memory")
    if name == "memory":
        return parts.MEMORY
    url = request.getfixturevalue("postgresql")
    more = {"kinto.transaction_per_request": "false"} if name.endswith("autocommit") else {}
    return parts.postgresql_settings(url, **more)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """The URL of an S3 of our own."""
    with storage_parts.moto() as url:
        yield url


@pytest.fixture(scope="session")
def s3(s3_url: str) -> Iterator[Any]:
    """A plain client, to look past our own code."""
    with storage_parts.s3_client(s3_url) as client:
        yield client


@pytest.fixture
def bucket(s3: Any) -> str:
    return storage_parts.new_bucket(s3)


@pytest.fixture(scope="session")
def local_store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a directory, which the pool empties after each test."""
    return {"kinto.attachment.base_path": str(tmp_path_factory.mktemp("store") / "files")}


@pytest.fixture(scope="session")
def s3_store(s3_url: str, s3: Any) -> dict[str, Any]:
    """Settings of a bucket, which the pool empties after each test."""
    bucket = storage_parts.new_bucket(s3)
    return storage_parts.s3_settings(s3_url, bucket, download="proxy")


@pytest.fixture
def store(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of the store: a directory, unless a test asks for S3."""
    found: dict[str, Any] = request.getfixturevalue(getattr(request, "param", "local_store"))
    return found


@pytest.fixture
def make_server(
    backend: dict[str, str], store: dict[str, Any], pool: Pool
) -> Iterator[Callable[..., parts.Server]]:
    """A factory of applications; a setting of None is left out."""

    def make(more: dict[str, Any] | None = None) -> parts.Server:
        return pool.take({**parts.SETTINGS, **backend, **store, **(more or {})})

    yield make
    pool.give_all_back()


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


@pytest.fixture
def database(postgresql: str) -> Iterator[Database]:
    made = Database(postgresql)
    yield made
    made.close()


@pytest.fixture
def on_postgresql(
    make_server: Callable[..., parts.Server], postgresql: str
) -> Callable[..., parts.Server]:
    """Make a server on PostgreSQL, with one collection."""

    def make(more: dict[str, Any] | None = None) -> parts.Server:
        server = make_server({**parts.postgresql_settings(postgresql), **(more or {})})
        server.as_user().make_collection()
        return server

    return make
