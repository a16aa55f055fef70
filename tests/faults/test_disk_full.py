"""The disk is full: a real, small file system, mounted for the test.

Where mounting is not allowed the quota is RLIMIT_FSIZE, which test_local_storage.py uses
everywhere; then this file says so and fails, rather than to pass without having looked.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.parts import Server, every_backend


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@every_backend()
def test_a_full_disk_is_507_and_the_old_file_stays(
    make_server: Callable[..., Server], small: Path
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
