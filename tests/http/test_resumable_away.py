"""A store that is away for a while ends no upload, and has no client begin anew."""

import shutil
from collections.abc import Callable

import pytest

from tests.http.test_resumable import ON, Dialect, Tus, assert_nothing_left, every_dialect, path_of
from tests.support.parts import ATTACHMENT, Server


@pytest.mark.parametrize("backend", ["memory", "postgresql"], indirect=True)
@every_dialect
def test_a_volume_that_is_not_mounted_ends_no_upload(
    make_server: Callable[..., Server], backend: dict[str, str], dialect: Dialect
) -> None:
    server = make_server(ON)
    assert server.files is not None
    owner = server.as_user()
    owner.make_collection()
    url = path_of(dialect.create(owner, 6))
    dialect.send(owner, url, 0, b"abc", False, 204)
    aside = server.files.with_name("aside")
    server.files.rename(aside)
    server.files.mkdir()  # As a mount point is without its volume.

    # tus-js-client asks again after 423 only, and sends the whole file anew after all else.
    answer = dialect.head(owner, url, 423 if isinstance(dialect, Tus) else 503)
    assert "Upload-Offset" not in answer.headers
    assert "Retry-After" in answer.headers
    dialect.send(owner, url, 3, b"def", True, 503)
    if "postgresql" in backend["kinto.storage_backend"]:  # It knows the mark of its store.
        assert "Upload-Offset" not in dialect.stop(owner, url, 503).headers
        assert list(server.files.iterdir()) == []

    shutil.rmtree(server.files)
    aside.rename(server.files)
    assert dialect.head(owner, url).headers["Upload-Offset"] == "3"
    dialect.send(owner, url, 3, b"def", True)
    assert owner.get(ATTACHMENT).body == b"abcdef"
    assert_nothing_left(server)
