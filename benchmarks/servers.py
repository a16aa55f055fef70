"""Servers to measure, as processes: ours, the published plugin, and the bare application."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support import processes
from tests.support.streaming import serving

ROOT = Path(__file__).resolve().parent.parent
OURS = Path(sys.executable).parent
PUBLISHED = Path(os.environ.get("BENCH_PUBLISHED", ".venv-published")).resolve() / "bin"
"""Programs of the virtual environment that has the published plugin, 8.0.0."""

WSGI = """
import json, warnings
warnings.simplefilter("ignore")
import kinto
application = kinto.main({{}}, **json.loads({settings!r}))
"""
MEMORY = {f"kinto.{p}_backend": f"kinto.core.{p}.memory" for p in ("storage", "permission")}
MEMORY["kinto.cache_backend"] = "kinto.core.cache.memory"


@dataclass(frozen=True)
class Measured:
    """A running server, and what it has used."""

    origin: str
    folder: Path

    @property
    def processes(self) -> set[psutil.Process]:
        return serving(processes.Kinto(self.origin, self.folder))

    def cpu(self) -> float:
        """Processor seconds so far, its workers included."""
        times = [process.cpu_times() for process in self.processes]
        return sum(t.user + t.system for t in times)

    def written(self) -> int:
        """Bytes given to the disk so far."""
        return sum(process.io_counters().write_bytes for process in self.processes)

    def forget_peak(self) -> None:
        for process in self.processes:
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """Resident bytes at their highest since :meth:`forget_peak`."""
        found = [Path(f"/proc/{p.pid}/status").read_text() for p in self.processes]
        return sum(int(text.split("VmHWM:")[1].split()[0]) * 1024 for text in found)


@contextlib.contextmanager
def kinto(
    folder: Path,
    server: str,
    programs: Path = OURS,
    backend: dict[str, str] | None = None,
    threads: int = 4,
    plugin: str = "kinto_attachment",
    **more: str,
) -> Iterator[Measured]:
    """Kinto with one of the plugins, or with none, on waitress or gunicorn.

    :param more: attachment settings.
    """
    folder.mkdir(parents=True)
    settings = {
        **(backend or MEMORY),
        "kinto.userid_hmac_secret": "benchmarks",
        "multiauth.policies": "basicauth",
        "kinto.includes": f"kinto.plugins.default_bucket {plugin}",
        "kinto.attachment.base_path": str(folder / "files"),
        "kinto.attachment.base_url": "https://files.example.org/",
        "kinto.attachment.extensions": "any",
        **{f"kinto.attachment.{name}": value for name, value in more.items()},
    }
    (folder / "files").mkdir()
    (folder / "wsgi_app.py").write_text(WSGI.format(settings=json.dumps(settings)))
    with _served(folder, server, "wsgi_app:application", programs, threads) as found:
        yield found


@contextlib.contextmanager
def bare(folder: Path, server: str, threads: int = 4) -> Iterator[Measured]:
    """The application that does the least: bare.py."""
    folder.mkdir(parents=True, exist_ok=True)
    with _served(folder, server, "benchmarks.bare:application", OURS, threads) as found:
        yield found


@contextlib.contextmanager
def _served(
    folder: Path, server: str, application: str, programs: Path, threads: int
) -> Iterator[Measured]:
    if server == "waitress":
        command: list[Any] = [programs / "waitress-serve", "--listen=127.0.0.1:0"]
        # What docs/operate/production.rst recommends.
        command += ["--recv-bytes=262144", "--max-request-body-size=10737418240"]
        command += [f"--threads={threads}"]
    else:
        command = [programs / "gunicorn", "--bind=127.0.0.1:0", "--worker-class=gthread"]
        command += [f"--threads={threads}", "--timeout=600", "--keep-alive=75"]
        command += ["--no-control-socket"]
    # The published plugin must not meet ours, which has the same name.
    path = ROOT if application.startswith("benchmarks.") else folder
    env = {"PYTHONPATH": str(path), "BARE_FOLDER": str(folder), "TMPDIR": str(folder)}
    command = [str(word) for word in [*command, application]]
    with processes.answering(command, folder, env) as origin:
        yield Measured(origin, folder)
