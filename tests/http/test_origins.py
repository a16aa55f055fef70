"""Forms that pages of other sites send: with a password that the browser keeps, never."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import ATTACHMENT, COLLECTION, RECORD, Client, Server

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
OTHER, OWN = "https://evil.example", "https://localhost"

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site", "Accept": HTML}
NO_CORS = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"}
OLD_NAVIGATION = {"Accept": HTML}
OLD_SCRIPT = {"Accept": "application/json"}

REFUSED: dict[str, dict[str, str]] = {
    "a form": {"Origin": OTHER, **NAVIGATION},
    "a form of the same site": {"Origin": OTHER, **NAVIGATION, "Sec-Fetch-Site": "same-site"},
    "a script without CORS": {"Origin": OTHER, **NO_CORS},
    "a sandboxed form": {"Origin": "null", **NAVIGATION},
    "a form that hides its origin": NAVIGATION,
    "an old browser's form": {"Origin": OTHER, **OLD_NAVIGATION},
    "an old browser's sandboxed form": {"Origin": "null", **OLD_NAVIGATION},
    "another port": {"Origin": f"{OWN}:8443", **OLD_NAVIGATION},
    "no origin at all": {"Origin": "https://[", **OLD_NAVIGATION},
}
TAKEN: dict[str, dict[str, str]] = {
    "a program": {},
    "a program that takes pages": {"Accept": HTML},
    "the server's own form": {**NAVIGATION, "Origin": OWN, "Sec-Fetch-Site": "same-origin"},
    "the server's own form in an old browser": {"Origin": OWN, **OLD_NAVIGATION},
    "the server's own behind a proxy": {"Origin": "http://localhost", **OLD_NAVIGATION},
    "its own port, written": {"Origin": f"{OWN}:443", **OLD_NAVIGATION},
    "what the user asked for": {**NAVIGATION, "Sec-Fetch-Site": "none"},
    "kinto.js on another site": {"Origin": OTHER, **SCRIPT},
    "kinto.js in an old browser": {"Origin": OTHER, **OLD_SCRIPT},
    "a script in an old browser": {"Origin": OTHER, "Accept": "*/*"},
    "an app from a file": {"Origin": "null", **SCRIPT},
}


def send(client: Client, headers: dict[str, str], **more: Any) -> Any:
    named: dict[str, Any] = {name.replace("-", "_"): value for name, value in headers.items()}
    return client.upload(**named, **more)


@pytest.mark.parametrize("what", REFUSED)
def test_a_form_of_another_site_with_the_users_password_is_refused(
    owner: Client, what: str
) -> None:
    owner.upload(content=b"kept")
    before = owner.get(RECORD).json

    answer = send(owner, REFUSED[what], status=403)

    assert answer.json["details"]["reason"] == "cross_site_form"
    assert "kinto.cors_origins" in answer.json["message"]
    assert owner.get(RECORD).json == before
    assert owner.get(ATTACHMENT).body == b"kept"
    owner.server.assert_agreement()


@pytest.mark.parametrize("what", TAKEN)
def test_what_gives_its_password_itself_goes_on_working(owner: Client, what: str) -> None:
    everybody = {"permissions": '{"read": ["system.Everyone"]}'}

    send(owner, TAKEN[what], fields=everybody)

    assert owner.server.as_user(None).get(ATTACHMENT).body == b"hello"
    owner.server.assert_agreement()


def test_a_form_that_uses_nobodys_password_is_taken(owner: Client) -> None:
    owner.json("patch", COLLECTION, {"permissions": {"record:create": ["system.Everyone"]}})

    send(owner.server.as_user(None), REFUSED["a form"], status=303)


NAMED = {"kinto.cors_origins": "https://app.example.org https://*.friends.example"}
SITES = ["https://app.example.org", "https://one.friends.example"]


@pytest.mark.parametrize("origin", SITES)
@pytest.mark.parametrize("headers", [NAVIGATION, NO_CORS, OLD_NAVIGATION])
def test_a_form_of_a_named_site_is_taken_and_never_sets_permissions(
    make_server: Callable[..., Server], origin: str, headers: dict[str, str]
) -> None:
    client = make_server(NAMED).as_user()
    client.make_collection()
    sent = {"Origin": origin, **headers}

    for permissions in ('{"write": ["system.Everyone"]}', "{}"):
        answer = send(client, sent, fields={"permissions": permissions}, status=403)
        assert answer.json["details"]["reason"] == "cross_site_permissions"
    client.get(RECORD, 404)
    client.server.assert_agreement()

    send(client, sent, status=201 if headers == NO_CORS else 303)


@pytest.mark.parametrize("headers", [NAVIGATION, NO_CORS, SCRIPT, OLD_NAVIGATION, OLD_SCRIPT])
def test_where_sites_are_named_no_other_one_sends_forms(
    make_server: Callable[..., Server], headers: dict[str, str]
) -> None:
    client = make_server(NAMED).as_user()
    client.make_collection()

    for origin in (
        OTHER,
        "https://app.example.org.evil.example",
        "http://app.example.org",
        "null",
    ):
        answer = send(client, {"Origin": origin, **headers}, status=400)  # By Kinto itself.
        assert answer.json["message"] == f"Origin in header: {origin} not allowed"
    client.get(RECORD, 404)
    client.server.assert_agreement()

    send(client, {"Origin": SITES[0], **SCRIPT}, fields={"permissions": "{}"}, status=201)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Accept": HTML}, 303),
        ({"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}, 303),
        ({"Accept": HTML, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}, 201),
        # Java's HttpURLConnection, which follows a redirect without the password.
        ({"Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}, 201),
        ({"Accept": "text/html"}, 201),
        ({"Accept": f"application/json, {HTML}"}, 201),
        ({"Accept": "*/*"}, 201),
        ({}, 201),
    ],
)
def test_only_a_navigation_is_redirected(
    owner: Client, headers: dict[str, str], status: int
) -> None:
    send(owner, headers, status=status)
