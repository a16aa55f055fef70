"""What can be wrong with uploads in several requests."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kinto_attachment.attachments.unfinished import UnfinishedUploads
from kinto_attachment.maintenance import expired_uploads
from kinto_attachment.maintenance.doctor.findings import (
    ABANDONED,
    EXPIRED_UPLOAD,
    PERMISSION,
    Finding,
)
from kinto_attachment.plugin import Plugin
from kinto_attachment.storage import Resumable

if TYPE_CHECKING:
    from kinto.core.types import Registry


def findings(registry: "Registry", before: float) -> Iterator[Finding]:
    """What gc should have removed, and what the store does not allow.

    :param before: seconds since 1970: what has been so for a shorter time is no finding.
    :raises kinto_attachment.storage.StoreError: as the store failed.
    """
    for upload in expired_uploads.expired(registry):
        if upload.expires < before:
            hours = (time.time() - upload.expires) / 3600
            yield Finding(EXPIRED_UPLOAD, upload.record_uri, f"{hours:.0f} hours ago; run gc")
    for upload_id in expired_uploads.abandoned(registry, before):
        yield Finding(ABANDONED, upload_id, "run gc")
    plugin = Plugin.of_registry(registry)
    uploads = UnfinishedUploads(plugin.settings, plugin.store, registry.storage)
    if uploads.reason_against() is None and isinstance(plugin.store, Resumable):
        missing = plugin.store.uploads.missing_permission()
        if missing:
            yield Finding(PERMISSION, missing, "each upload in several requests fails without it")
