"""A server that only reads, on a file system that can't be written: really mounted so.

An ordinary user may do that in a user namespace; where even that is forbidden, nothing is tested.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pyramid.exceptions import ConfigurationError

from tests.support.mounting import mounted
from tests.support.parts import ATTACHMENT, Server, postgresql_settings
from tests.support.pool import Pool


def read_only(folder: Path) -> contextlib.AbstractContextManager[Path]:
    """The same folder, as a process sees it for which it is mounted read-only."""
    return mounted(folder, 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"')


def test_a_readonly_server_starts_on_a_read_only_file_system_and_serves_its_files(
    on_postgresql: Callable[..., Server],
    make_server: Callable[..., Server],
    postgresql: str,
    pool: Pool,
) -> None:
    writable = on_postgresql()
    writable.as_user().upload(content=b"old")
    files = writable.files
    assert files is not None
    before = sorted(files.rglob("*"))

    with read_only(files) as mounted:
        with pytest.raises(OSError, match="Read-only"):
            (mounted / "new").touch()
        settings = {
            **postgresql_settings(postgresql),
            "kinto.readonly": "true",
            "kinto.attachment.base_path": str(mounted),
        }
        server = make_server(settings)
        client = server.as_user()

        assert client.get(ATTACHMENT).body == b"old"
        assert client.get("/__heartbeat__").json["attachments"] is True
        client.upload(status=405)
        pool.discard(server)
    assert sorted(files.rglob("*")) == before


def test_only_a_readonly_server_starts_without_a_directory_that_it_could_make(
    on_postgresql: Callable[..., Server],
    make_server: Callable[..., Server],
    postgresql: str,
    pool: Pool,
    tmp_path: Path,
) -> None:
    on_postgresql()  # A test's first server is emptied, which makes its directory.
    above = tmp_path / "above"
    above.mkdir()
    with read_only(above) as mounted:
        settings = {
            **postgresql_settings(postgresql),
            "kinto.attachment.base_path": str(mounted / "files"),
        }
        with pytest.raises(ConfigurationError, match="can't be made"):
            make_server(settings)

        server = make_server({**settings, "kinto.readonly": "true"})

        server.as_user().get("/__heartbeat__")
        pool.discard(server)
    assert list(above.iterdir()) == []
