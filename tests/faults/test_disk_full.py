"""The disk is full: a real, small file system, mounted for the test.

An ordinary user may mount it in a user namespace. Where even that is forbidden, the quota of
test_local_storage.py, RLIMIT_FSIZE, remains; then this file says so and is skipped.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mounting import mounted
from tests.support.parts import Server, every_backend


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of one MiB.

    A test names it before ``make_server``, which empties it in the end.
    """
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, 'mount -t tmpfs -o size=1m tmpfs "$1"') as found:
        yield found


@every_backend()
def test_a_full_disk_is_507_and_the_old_file_stays(
    small: Path, make_server: Callable[..., Server]
) -> None:
    server = make_server({"kinto.attachment.base_path": str(small)})
    client = server.as_user()
    client.make_collection()
    client.upload(content=b"o" * 400_000)

    for _ in range(3):
        answer = client.upload(content=b"n" * 900_000, status=507)
        assert "Retry-After" in answer.headers
        assert str(small) not in answer.text
        server.assert_agreement()

    client.upload(content=b"n" * 400_000, status=200)
    server.assert_agreement()
