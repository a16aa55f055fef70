"""Links without a secret, and what strangers write into a link."""

import logging
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kinto_attachment import keys
from kinto_attachment.attachments.signatures import Signer
from tests.support.parts import ATTACHMENT, Client, Server

LINK = f"{ATTACHMENT}/link"
NO_SECRET = {"kinto.userid_hmac_secret": ""}


@pytest.mark.parametrize("secret", ["", "  "])
def test_without_a_secret_links_are_off_and_the_start_says_so(
    make_server: Callable[..., Server], secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        server = make_server({"kinto.userid_hmac_secret": secret, "kinto.attachment.fsync": "no"})
    assert "Signed links are off: set kinto.attachment.link_secret" in caplog.text
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"private", status=201)
    token = f"{keys.new_id()}.{int(time.time()) + 99}.{'A' * 43}"

    for refused in (
        owner.json("post", LINK, {}, 403),
        server.as_user(None).get(f"{LINK}/{token}", 403),
    ):
        assert refused.json["details"]["reason"] == "links_off"
        assert "kinto.attachment.link_secret" in refused.json["message"]
    assert owner.get(ATTACHMENT, 200).body == b"private"


def test_an_empty_secret_signs_nothing() -> None:
    with pytest.raises(ValueError, match="secret"):
        Signer("")


def test_a_secret_of_the_plugins_own_is_enough(make_server: Callable[..., Server]) -> None:
    server = make_server({**NO_SECRET, "kinto.attachment.link_secret": "own"})
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"private", status=201)
    url = owner.json("post", LINK, {}).json["data"]["url"]

    answer = server.as_user(None).get(url.removeprefix("https://localhost/v1"), 200)

    assert answer.body == b"private"


WORDS = st.text(max_size=60) | st.sampled_from(["\0", "\udcff", "é", "²", "日本", "%", "/", ".."])
TOKENS = st.builds(
    "{}.{}.{}".format,
    st.sampled_from([keys.new_id(), "²" * 36, "0" * 36]),
    st.sampled_from(["9" * 12, "²", "0", "٣٣"]),
    st.sampled_from(["A" * 43, "é" * 43, "ñ" + "A" * 42]),
)
HEADERS = st.sampled_from(
    [
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "If-Unmodified-Since",
        "Sec-Fetch-Dest",
        "Origin",
    ]
)
VALUES = st.text(
    st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60
) | st.builds(
    "{}{}{}".format,
    st.sampled_from(["bytes=", 'W/"', '"', "Sun, ", "*", "-"]),
    st.text('0123456789-,"= \t', max_size=40),
    st.sampled_from(["", "-", " 2026", '"', " GMT", "," * 50]),
)


def path(word: str) -> str:
    return quote(word.encode("utf-8", "surrogateescape"), safe="")


@pytest.fixture
def shared(owner: Client) -> Client:
    owner.upload(content=b"0123456789", status=201)
    return owner


@hypothesis_settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(token=TOKENS | WORDS, file_id=WORDS, header=HEADERS, value=VALUES)
@example(token=f"{keys.new_id()}.999999999999.{'é' * 43}", file_id="\0", header="Range", value="")
@example(token="x", file_id="x", header="Range", value="bytes=-")
@example(token="x", file_id="x", header="If-Range", value=" ")
@example(token="x", file_id="x", header="If-Modified-Since", value="Sun, 06 Nov 1994 0:0:0 +9999")
def test_no_text_in_a_link_or_a_header_makes_the_server_fail(
    shared: Client, token: str, file_id: str, header: str, value: str
) -> None:
    stranger = shared.server.as_user(None)
    answers: list[Any] = [
        stranger.get(f"{LINK}/{path(token) or 'x'}", "*"),
        stranger.get(f"{ATTACHMENT}?file={path(file_id)}", "*"),
        shared.get(f"{ATTACHMENT}?file={path(file_id)}", "*"),
        shared.get(f"{ATTACHMENT}?{path(file_id)}=1", "*"),
        shared.request("GET", ATTACHMENT, "*", headers={header: value}),
        shared.request("HEAD", ATTACHMENT, "*", headers={header: value}),
    ]

    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
