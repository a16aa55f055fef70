"""Preconditions and ranges are answered alike by whatever stands before, or behind, Kinto."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.clients.test_documented_nginx import nginx
from tests.support import conditional, parts, processes, storage_parts
from tests.support.conditional import CONTENT, Answer, Now
from tests.support.documents import ALICE, FILES, RECORD, example, ini, put
from tests.support.streaming import WSGI, gunicorn

PAGES = {"Origin": "https://pages.example.org"}
OF_OTHER_ORIGINS = {
    "access-control-allow-origin": "*",
    "access-control-allow-credentials": None,
    "vary": "Origin",
    "content-type": "text/plain; charset=utf-8",
    "accept-ranges": "bytes",
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cache-control": "private, no-cache",
}
READ_BY_PAGES = {"ETag", "Last-Modified", "Repr-Digest", "Content-Range", "Content-Disposition"}


@dataclass(frozen=True)
class Front:
    """What a client talks to, and what stands there."""

    name: str
    kinto: processes.Kinto
    session: requests.Session

    @property
    def attachment(self) -> str:
        return f"{self.kinto.url}{RECORD}/attachment"

    def attach(self, content: bytes, name: str = "a.txt") -> Now:
        """Attach a file to the record; returns what there is now."""
        assert put(self.kinto, RECORD, name, content).status_code in (200, 201)
        headers = self.session.head(self.attachment).headers
        version = self.session.get(f"{self.kinto.url}{RECORD}").headers["ETag"].strip('"')
        modified = parsedate_to_datetime(headers["Last-Modified"]).timestamp()
        return Now(headers["ETag"].strip('"'), version, int(modified))

    def ask(self, method: str, headers: Mapping[str, str]) -> Answer:
        own = {"Accept-Encoding": "identity"}
        found = self.session.request(method, self.attachment, headers={**own, **headers})
        seen = {name.lower(): value for name, value in found.headers.items()}
        return Answer(found.status_code, seen, found.content, bool(found.history))


@contextlib.contextmanager
def granian(folder: Path, settings: dict[str, str]) -> Iterator[processes.Kinto]:
    (folder / "wsgi_app.py").write_text(WSGI.format(settings=settings))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [str(processes.BIN / "granian"), "--interface", "wsgi", "--host", "127.0.0.1"]
    command += ["--port", port, "--blocking-threads", "4", "wsgi_app:application"]
    with processes.answering(command, folder) as origin:
        yield processes.Kinto(origin, folder)


@contextlib.contextmanager
def behind_nginx(folder: Path, settings: dict[str, str]) -> Iterator[processes.Kinto]:
    front = folder / "front"
    front.mkdir()
    settings = {**settings, **ini(example("accel"), folder)}
    with processes.running_kinto(folder, settings) as kinto:
        proxy = example("nginx").replace("http://127.0.0.1:8888", kinto.origin)
        accel = example("accel-nginx").replace(FILES, str(kinto.files))
        with nginx(front, f"{proxy}\n{accel}") as origin:
            yield processes.Kinto(origin, folder)


def before_s3(request: pytest.FixtureRequest, download: str) -> dict[str, str]:
    bucket = storage_parts.new_bucket(request.getfixturevalue("s3"))
    url = request.getfixturevalue("s3_url")
    settings = storage_parts.s3_settings(url, bucket, download=download)
    return {name: value for name, value in settings.items() if value is not None}


@contextlib.contextmanager
def running(request: pytest.FixtureRequest, name: str, folder: Path) -> Iterator[processes.Kinto]:
    settings = processes.basic_settings(folder, parts.MEMORY)
    if name in ("proxy", "redirect"):
        del settings["kinto.attachment.base_path"]
        settings |= before_s3(request, name)
    servers: dict[str, Any] = {"gunicorn": gunicorn, "granian": granian, "nginx": behind_nginx}
    with servers.get(name, processes.running_kinto)(folder, settings) as kinto:
        yield kinto


@pytest.fixture(
    scope="module", params=["waitress", "gunicorn", "granian", "nginx", "proxy", "redirect"]
)
def front(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Front]:
    name = request.param
    with (
        running(request, name, tmp_path_factory.mktemp(name)) as kinto,
        requests.Session() as session,
    ):
        session.auth = ALICE
        yield Front(name, kinto, session)


def test_every_condition_and_range_is_answered_as_the_standard_says(front: Front) -> None:
    now = front.attach(CONTENT)

    assert conditional.all_wrong(front.ask, now) == ""


def test_an_empty_file_has_no_part(front: Front) -> None:
    now = front.attach(b"")

    assert conditional.all_wrong_of_nothing(front.ask, now) == ""


def test_a_page_of_another_origin_reads_a_file_and_its_headers(front: Front) -> None:
    front.attach("façade".encode())

    for status, headers in ((200, PAGES), (206, {**PAGES, "Range": "bytes=0-3"})):
        answer = front.ask("GET", headers)
        assert answer.status == status
        if not answer.elsewhere:  # A store has its own rules, and its operator makes them.
            got = {name: answer.headers.get(name) for name in OF_OTHER_ORIGINS}
            assert got == OF_OTHER_ORIGINS
            exposed = set(answer.headers["access-control-expose-headers"].split(", "))
            assert exposed >= READ_BY_PAGES
            assert answer.headers["repr-digest"].startswith("sha-256=:")
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
