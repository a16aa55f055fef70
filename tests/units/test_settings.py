"""Settings: what is written in the ini or the environment is what holds, or the start stops."""

import contextlib
import math
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from kinto.core.utils import native_value
from pyramid.exceptions import ConfigurationError

from kinto_attachment import keys, settings
from kinto_attachment.attachments import naming, values
from kinto_attachment.attachments.locations import Locations
from kinto_attachment.attachments.values import Attachment, FilePart
from kinto_attachment.media_types import GROUPS
from kinto_attachment.settings import Policy, Settings
from kinto_attachment.settings.parsers import PUBLISHED_TYPES
from kinto_attachment.settings.table import SETTINGS
from kinto_attachment.targets import Target
from tests.support import processes
from tests.support.parts import Server

TARGET = Target("pictures", "album", "first")
PER_RESOURCE = [setting.key for setting in SETTINGS if setting.per_resource]
GLOBAL = [setting.key for setting in SETTINGS if not setting.per_resource]

ROWS: list[tuple[str, str, Any]] = [
    ("base_path", "/srv/files", "/srv/files"),
    ("base_path", " /srv/files ", "/srv/files"),
    ("base_url", "https://cdn.example.org/files/", "https://cdn.example.org/files/"),
    ("base_url", "https://cdn.example.org/files", "https://cdn.example.org/files/"),
    ("base_url", "", ""),
    ("base_url", "//cdn.example.org/files", "//cdn.example.org/files/"),
    ("base_url", "HTTP://[::1]:8080", "HTTP://[::1]:8080/"),
    ("extra.base_url", "https://cdn.example.org", "https://cdn.example.org/"),
    ("extra.base_url", "", ""),
    ("folder", "{bucket_id}/{collection_id}", "{bucket_id}/{collection_id}"),
    ("folder", "album/", "album"),
    ("folder", "{bucket_id}/" + "a" * 180, "{bucket_id}/" + "a" * 180),
    ("folder", "2024", "2024"),
    ("folder", '"2.50"', "2.50"),
    ("folder", "", ""),
    ("keep_old_files", "true", math.inf),
    ("keep_old_files", "Yes", math.inf),
    ("keep_old_files", "on", math.inf),
    ("keep_old_files", "1", math.inf),
    ("keep_old_files", "90d", 90 * 86400),
    ("keep_old_files", "12h", 12 * 3600),
    ("keep_old_files", "1 W", 7 * 86400),
    ("keep_old_files", "false", False),
    ("keep_old_files", "No", False),
    ("keep_old_files", "OFF", False),
    ("keep_old_files", "0", False),
    ("keep_old_files", "", False),
    ("randomize", "false", False),
    ("randomize", "true", True),
    ("filename_pattern", "{rid}-{datetime}-{filename}", "{rid}-{datetime}-{filename}"),
    ("filename_pattern", "{{{rid}}}", "{{{rid}}}"),
    ("filename_pattern", "2024", "2024"),
    ("extensions", "jpg", frozenset({"jpg"})),
    ("extensions", ".JPG + png", frozenset({"jpg", "png"})),
    ("extensions", "images+sqlite", frozenset({*GROUPS["images"], "sqlite"})),
    ("extensions", "default", frozenset(GROUPS["default"])),
    ("extensions", "default+any", None),
    ("extensions", "7", frozenset({"7"})),
    ("mimetypes", ".jxl:image/jxl", {**PUBLISHED_TYPES, ".jxl": "image/jxl"}),
    ("mimetypes", " .A:x/y ; .b: z/w+xml; ", {**PUBLISHED_TYPES, ".a": "x/y", ".b": "z/w+xml"}),
    ("mimetypes", ".pem:x/y", {**PUBLISHED_TYPES, ".pem": "x/y"}),
    ("mimetypes", "", PUBLISHED_TYPES),
    ("max_size_bytes", "1048576", 1048576),
    ("max_size_bytes", "0", 0),
    ("legacy_format", "true", True),
    ("legacy_format", "false", False),
    ("accept_unknown_metadata", "true", True),
    ("private", "true", True),
    ("verified_in_heartbeat", "true", True),
    ("verified_in_heartbeat", "false", False),
    ("sniff", "false", False),
    ("download", "proxy", "proxy"),
    ("accel_redirect", "/files/", "/files/"),
    ("accel_redirect", "", None),
    ("least_rate", "0", 0),
    ("least_rate", "1024", 1024),
    ("least_rate_grace", "5", 5.0),
    ("uploads", "false", False),
    ("upload_max_age", "600", 600),
    ("max_uploads_per_user", "5", 5),
    ("max_unfinished_bytes", "1000", 1000),
    ("interim_responses", "true", True),
    ("public_max_age", "3600", 3600),
    ("link_max_age", "600", 600),
    ("link_secret", "hidden", "hidden"),
    ("demo", "true", True),
    ("demo", "", False),
    ("fsync", "false", False),
    ("store_timeout", "0.5", 0.5),
    ("backend", "my.package.Store", "my.package.Store"),
    ("aws.bucket_name", "pictures", "pictures"),
    ("aws.access_key", "AKIA", "AKIA"),
    ("aws.access_key", "123456", "123456"),
    ("aws.secret_key", '"1e5"', "1e5"),
    ("aws.region", "eu-west-3", "eu-west-3"),
    ("aws.endpoint_url", "https://s3.example.org:9000", "https://s3.example.org:9000"),
    ("aws.host", "s3.example.org", "s3.example.org"),
    ("aws.port", "9000", 9000),
    ("aws.is_secure", "false", False),
    ("aws.use_path_style", "true", True),
    ("aws.use_path_style", "false", False),
    ("aws.acl", "public-read", "public-read"),
    ("aws.acl", "", ""),
    ("aws.cache_control", "max-age=60", "max-age=60"),
    ("aws.cache_control", "", ""),
    ("aws.timeout", "2.5", 2.5),
    ("aws.timeout", "30", 30.0),
    ("aws.num_retries", "3", 3),
    ("aws.upload_concurrency", "1", 1),
    ("gcloud.bucket_name", "pictures", "pictures"),
    ("gcloud.credentials", "/etc/service.json", "/etc/service.json"),
    ("gcloud.project", "my-project", "my-project"),
    ("gcloud.acl", "projectPrivate", "projectPrivate"),
    ("gcloud.uniform_bucket_level_access", "true", True),
    ("gcloud.cache_control", "public, max-age=60", "public, max-age=60"),
    ("gcloud.timeout", "0.5", 0.5),
]

WRONG: list[tuple[str, str, str]] = [
    ("base_path", "~/files", "the whole path, without '~'"),
    ("base_path", "~", "the whole path, without '~'"),
    ("folder", "/outside", "relative folder"),
    ("folder", "/", "relative folder"),
    ("folder", "//a/", "relative folder"),
    ("base_path", "1.5", "double quotes"),
    ("base_url", "1e3", "double quotes"),
    ("base_url", "files.example.org", "the whole URL"),
    ("base_url", "/files/", "the whole URL"),
    ("base_url", "https:/files.example.org/", "the whole URL"),
    ("base_url", "https://", "the whole URL"),
    ("base_url", "https://https://files.example.org/", "the whole URL"),
    ("base_url", "https://files.example.org:https/", "the whole URL"),
    ("base_url", "https://files example.org/", "the whole URL"),
    ("base_url", "https://files.example.org/?file=", "the whole URL"),
    ("base_url", "https://files.example.org/#", "the whole URL"),
    ("base_url", "s3://bucket/", "the whole URL"),
    ("extra.base_url", "/x", "the whole URL"),
    ("extra.base_url", "files.example.org/x/", "the whole URL"),
    ("extra.base_url", "1.5", "double quotes"),
    ("folder", "1.50", "double quotes"),
    ("folder", "a" * 181, "no more than 180 bytes between two slashes"),
    ("folder", "{bucket_id}" + "é" * 91, "no more than 180 bytes between two slashes"),
    ("folder", "/".join(["a" * 180] * 4), "700 in all"),
    ("folder", "../outside", "relative folder"),
    ("folder", "a/../b", "relative folder"),
    ("folder", "a//b", "relative folder"),
    ("folder", "a\\b", "relative folder"),
    ("folder", ".unfinished", "relative folder"),
    ("folder", "..", "relative folder"),
    ("folder", "{bucket}", "{bucket_id}"),
    ("folder", "{filename}", "{collection_id}"),
    ("folder", "{bucket_id", "balanced braces"),
    ("folder", "bucket_id}", "balanced braces"),
    ("folder", "{bucket_id!r}", "no other name in braces"),
    ("folder", "{bucket_id:>9}", "no other name in braces"),
    ("folder", "{bucket_id.__class__}", "no other name in braces"),
    ("folder", "{bucket_id[0]}", "no other name in braces"),
    ("folder", "{}", "double quotes"),
    ("folder", "{0}", "no other name in braces"),
    ("filename_pattern", "a/{filename}", "'folder'"),
    ("filename_pattern", "{bucket_id}", "{filename}"),
    ("filename_pattern", "{filename", "balanced braces"),
    ("filename_pattern", "{filename:{rid}}", "no other name in braces"),
    ("filename_pattern", "1.5", "double quotes"),
    ("filename_pattern", "{rid}" + "a" * 181, "no more than 180 bytes"),
    ("keep_old_files", "maybe", "true, false, or for how long: 12h, 90d, 52w"),
    ("keep_old_files", "0d", "true, false, or for how long: 12h, 90d, 52w"),
    ("keep_old_files", "90 days", "true, false, or for how long: 12h, 90d, 52w"),
    ("keep_old_files", "2", "true, false, or for how long: 12h, 90d, 52w"),
    ("keep_old_files", "null", "true, false, or for how long: 12h, 90d, 52w"),
    ("randomize", "tru", "true or false"),
    ("randomize", "1.0", "true or false"),
    ("legacy_format", "y", "true or false"),
    ("accept_unknown_metadata", "never", "true or false"),
    ("private", "perhaps", "true or false"),
    ("verified_in_heartbeat", "damaged", "true or false"),
    ("sniff", "perhaps", "true or false"),
    ("download", "both", "redirect or proxy"),
    ("accel_redirect", "files", "begins and ends with a slash"),
    ("accel_redirect", "/a b/", "begins and ends with a slash"),
    ("least_rate", "4k", "whole number"),
    ("least_rate_grace", "0", "seconds above 0"),
    ("uploads", "perhaps", "true or false"),
    ("upload_max_age", "24h", "whole number"),
    ("max_uploads_per_user", "-1", "whole number"),
    ("max_unfinished_bytes", "1G", "whole number"),
    ("interim_responses", "maybe", "true or false"),
    ("public_max_age", "1h", "whole number"),
    ("link_max_age", "-1", "whole number"),
    ("link_max_age", "0", "1 or more"),
    ("link_secret", "1.5", "double quotes"),
    ("demo", "sometimes", "true or false"),
    ("fsync", "[true]", "true or false"),
    ("store_timeout", "0", "a number of seconds above 0"),
    ("extensions", "", "joined by '+'"),
    ("extensions", "jpg+", "joined by '+'"),
    ("extensions", "default,zip", "joined by '+'"),
    ("extensions", "jpg++png", "joined by '+'"),
    ("extensions", "1.5", "double quotes"),
    ("mimetypes", "jxl:image/jxl", ".ext:type/subtype"),
    ("mimetypes", ".jxl=image/jxl", ".ext:type/subtype"),
    ("mimetypes", ".jxl:image", ".ext:type/subtype"),
    ("mimetypes", ".jxl:", ".ext:type/subtype"),
    ("mimetypes", ".jxl:image/jxl,.a:b/c", ".ext:type/subtype"),
    ("mimetypes", ".jxl:image/j xl", ".ext:type/subtype"),
    ("max_size_bytes", "10MB", "whole number"),
    ("max_size_bytes", "-1", "whole number"),
    ("max_size_bytes", "1e6", "whole number"),
    ("max_size_bytes", "1.5", "whole number"),
    ("max_size_bytes", "1_000", "whole number"),
    ("max_size_bytes", "٣", "whole number"),
    ("max_size_bytes", "", "whole number"),
    ("max_size_bytes", "true", "whole number"),
    ("max_size_bytes", "null", "whole number"),
    ("max_size_bytes", "9" * 5000, "whole number"),
    ("backend", "1.5", "double quotes"),
    ("aws.bucket_name", "1.5", "double quotes"),
    ("aws.access_key", "1e5", "double quotes"),
    ("aws.secret_key", "1.5", "double quotes"),
    ("aws.region", "1.5", "double quotes"),
    ("aws.endpoint_url", "s3.example.org", "http"),
    ("aws.host", "1.5", "double quotes"),
    ("aws.port", "-1", "whole number"),
    ("aws.port", "0", "from 1 to 65535"),
    ("aws.port", "65536", "from 1 to 65535"),
    ("aws.port", "https", "whole number"),
    ("aws.is_secure", "https", "true or false"),
    ("aws.use_path_style", "auto", "true or false"),
    ("aws.acl", "public read", "canned ACL"),
    ("aws.acl", "1.5", "double quotes"),
    ("aws.cache_control", "1.5", "double quotes"),
    ("aws.timeout", "0", "seconds above 0"),
    ("aws.timeout", "0.0", "seconds above 0"),
    ("aws.timeout", "-1", "seconds above 0"),
    ("aws.timeout", "10s", "seconds above 0"),
    ("aws.timeout", "true", "seconds above 0"),
    ("aws.timeout", "", "seconds above 0"),
    ("aws.num_retries", "1.5", "whole number"),
    ("aws.upload_concurrency", "0", "1 or more"),
    ("gcloud.bucket_name", "1.5", "double quotes"),
    ("gcloud.credentials", "1.5", "double quotes"),
    ("gcloud.project", "1.5", "double quotes"),
    ("gcloud.acl", "a/b", "canned ACL"),
    ("gcloud.uniform_bucket_level_access", "maybe", "true or false"),
    ("gcloud.cache_control", "1.5", "double quotes"),
    ("gcloud.timeout", "nan", "seconds above 0"),
]


def parse(**written: Any) -> Settings:
    """Settings named by keyword, ``__`` for a dot."""
    return settings.parse({f"attachment.{k.replace('__', '.')}": v for k, v in written.items()})


def value_of(parsed: Settings, key: str) -> Any:
    """What was read for one row of the table, wherever the settings have it."""
    if key in PER_RESOURCE:
        return getattr(parsed.policy_for("", ""), key)
    return parsed.network[key] if key in parsed.network else getattr(parsed, key.replace(".", "_"))


def parse_one(key: str, value: Any) -> Settings:
    return settings.parse({f"attachment.{key}": value})


def names(rows: list[tuple[str, str, Any]]) -> list[str]:
    return [ascii(f"{row[0]}={row[1][:30]}") for row in rows]


def another(key: str) -> tuple[str, Any]:
    """A valid value of the setting that is not its default: as written, and parsed."""
    defaults = {setting.key: setting.default for setting in SETTINGS}
    return next((text, value) for k, text, value in ROWS if k == key and value != defaults[k])


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings.parse(raw)
    return str(caught.value)


HIDDEN = "(not shown)"
SECRETS = {"aws.access_key", "aws.secret_key", "aws.endpoint_url", "gcloud.credentials"}
SECRETS |= {"link_secret"}


def shown(key: str, value: Any) -> Any:
    """What a sentence says of the value: nothing, where it may be a secret."""
    return HIDDEN if key in SECRETS else value


# One setting


def test_every_setting_has_a_row_here() -> None:
    assert {row[0] for row in ROWS} == {setting.key for setting in SETTINGS}
    assert {row[0] for row in WRONG} == {setting.key for setting in SETTINGS}


def test_without_any_setting_the_defaults_hold() -> None:
    parsed = settings.parse({})

    for setting in SETTINGS:
        assert value_of(parsed, setting.key) == setting.default, setting.key
    assert asdict(parsed.policy_for("any", "one")) == {
        "folder": "",
        "keep_old_files": False,
        "randomize": True,
        "filename_pattern": "",
        "extensions": frozenset(GROUPS["default"]),
        "mimetypes": {".geojson": "application/geojson", ".pem": "application/x-pem-file"},
        "max_size_bytes": 0,
        "private": False,
        "uploads": True,
    }


def test_settings_of_others_are_passed_over() -> None:
    others = {"http_host": "example.org", "attachments.folder": "x", "storage.base_path": "y"}

    assert settings.parse(others) == settings.parse({})


@pytest.mark.parametrize(
    "key",
    ["attachments.max_size", "atachment.base_path", "Attachment.resources.films.folder"],
)
def test_a_setting_below_a_misspelt_prefix_is_told(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.parse({key: "hunter2"})

    (message,) = caplog.messages
    meant = f"attachment.{key.partition('.')[2]}"
    assert message == f"kinto.{key} is no setting of kinto-attachment: write kinto.{meant}."


@pytest.mark.parametrize("key", ["attachments.colour", "storage.base_path", "attach", "a.folder"])
def test_settings_that_another_plugin_may_have_are_not_told(
    key: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.parse({key: "7"})

    assert caplog.messages == []


@pytest.mark.parametrize(("key", "text", "value"), ROWS, ids=names(ROWS))
def test_a_setting_is_read_from_text(key: str, text: str, value: Any) -> None:
    if text.startswith('"'):
        text = text.strip('"')  # Kinto takes JSON's quotes away.

    assert value_of(parse_one(key, text), key) == value


@pytest.mark.parametrize(("key", "text", "value"), ROWS, ids=names(ROWS))
def test_a_setting_is_read_from_what_kinto_makes_of_text(key: str, text: str, value: Any) -> None:
    assert value_of(parse_one(key, native_value(text)), key) == value


@pytest.mark.parametrize(("key", "text", "value"), ROWS, ids=names(ROWS))
def test_a_setting_is_read_from_the_environment(
    key: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KINTO_ATTACHMENT_{key.replace('.', '_').upper()}", text or '""')

    assert value_of(settings.parse({}), key) == value


@pytest.mark.parametrize("key", PER_RESOURCE)
def test_a_general_setting_is_in_the_policy_of_every_collection(key: str) -> None:
    text, value = another(key)

    assert getattr(parse_one(key, text).policy_for("pictures", "album"), key) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [(True, True), (False, False), (1, True), (0, False), ("TRUE", True), (" off ", False)],
)
def test_a_boolean_may_be_a_json_value(written: Any, value: bool) -> None:
    assert value_of(parse(randomize=written), "randomize") is value


def test_max_size_is_another_spelling_of_max_size_bytes() -> None:
    parsed = parse(max_size=7, resources__b__max_size="8")

    assert parsed.policy_for("a", "a").max_size_bytes == 7
    assert parsed.policy_for("b", "a").max_size_bytes == 8


def test_aws_bucket_is_another_spelling_of_aws_bucket_name() -> None:
    assert parse(aws__bucket="pictures").network["aws.bucket_name"] == "pictures"


# Buckets and collections


@pytest.mark.parametrize("key", PER_RESOURCE)
def test_a_setting_of_a_bucket_holds_in_that_bucket_alone(key: str) -> None:
    text, value = another(key)
    parsed = parse_one(f"resources.pictures.{key}", text)
    general = settings.parse({}).policy_for("", "")

    assert getattr(parsed.policy_for("pictures", "album"), key) == value
    assert parsed.policy_for("other", "album") == general
    assert parsed.policy_for("picture", "s") == general


@pytest.mark.parametrize("key", PER_RESOURCE)
def test_a_setting_of_a_collection_holds_in_that_collection_alone(key: str) -> None:
    text, value = another(key)
    parsed = parse_one(f"resources.pictures.album.{key}", text)
    general = settings.parse({}).policy_for("", "")

    assert getattr(parsed.policy_for("pictures", "album"), key) == value
    assert parsed.policy_for("pictures", "other") == general
    assert parsed.policy_for("album", "pictures") == general


@pytest.mark.parametrize("order", [1, -1])
def test_the_most_specific_setting_wins_key_by_key(order: int) -> None:
    written = {
        "attachment.folder": "general",
        "attachment.max_size_bytes": 1,
        "attachment.randomize": False,
        "attachment.resources.pictures.folder": "bucket",
        "attachment.resources.pictures.max_size_bytes": 2,
        "attachment.resources.pictures.album.folder": "collection",
    }
    parsed = settings.parse(dict(list(written.items())[::order]))

    def seen(bucket_id: str, collection_id: str) -> tuple[str, int, bool]:
        policy = parsed.policy_for(bucket_id, collection_id)
        return policy.folder, policy.max_size_bytes, policy.randomize

    assert seen("pictures", "album") == ("collection", 2, False)
    assert seen("pictures", "other") == ("bucket", 2, False)
    assert seen("other", "album") == ("general", 1, False)


def test_a_collection_may_take_back_what_its_bucket_sets() -> None:
    parsed = parse(
        max_size_bytes=5,
        resources__b__max_size_bytes=7,
        resources__b__c__max_size_bytes=0,
        resources__b__randomize=False,
        resources__b__c__randomize=True,
    )

    assert parsed.policy_for("b", "c").max_size_bytes == 0
    assert parsed.policy_for("b", "c").randomize is True
    assert parsed.policy_for("b", "d").randomize is False


@pytest.mark.parametrize("place", [("folder",), ("folder", "randomize"), ("b", "max_size")])
def test_buckets_and_collections_may_be_called_like_settings(place: tuple[str, ...]) -> None:
    parsed = parse_one(f"resources.{'.'.join(place)}.folder", "special")

    assert parsed.policy_for(place[0], place[-1]).folder == "special"
    assert parsed.policy_for("folder-", "x").folder == ""


@pytest.mark.parametrize("key", GLOBAL)
def test_a_setting_of_the_whole_server_is_refused_for_a_bucket(key: str) -> None:
    text, _ = another(key)
    name = f"resources.pictures.{key}"

    message = refusal({f"attachment.{name}": text})

    value = HIDDEN if key.startswith(("aws.", "gcloud.", "link_s")) else text
    assert message.startswith(f"kinto.attachment.{name} = {value}: ")
    assert "resources.<bucket>.<collection>.<setting>" in message
    assert all(known in message for known in PER_RESOURCE)


@pytest.mark.parametrize(
    "name",
    [
        "resources.folder",
        "resources.max_size",
        "resources..folder",
        "resources.b..folder",
        "resources..c.folder",
        "resources.b.c.d.folder",
        "resources.b.foldr",
        "resources.b.c.foldr",
        "resources.b",
        "resources.",
    ],
)
def test_a_resource_setting_of_the_wrong_shape_stops_the_start(name: str) -> None:
    message = refusal({f"attachment.{name}": "album"})

    known = name.endswith(("folder", "max_size"))
    assert message.startswith(f"kinto.attachment.{name} = {'album' if known else HIDDEN}: ")
    assert "resources.<bucket>.<setting>" in message


# Wrong values and unknown keys


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".")
    assert not re.search(r"[.!?] [A-Z]", message)
    assert "\n" not in message


@pytest.mark.parametrize(("key", "text", "accepted"), WRONG, ids=names(WRONG))
@pytest.mark.parametrize("reader", [str, native_value], ids=["text", "json"])
def test_a_wrong_value_stops_the_start_with_one_sentence(
    key: str, text: str, accepted: str, reader: Callable[[str], Any]
) -> None:
    value = reader(text)
    if reader is str and accepted == "double quotes":
        value = native_value(text)  # Only Kinto's reading makes a number of it.

    message = refusal({f"attachment.{key}": value})

    assert message.startswith(f"kinto.attachment.{key} = {shown(key, value)}: ")
    assert accepted in message
    assert_one_sentence(message)


@pytest.mark.parametrize(
    "name",
    [
        "aws.endpoint_url",
        "aws.secret_kye",
        "aws.password",
        "gcloud.credential",
        "access_key",
        "api_token",
        "resources.pictures.aws.secret_key",
        "resources.pictures.aws.secret_kye",
        "link_secrte",
        "link_sceret",
        "lnk_secrt",
        "base_url.of.mine",
        "resources.pictures.lnk_secrt",
        "resource.pictures.folder",
    ],
)
def test_a_secret_is_never_shown(name: str) -> None:
    message = refusal({f"attachment.{name}": "user:hunter2"})

    assert message.startswith(f"kinto.attachment.{name} = {HIDDEN}: ")
    assert "hunter2" not in message


@pytest.mark.parametrize("url", ["https://user:hunter2@cdn.org/", "user:hunter2@cdn.org"])
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    message = refusal({"attachment.base_url": url})

    assert message.startswith(f"kinto.attachment.base_url = {HIDDEN}@cdn.org")
    assert "without user, password" in message


def test_the_settings_of_a_server_can_be_printed_without_its_secrets() -> None:
    printed = repr(parse(aws__secret_key="hunter2", aws__access_key="AKIA"))

    assert "hunter2" not in printed
    assert "AKIA" not in printed


def test_a_bucket_whose_name_looks_like_a_secret_has_its_values_shown() -> None:
    message = refusal({"attachment.resources.monkeys.max_size_bytes": "10MB"})

    assert message.startswith("kinto.attachment.resources.monkeys.max_size_bytes = 10MB: ")


@pytest.mark.parametrize("key", PER_RESOURCE)
@pytest.mark.parametrize("place", ["pictures", "pictures.album"])
def test_a_wrong_value_for_a_resource_stops_the_start(key: str, place: str) -> None:
    text, accepted = next((text, accepted) for k, text, accepted in WRONG if k == key)
    value, name = native_value(text), f"resources.{place}.{key}"

    message = refusal({f"attachment.{name}": value})

    assert message.startswith(f"kinto.attachment.{name} = {value}: ")
    assert accepted in message
    assert_one_sentence(message)


@pytest.mark.parametrize(("key", "text", "accepted"), WRONG, ids=names(WRONG))
def test_a_wrong_value_in_the_environment_stops_the_start(
    key: str, text: str, accepted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KINTO_ATTACHMENT_{key.replace('.', '_').upper()}", text or '""')

    assert accepted in refusal({})


TEXTS = [key for key, _, accepted in WRONG if accepted == "double quotes"]


@pytest.mark.parametrize("key", [*dict.fromkeys(TEXTS), "mimetypes"])
@pytest.mark.parametrize("text", ["null", "[1]", '{"a": 1}'])
def test_a_json_value_that_is_no_text_stops_the_start(key: str, text: str) -> None:
    """``base_path = null`` must not make a directory named None."""
    assert f"kinto.attachment.{key} = " in refusal({f"attachment.{key}": native_value(text)})


@pytest.mark.parametrize("key", dict.fromkeys(TEXTS))
def test_a_text_that_kinto_takes_for_a_boolean_is_kept_as_written_or_refused(key: str) -> None:
    with contextlib.suppress(ConfigurationError):
        assert parse_one(key, native_value("true")) == parse_one(key, "true")


@pytest.mark.parametrize("text", ["a\nb", "a\0b", "\x7f", "a/\x1b"])
def test_a_folder_has_no_control_characters(text: str) -> None:
    assert "relative folder" in refusal({"attachment.folder": text})


@pytest.mark.parametrize("text", [".:image/jxl", ".tar.gz:application/gzip", ".j xl:image/jxl"])
def test_an_extension_that_no_file_can_have_is_no_media_type_pair(text: str) -> None:
    """The last extension counts: a type for ``.tar.gz`` would never be used."""
    assert ".ext:type/subtype" in refusal({"attachment.mimetypes": text})


@pytest.mark.parametrize("text", [".a:imäge/jxl", ".a:image/日本"])
def test_a_media_type_is_ascii(text: str) -> None:
    assert ".ext:type/subtype" in refusal({"attachment.mimetypes": text})


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("base_pth", "base_path"),
        ("basepath", "base_path"),
        ("base_ulr", "base_url"),
        ("extra.base_uri", "extra.base_url"),
        ("extension", "extensions"),
        ("keep_old_file", "keep_old_files"),
        ("randomise", "randomize"),
        ("mime_types", "mimetypes"),
        ("maxsize", "max_size"),
        ("max_size_byte", "max_size_bytes"),
        ("folders", "folder"),
        ("Folder", "folder"),
        ("BASE_PATH", "base_path"),
        ("AWS.Bucket_Name", "aws.bucket_name"),
        ("link_secrte", "link_secret"),
        ("resource.films.max_size", "resources.films.max_size"),
        ("Resources.Films.trailers.FOLDR", "resources.Films.trailers.folder"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(typo: str, meant: str) -> None:
    message = refusal({f"attachment.{typo}": "x"})

    assert message == (
        f"kinto.attachment.{typo} = {HIDDEN}: there is no such setting; write"
        f" kinto.attachment.{meant}."
    )


def test_a_setting_like_no_other_is_to_be_removed() -> None:
    message = refusal({"attachment.zzz": 1})

    assert message == f"kinto.attachment.zzz = {HIDDEN}: there is no such setting; remove it."


# The environment


def test_the_environment_comes_before_the_ini(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINTO_ATTACHMENT_FOLDER", "environment")
    monkeypatch.setenv("KINTO_ATTACHMENT_EXTRA_BASE_URL", "https://cdn.example.org")

    parsed = parse(folder="ini", extra__base_url="https://ini.example.org")

    assert parsed.policy_for("", "").folder == "environment"
    assert parsed.announced_base_url() == "https://cdn.example.org/"


@pytest.mark.parametrize("spelling", ["MAX_SIZE", "MAX_SIZE_BYTES"])
@pytest.mark.parametrize("ini", [("max_size",), ("max_size_bytes",)])
def test_the_environment_comes_before_the_ini_in_either_spelling(
    spelling: str, ini: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KINTO_ATTACHMENT_{spelling}", "3")

    assert parse(**dict.fromkeys(ini, 7)).policy_for("", "").max_size_bytes == 3


def test_two_spellings_that_differ_stop_the_start() -> None:
    message = refusal({"attachment.max_size": 1, "attachment.max_size_bytes": 2})

    assert "max_size" in message


@pytest.mark.parametrize("key", [setting.key for setting in SETTINGS])
def test_an_empty_variable_counts_as_absent(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"KINTO_ATTACHMENT_{key.replace('.', '_').upper()}", "")

    assert settings.parse({}) == parse()


def test_an_empty_value_in_the_environment_is_written_in_quotes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KINTO_ATTACHMENT_BASE_URL", '""')

    assert settings.parse({}).base_url == ""


@pytest.mark.parametrize("variable", ["KINTO_ATTACHMENT_FOLDER", "ATTACHMENT_FOLDER"])
def test_an_empty_variable_leaves_what_the_ini_says(
    variable: str, make_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "")

    server = make_server({"kinto.attachment.folder": "named"})

    assert server.registry.attachments.settings.policy_for("", "").folder == "named"


@pytest.mark.parametrize(
    ("variable", "advice"),
    [
        ("KINTO_ATTACHMENT_BASE_PAHT", "write KINTO_ATTACHMENT_BASE_PATH"),
        ("KINTO_ATTACHMENT_AWS_SECRET_KYE", "write KINTO_ATTACHMENT_AWS_SECRET_KEY"),
        ("KINTO_ATTACHMENT_COLOUR", "it does nothing"),
        ("KINTO_ATTACHMENTS_MAX_SIZE", "write KINTO_ATTACHMENT_MAX_SIZE"),
        ("KINTO_ATTACHMENT_RESOURCES_FILMS_FOLDER", "belong in the ini"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_without_its_value(
    variable: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(variable, "hunter2")

    settings.parse({})

    (message,) = caplog.messages
    assert message.startswith(f"{variable} is set, and there is no such setting: ")
    assert advice in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "variable",
    [
        "KINTO_ATTACHMENT_BASE_PATH",
        "KINTO_ATTACHMENT_MAX_SIZE",
        "KINTO_ATTACHMENT_RESOURCES_FILMS_FOLDER",
        "KINTO_ATTACHMENT_SERVICE_HOST",
        "KINTO_ATTACHMENT_PORT",
        "KINTO_ATTACHMENT_PORT_8888_TCP_ADDR",
        "KINTO_ATTACHMENTS_SERVICE_HOST",
        "KINTO_ATTACHMENTS",
        "KINTO_HTTP_PORT",
    ],
)
def test_variables_that_are_settings_or_somebody_elses_are_not_told(
    variable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(variable, "12345")

    parse(resources__films__folder="films")

    assert caplog.messages == []


@pytest.mark.parametrize("name", ["gcloud.auto_create_bucket", "gcloud.auto_create_acl"])
def test_what_created_buckets_is_refused_with_what_to_do_instead(name: str) -> None:
    message = refusal({f"attachment.{name}": "true"})

    assert "make it yourself, and remove this" in message
    assert "write kinto" not in message
    assert_one_sentence(message)


@pytest.mark.parametrize("ini", ["named", None])
def test_kinto_takes_the_directory_from_the_environment(
    ini: str | None,
    make_server: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("KINTO_ATTACHMENT_BASE_PATH", str(tmp_path / "environment"))
    written = str(tmp_path / ini) if ini else None

    server = make_server({"kinto.attachment.base_path": written})
    server.as_user().make_collection()
    server.as_user().upload(status=201)

    assert len(list((tmp_path / "environment").glob("*.jpg"))) == 1
    assert not (tmp_path / "named").exists()
    assert not (tmp_path / "files").exists()


def test_kinto_does_not_start_with_a_wrong_setting(make_server: Callable[..., Server]) -> None:
    with pytest.raises(ConfigurationError, match=r"^kinto\.attachment\.randomize = maybe: "):
        make_server({"kinto.attachment.randomize": "maybe"})


def test_kinto_does_not_start_without_a_store(make_server: Callable[..., Server]) -> None:
    with pytest.raises(ConfigurationError, match=r"^kinto\.attachment\.base_path is missing: "):
        make_server({"kinto.attachment.base_path": None})


def test_kinto_reads_resource_settings(make_server: Callable[..., Server]) -> None:
    server = make_server(
        {
            "kinto.attachment.resources.pictures.max_size_bytes": "5",
            "kinto.attachment.resources.pictures.album.max_size_bytes": "7",
        }
    )
    policy_for = server.registry.attachments.settings.policy_for

    assert policy_for("pictures", "album").max_size_bytes == 7
    assert policy_for("pictures", "other").max_size_bytes == 5
    assert policy_for("other", "album").max_size_bytes == 0


# What follows from the settings


def policy(**written: Any) -> Policy:
    return parse(**{"extensions": "any", **written}).policy_for("pictures", "album")


def test_any_extension_and_none_are_allowed_by_any() -> None:
    assert policy().allows(".xyz")
    assert policy().allows("")


def test_an_extension_outside_of_the_list_is_not_allowed() -> None:
    allows = policy(extensions="images").allows

    assert allows(".png")
    assert not allows(".exe")
    assert not allows("")


def test_an_extension_may_be_allowed_in_any_alphabet() -> None:
    assert policy(extensions="日本").allows(keys.extension("a.日本"))


OWN = "buckets/b/collections/c/records/r/attachment?file=ID"


@pytest.mark.parametrize(
    ("base_url", "private", "location"),
    [
        (None, False, OWN),
        (None, True, OWN),
        ("", False, "album/%E6%97%A5%20%231%25.txt"),
        ("", True, f"https://kinto.org/v1/{OWN}"),
        ("https://cdn.org/x", False, "https://cdn.org/x/album/%E6%97%A5%20%231%25.txt"),
        ("https://cdn.org/x", True, f"https://kinto.org/v1/{OWN}"),
    ],
)
def test_the_location_follows_base_url_unless_the_file_is_private(
    base_url: str | None, private: bool, location: str
) -> None:
    parsed = parse() if base_url is None else parse(base_url=base_url)
    key, uri = "album/日 #1%.txt", "/buckets/b/collections/c/records/r"

    assert (
        Locations(parsed.base_url).of(key, uri, "ID", private, "https://kinto.org/v1/") == location
    )


def test_where_only_the_announced_url_is_given_locations_are_bare_keys() -> None:
    """As in 8.x and 9.x: clients put the announced URL before them."""
    assert parse(extra__base_url="https://b.org").base_url == ""
    assert parse(extra__base_url="").base_url is None
    assert parse(base_url="https://a.org", extra__base_url="https://b.org").base_url


@pytest.mark.parametrize(
    ("written", "announced"),
    [
        ({}, None),
        ({"base_url": "https://a.org"}, "https://a.org/"),
        ({"base_url": ""}, "/"),
        ({"extra__base_url": "https://b.org"}, "https://b.org/"),
        ({"extra__base_url": ""}, "/"),
        ({"base_url": "", "extra__base_url": "https://b.org"}, "https://b.org/"),
        ({"base_url": "https://a.org", "extra__base_url": ""}, "/"),
        ({"base_url": "https://a.org", "extra__base_url": "https://b.org"}, "https://b.org/"),
    ],
)
def test_the_announced_url_follows_both_urls(
    written: dict[str, str], announced: str | None
) -> None:
    assert parse(**written).announced_base_url() == announced


@pytest.mark.parametrize(
    ("filename", "mimetype", "expected"),
    [
        ("photo.jpg", "image/jpeg", ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "IMAGE/PNG; q=1", ("photo.jpg", "image/png")),
        ("photo.jpg", None, ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "", ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "application/octet-stream", ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "nonsense", ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "image/jp\r\neg", ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "image/<b>", ("photo.jpg", "image/jpeg")),
        ("photo.jpg", "a/b/c", ("photo.jpg", "image/jpeg")),
        ("日本.txt", None, ("日本.txt", "text/plain")),
        ("unknown.zzzz", None, ("unknown.zzzz", "application/octet-stream")),
        (None, "text/html", ("first.html", "text/html")),
        (None, "audio/mpeg", ("first.mp3", "audio/mpeg")),
        ("noextension", None, ("noextension", "application/octet-stream")),
        (None, "image/png", ("first.png", "image/png")),
        ("..", "image/png", ("first.png", "image/png")),
        (None, "x/unheard-of", ("first", "x/unheard-of")),
        (None, None, ("first", "application/octet-stream")),
        ("dir\\photo.jpg", None, ("photo.jpg", "image/jpeg")),
    ],
)
def test_name_and_type_complete_each_other(
    filename: str | None, mimetype: str | None, expected: tuple[str, str]
) -> None:
    part = FilePart(filename, mimetype, ())

    assert naming.name_and_type(part, TARGET, policy(), None) == expected


def test_the_operators_media_type_comes_before_the_clients() -> None:
    rules = policy(mimetypes=".jxl:image/jxl;.txt:text/x-own")

    def mimetype(filename: str, sent: str | None) -> str:
        return naming.name_and_type(FilePart(filename, sent, ()), TARGET, rules, None)[1]

    assert mimetype("a.JXL", "image/png") == "image/jxl"
    assert mimetype("a.txt", None) == "text/x-own"
    assert mimetype("a.png", None) == "image/png"


@pytest.mark.parametrize(
    ("written", "filename", "key"),
    [
        ({}, "Photo.JPG", r"ID\.jpg"),
        ({}, "noextension", r"ID"),
        ({"randomize": False}, "日本.txt", r"ID/日本\.txt"),
        ({"folder": "{bucket_id}/x/{collection_id}"}, "a.jpg", r"pictures/x/album/ID\.jpg"),
        ({"folder": "{{x}}"}, "a.jpg", r"\{x\}/ID\.jpg"),
        ({"filename_pattern": "{rid}-{filename}"}, "a.jpg", r"first-ID\.jpg"),
        ({"filename_pattern": "{rid}-{filename}"}, "noextension", r"first-ID"),
        ({"filename_pattern": "{filename}-{rid}"}, "a.jpg", r"ID\.jpg-first\.jpg"),
        ({"filename_pattern": "{rid}.{filename}", "folder": "f"}, "a.jpg", r"f/first\.ID\.jpg"),
        ({"filename_pattern": "{rid}-{datetime}-{filename}"}, "a.jpg", r"first-\d{14}-ID\.jpg"),
        ({"filename_pattern": "{rid}"}, "a.jpg", r"ID/first\.jpg"),
        ({"filename_pattern": "{rid}.JPG"}, "a.jpg", r"ID/first\.jpg"),
        ({"filename_pattern": "{rid}"}, "noextension", r"ID/first"),
        ({"filename_pattern": "{datetime}"}, "a.jpg", r"ID/\d{14}\.jpg"),
        ({"filename_pattern": "{rid}", "folder": "f"}, "a.jpg", r"f/ID/first\.jpg"),
        (
            {"filename_pattern": "{rid}-{filename}", "randomize": False},
            "a.jpg",
            r"ID/first-a\.jpg",
        ),
        ({"filename_pattern": "..{filename}", "randomize": False}, "a.jpg", r"ID/a\.jpg"),
        (
            {"filename_pattern": "{filename}", "randomize": False},
            "{rid}.jpg",
            r"ID/rid_\.jpg",
        ),
    ],
)
def test_the_key_follows_the_policy(written: dict[str, Any], filename: str, key: str) -> None:
    file_id = keys.new_id(within_name=True)

    found = naming.key_for(file_id, filename, TARGET, policy(**written))

    assert re.fullmatch(key, found.replace(file_id, "ID"))
    assert keys.id_of_key(found) == keys.id_in_location(found) == file_id


@pytest.mark.parametrize("randomize", [True, False])
def test_a_long_pattern_ends_in_the_extension_all_the_same(randomize: bool) -> None:
    rules = policy(filename_pattern="x" * 170 + "{filename}", randomize=randomize)
    file_id = keys.new_id(within_name=True)

    key = naming.key_for(file_id, "a" * 300 + ".jpg", TARGET, rules)

    assert key.endswith(".jpg")
    assert keys.id_of_key(key) == file_id
    assert len(key.split("/")[-1].encode()) <= keys.MAX_NAME_BYTES


def test_a_record_that_is_called_like_an_id_does_not_pass_for_the_files() -> None:
    other, file_id = (keys.new_id(within_name=True) for _ in range(2))
    for pattern in ("{rid}", "{filename}-{rid}", "{rid}-{filename}", "{rid}{filename}"):
        rules = policy(filename_pattern=pattern)

        key = naming.key_for(file_id, "a.jpg", Target("b", "c", other), rules)

        assert keys.id_of_key(key) == keys.id_in_location(key) == file_id
        assert other not in key


def test_the_first_api_stored_filesize_a_base64_hash_and_the_bare_key() -> None:
    attachment = Attachment("a.jpg", "00ff" * 16, "https://cdn.org/k", "image/jpeg", 5)

    assert values.legacy_value(attachment, "album/k.jpg") == {
        "filename": "a.jpg",
        "filesize": 5,
        "hash": "AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8A/wD/AP8=",
        "location": "album/k.jpg",
        "mimetype": "image/jpeg",
    }


@pytest.mark.parametrize("place", ["", "resources.medical.", "resources.medical.scans."])
@pytest.mark.parametrize("base_url", ["https://cdn.example.org/", ""])
def test_private_files_beside_public_ones_need_the_servers_own_host(
    place: str, base_url: str
) -> None:
    """Else a client's ``Host`` would stay in the record's location."""
    own = {f"attachment.{place}private": "true", "attachment.base_url": base_url}

    message = refusal({**own, "http_host": None})
    assert message.startswith(f"kinto.attachment.{place}private = true: ")
    assert "write its host as kinto.http_host" in message

    settings.parse({**own, "http_host": "kinto.example.org"})
    del own["attachment.base_url"]
    settings.parse(own)


NAMES_ARE_ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize(
    ("own", "env", "starts"),
    [
        ({"randomize": "false"}, NAMES_ARE_ASCII, False),
        ({"resources.pictures.filename_pattern": "{filename}"}, NAMES_ARE_ASCII, False),
        ({}, NAMES_ARE_ASCII, True),
    ],
)
def test_names_that_the_machine_cannot_write_stop_the_start(
    tmp_path: Path, own: dict[str, str], env: dict[str, str], starts: bool
) -> None:
    given = {f"attachment.{name}": value for name, value in own.items()}
    given["attachment.base_path"] = str(tmp_path)
    script = f"from kinto_attachment import settings; settings.parse({given!r})"

    done = processes.run([sys.executable, "-c", script], tmp_path, env)

    assert (done.returncode == 0) is starts
    assert ("PYTHONUTF8=1" in done.stderr) is not starts
