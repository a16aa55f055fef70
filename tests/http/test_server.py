"""What the plugin adds to the server: capability, heartbeat, metrics, CORS."""

from collections.abc import Callable
from typing import Any

import pytest
from pyramid.exceptions import ConfigurationError

from kinto_attachment import __version__
from kinto_attachment.records import last_runs
from tests.support.parts import ATTACHMENT, COLLECTION, RECORD, Client, Server, every_backend


def capability(server: Server) -> Any:
    return server.as_user(None).get("/").json["capabilities"]["attachments"]


def test_the_capability_says_what_a_client_can_know(make_server: Callable[..., Server]) -> None:
    server = make_server(
        {"kinto.attachment.max_size_bytes": "1000", "kinto.attachment.extensions": "png+jpg"}
    )

    found = capability(server)

    assert found["version"] == __version__
    assert found["url"].startswith("https://")
    assert found["max_size"] == 1000
    assert found["extensions"] == ["jpg", "png"]


def test_the_capability_shows_no_limits_where_there_are_none(
    make_server: Callable[..., Server],
) -> None:
    found = capability(make_server({"kinto.attachment.extensions": "any"}))

    assert (found["max_size"], found["extensions"]) == (None, None)


def test_the_capability_says_how_uploads_go_on(make_server: Callable[..., Server]) -> None:
    found = capability(make_server())["uploads"]

    assert (found["tus"], found["draft"], found["max_age"]) == ("1.0.0", [8, 6], 86400)
    assert "uploads" not in capability(make_server({"kinto.attachment.uploads": "false"}))


@pytest.mark.parametrize(
    ("settings", "announced"),
    [
        ({}, "https://localhost/v1/"),
        ({"base_url": "https://cdn.example.org/files"}, "https://cdn.example.org/files/"),
        ({"base_url": ""}, "/"),
        (
            {"base_url": "", "extra.base_url": "https://cdn.example.org"},
            "https://cdn.example.org/",
        ),
    ],
)
def test_the_announced_base_url_is_a_string_that_ends_in_a_slash(
    make_server: Callable[..., Server], settings: dict[str, str], announced: str
) -> None:
    server = make_server({f"kinto.attachment.{k}": v for k, v in settings.items()})

    assert capability(server)["base_url"] == announced


def test_without_http_host_the_announced_base_url_is_as_the_request_sees_it(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({"kinto.http_host": None})
    for host in ("one.example.org", "two.example.org"):
        answer = server.as_user(None).get("/", Host=host)
        url = answer.json["capabilities"]["attachments"]["base_url"]
        assert url == f"https://{host}/v1/"


def test_the_heartbeat_says_true_and_leaves_nothing(owner: Client) -> None:
    assert owner.get("/__heartbeat__").json["attachments"] is True
    assert owner.server.stored_keys() == set()
    assert owner.server.unfinished() == []


@every_backend()
def test_the_heartbeat_tells_where_asked_what_the_last_verification_found(
    make_server: Callable[..., Server],
) -> None:
    quiet = make_server()
    asked = make_server({"kinto.attachment.verified_in_heartbeat": "true"})
    assert "attachments_verified" not in quiet.as_user().get("/__heartbeat__").json
    assert asked.as_user().get("/__heartbeat__").json["attachments_verified"] is True

    for damaged, healthy in ((1, False), (0, True)):
        last_runs.publish(asked.registry, last_runs.VERIFY, {"damaged": damaged})
        answer = asked.as_user().get("/__heartbeat__", status=200 if healthy else 503)
        assert answer.json["attachments_verified"] is healthy


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
def test_browsers_of_other_origins_may_use_the_endpoint(owner: Client, method: str) -> None:
    headers = {
        "Origin": "https://app.example.org",
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, if-match, content-type",
    }

    answer = owner.server.as_user(None).request("OPTIONS", ATTACHMENT, 200, headers=headers)

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert method in answer.headers["Access-Control-Allow-Methods"]
    assert "if-match" in answer.headers["Access-Control-Allow-Headers"]


def test_browsers_see_the_headers_on_answers_and_on_errors(owner: Client) -> None:
    origin: dict[str, Any] = {"Origin": "https://app.example.org"}
    answers = [
        owner.upload(**origin),
        owner.get(ATTACHMENT, **origin),
        owner.upload(filename="a.exe", status=400, **origin),
        owner.upload(If_Match='"1"', status=412, **origin),
        owner.server.as_user("other").upload(status=403, **origin),
        owner.server.as_user(None).upload(status=401, **origin),
        owner.get(f"{COLLECTION}/records/none/attachment", 404, **origin),
        owner.delete(ATTACHMENT, **origin),
    ]

    for answer in answers:
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        exposed = answer.headers["Access-Control-Expose-Headers"]
        for name in ("ETag", "Last-Modified", "Location", "Repr-Digest"):
            assert name in exposed


def test_metrics_count_bytes_refusals_and_time(make_server: Callable[..., Server]) -> None:
    server = make_server({"kinto.includes": "kinto.plugins.prometheus kinto_attachment"})
    client = server.as_user()
    client.make_collection()

    client.upload(content=b"x" * 1000)
    client.get(ATTACHMENT)
    client.upload(filename="a.exe", status=400)

    lines = client.get("/__metrics__").text
    assert "attachment_received_bytes_total 1000.0" in lines
    assert "attachment_sent_bytes_total 1000.0" in lines
    assert 'attachment_refusals_total{reason="extension"} 1.0' in lines
    assert "attachment_upload_seconds_count 2.0" in lines
    assert "attachment_settle_seconds_count" in lines


def test_the_counters_plugin_counts_attachments(make_server: Callable[..., Server]) -> None:
    server = make_server({"kinto.includes": "kinto_attachment kinto.plugins.counters"})
    client = server.as_user()
    client.make_collection()

    client.upload()

    assert client.get(RECORD).json["data"]["attachment"]["size"] == 5


def test_a_wrong_setting_stops_the_start_with_a_sentence(
    make_server: Callable[..., Server],
) -> None:
    with pytest.raises(ConfigurationError, match=r"max_size_bytes = lots.*whole number"):
        make_server({"kinto.attachment.max_size_bytes": "lots"})


def test_a_missing_base_path_stops_the_start_with_a_sentence(
    make_server: Callable[..., Server],
) -> None:
    with pytest.raises(ConfigurationError, match="base_path is missing"):
        make_server({"kinto.attachment.base_path": None})


def test_the_base_path_comes_from_the_environment(
    make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("KINTO_ATTACHMENT_BASE_PATH", str(tmp_path / "elsewhere"))
    server = make_server({"kinto.attachment.base_path": None})
    server.as_user().make_collection()

    server.as_user().upload()

    assert len(list((tmp_path / "elsewhere").glob("*.jpg"))) == 1


def test_other_code_finds_the_store_as_pyramid_storages(owner: Client) -> None:
    from pyramid_storage.interfaces import IFileStorage
    from pyramid_storage.local import LocalFileStorage

    storage = owner.server.registry.getUtility(IFileStorage)

    assert isinstance(storage, LocalFileStorage)
    assert storage is owner.server.registry.attachments.store
