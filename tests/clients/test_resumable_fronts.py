"""Uploads in several requests behind proxies, and into every store."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinto_attachment.testing import noise
from tests.clients import upload_clients as clients
from tests.clients.lines import line_to
from tests.clients.resumable import CONTENT, Uploads, taking_uploads
from tests.clients.test_documented_nginx import nginx
from tests.support import storage_parts
from tests.support.documents import example
from tests.support.processes import Kinto

BIG = noise(9_000_000)
"""More than what a store behind a network gets at once, 8 MiB."""
BUFFERING = "proxy_request_buffering on;"


@contextlib.contextmanager
def behind_nginx(folder: Path, kind: str, lines: str = "", **more: str) -> Iterator[Uploads]:
    """A server behind nginx, as the documentation has it.

    :param lines: what stands there in place of the buffering of requests.
    """
    front = folder / "front"
    front.mkdir()
    with taking_uploads(kind, folder, **more) as behind:
        recipe = example("nginx").replace("http://127.0.0.1:8888", behind.kinto.origin)
        with (
            nginx(front, recipe.replace(BUFFERING, lines or BUFFERING)) as origin,
            line_to(origin) as line,
        ):
            yield Uploads(Kinto(origin, folder), line)


@pytest.mark.parametrize("lines", [BUFFERING, "proxy_request_buffering off;"])
def test_the_line_to_nginx_breaks_and_the_client_goes_on(tmp_path: Path, lines: str) -> None:
    with behind_nginx(tmp_path, "gunicorn", lines) as uploads:
        uploads.line.break_after(len(CONTENT) // 2)

        clients.run(clients.tuspy(uploads, "first"))

        assert uploads.line.was_broken()
        uploads.assert_has(CONTENT)


@pytest.fixture(params=["s3", "google"])
def store(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The settings of a store behind a network, as :func:`taking_uploads` takes them."""
    if request.param == "s3":
        bucket, url = request.getfixturevalue("bucket"), request.getfixturevalue("s3_url")
        yield _named(storage_parts.s3_settings(url, bucket))
        return
    with storage_parts.google_emulator() as emulator:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator.url)
        yield _named(storage_parts.gcs_settings(emulator.make_bucket()))


def _named(settings: dict[str, str | None]) -> dict[str, str]:
    return {
        name.removeprefix("kinto.").replace(".", "__"): value or ""
        for name, value in settings.items()
    }


@pytest.mark.parametrize("kind", ["waitress", "gunicorn", "granian"])
def test_the_line_breaks_before_every_store(
    tmp_path: Path, kind: str, store: dict[str, str]
) -> None:
    with taking_uploads(kind, tmp_path, **store) as uploads:
        uploads.line.break_after(len(BIG) * 3 // 4)

        clients.run(clients.tuspy(uploads, "first", BIG, chunk_size=3_000_000))

        assert uploads.line.was_broken()
        uploads.assert_has(BIG)
