"""Where clients are told to go on is said by Kinto's own settings, whatever stands in front."""

from collections.abc import Callable

import pytest

from tests.http.test_resumable import ON, UPLOADS, Draft, Tus, path_of
from tests.support.parts import ATTACHMENT, Server

MADE_UP = [
    {"Host": "evil.example.net"},
    {"X-Forwarded-Host": "evil.example.net", "X-Forwarded-Proto": "http"},
    {"Forwarded": "host=evil.example.net;proto=http"},
]


@pytest.mark.parametrize("headers", MADE_UP, ids=lambda headers: next(iter(headers)))
def test_nobody_else_says_where_an_upload_goes_on(
    make_server: Callable[..., Server], headers: dict[str, str]
) -> None:
    owner = make_server(ON).as_user()
    owner.make_collection()
    tus = {**Tus().headers(), "Upload-Length": "3", **headers}
    draft = {**Draft("8").headers(), "Upload-Complete": "?0", **headers}
    for method, url, sent in (("POST", UPLOADS, tus), ("PUT", ATTACHMENT, draft)):
        found = path_of(owner.request(method, url, 201, headers=sent))
        assert found.startswith(f"{UPLOADS}/")
