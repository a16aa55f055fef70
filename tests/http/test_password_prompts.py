"""A picture in a page that may not be read opens no dialogue for a password."""

from collections.abc import Callable

import pytest

from tests.support.parts import ATTACHMENT, Client, Server

DEFAULT = "/buckets/default/collections/album/records/first/attachment"
PARTS = ("image", "video", "audio", "track", "font", "style", "script")
NAVIGATIONS = ("document", "iframe", "object", "embed", "empty")


@pytest.fixture
def private(make_server: Callable[..., Server]) -> Client:
    server = make_server({"kinto.includes": "kinto_attachment kinto.plugins.default_bucket"})
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"picture", status=201)
    return server.as_user(None)


@pytest.mark.parametrize("path", [ATTACHMENT, f"{ATTACHMENT}?file=x", DEFAULT])
def test_a_part_of_a_page_asks_for_no_password_and_a_person_is_asked(
    private: Client, path: str
) -> None:
    for destination in PARTS:
        answer = private.get(path, 401, Sec_Fetch_Dest=destination)
        assert "WWW-Authenticate" not in answer.headers
        assert answer.json["errno"] == 104
    for destination in NAVIGATIONS:
        asked = private.get(path, 401, Sec_Fetch_Dest=destination)
        assert asked.headers["WWW-Authenticate"].startswith("Basic")
    assert private.get(path, 401).headers["WWW-Authenticate"].startswith("Basic")
