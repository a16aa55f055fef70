"""What others may rely on is still there. More may come; nothing goes or moves in silence."""

import importlib

import pytest

import kinto_attachment
from kinto_attachment import commands, storage
from kinto_attachment.attachments.refusals import REFUSALS
from kinto_attachment.settings.table import ALIASES, SETTINGS

CLASSES = [
    "kinto_attachment.storage.gcloud:GoogleCloudStorage",
    "kinto_attachment.storage.local:LocalFileStorage",
    "kinto_attachment.storage.s3:S3FileStorage",
    "kinto_attachment.storage.thirdparty:ThirdPartyStorage",
    "kinto_attachment.testing:StoreContract",
]
INTERFACE = """
    CHUNK_SIZE IStreamingFileStorage Marked Presigning Reader Store StoreError StoreFull
    StoreSilent StoreUnavailable StoredFile UnsafeKey Writer
"""
COMMANDS = "claim copy delete doctor download gc ls relocate serve upload verify"
NAMES = """
    base_path base_url extra.base_url folder keep_old_files randomize filename_pattern extensions
    mimetypes max_size_bytes max_size legacy_format accept_unknown_metadata private sniff download
    least_rate least_rate_grace
    verified_in_heartbeat accel_redirect public_max_age link_max_age link_secret demo fsync backend
    aws.bucket_name aws.bucket aws.access_key aws.secret_key aws.region aws.endpoint_url aws.host
    aws.port aws.is_secure aws.use_path_style aws.acl aws.timeout aws.num_retries
    gcloud.bucket_name gcloud.credentials gcloud.project gcloud.acl
    gcloud.uniform_bucket_level_access gcloud.cache_control gcloud.timeout
"""
REASONS = """
    bad_boundary bad_digest bad_field coded_body collection_gone content_differs digest_differs
    extension field_too_large file_lost file_missing forged_metadata form_by_put in_batch
    link_expired link_invalid malformed_body missing_file no_attachment no_length no_space
    part_of_file replaced_meanwhile second_file store_unavailable too_large truncated_body
    unknown_part coded_part undecodable_name not_a_form
    too_slow cross_site_form cross_site_permissions
"""


def test_the_plugin_is_included_by_its_name() -> None:
    assert callable(kinto_attachment.includeme)
    assert kinto_attachment.__version__


@pytest.mark.parametrize("place", CLASSES)
def test_a_class_for_others_is_where_it_was(place: str) -> None:
    module, name = place.split(":")

    assert hasattr(importlib.import_module(module), name)


def test_the_interface_of_a_store_is_exported() -> None:
    assert set(INTERFACE.split()) <= set(storage.__all__)
    assert all(hasattr(storage, name) for name in storage.__all__)


def test_every_command_keeps_its_name() -> None:
    assert set(COMMANDS.split()) <= {command.NAME for command in commands.COMMANDS}


def test_every_setting_keeps_its_name() -> None:
    assert set(NAMES.split()) <= {setting.key for setting in SETTINGS} | set(ALIASES)


def test_every_reason_of_a_refusal_keeps_its_name() -> None:
    assert set(REASONS.split()) <= set(REFUSALS)
