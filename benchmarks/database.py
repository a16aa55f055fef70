"""A PostgreSQL to measure on."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy

from tests.support import postgresql, processes
from tests.support.parts import postgresql_settings


class Database:
    """A PostgreSQL of our own, with Kinto's tables."""

    def __init__(self, folder: Path, logging: bool = False) -> None:
        folder.mkdir(parents=True)
        self._log = folder / "data" / "log"
        self._server = contextlib.ExitStack()
        self.url = self._server.enter_context(postgresql.running(folder / "data"))
        url = self.url.replace("postgresql://", "postgresql+psycopg2://")
        self._engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        if logging:
            self.run("ALTER SYSTEM SET log_statement = 'all'")
            self.run("SELECT pg_reload_conf()")
        self.run(f"ALTER DATABASE {self._engine.url.database} SET timezone TO 'UTC'")

    def run(self, statement: str, **values: Any) -> Any:
        with self._engine.connect() as connection:
            result = connection.execute(sqlalchemy.text(statement), values)
            return result.fetchall() if result.returns_rows else None

    @property
    def settings(self) -> dict[str, str]:
        """Kinto's, for this database."""
        return postgresql_settings(self.url)

    def statements(self, act: Callable[[], object]) -> int:
        """How many it is sent while something is done: it writes them down."""
        before = self._log.read_text().count("LOG:  statement:")
        act()
        return self._log.read_text().count("LOG:  statement:") - before

    def close(self) -> None:
        self._engine.dispose()
        self._server.close()


@contextlib.contextmanager
def database(folder: Path, logging: bool = False) -> Iterator[Database]:
    made = Database(folder, logging)
    settings = processes.basic_settings(folder, made.settings)
    own = {name: value for name, value in settings.items() if "attachment" not in name}
    ini = processes.write_ini(folder / "kinto.ini", {**own, "kinto.includes": ""})
    done = processes.run([str(processes.BIN / "kinto"), "migrate", "--ini", str(ini)], folder)
    assert done.returncode == 0, done.stderr
    yield made
    made.close()
