"""What a browser asks before a page of another origin uploads in several requests."""

from collections.abc import Callable

import pytest

from tests.support.parts import Server

ONE = "/" + "0" * 32
PLACES = ["/buckets/default/collections/album", "/buckets/a/collections/of-nobody"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("", "POST"),
        (f"/{'0' * 32}", "PATCH"),
        (f"/{'0' * 32}", "HEAD"),
        (f"/{'0' * 32}", "DELETE"),
    ],
)
def test_a_page_may_begin_where_there_is_no_collection_yet(
    make_server: Callable[..., Server], place: str, path: str, method: str
) -> None:
    includes = "kinto.plugins.default_bucket kinto_attachment"
    server = make_server({"kinto.attachment.uploads": "true", "kinto.includes": includes})
    asked = {
        "Origin": "https://pages.example.org",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,tus-resumable,upload-offset",
    }

    answer = server.as_user(None).request(
        "OPTIONS", f"{place}/records/first/attachment/uploads{path}", 200, headers=asked
    )

    assert answer.headers["Access-Control-Allow-Origin"] in ("*", asked["Origin"])
    assert method in answer.headers["Access-Control-Allow-Methods"]
