"""Which store a server uses, after its settings."""

from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid_storage.registry import register_file_storage_impl

from kinto_attachment.settings import Settings
from kinto_attachment.storage import Storage
from kinto_attachment.storage.local import LocalFileStorage


def choose(config: Configurator, settings: Settings) -> Storage:
    """Build the store and register it as pyramid_storage's ``IFileStorage``.

    :raises pyramid.exceptions.ConfigurationError: where no store is configured, or a wrong one.
    """
    base_path = settings.values["base_path"]
    if not base_path:
        raise ConfigurationError(
            "kinto.attachment.base_path is missing: write the directory where the files go."
        )
    storage = LocalFileStorage(
        base_path, settings.values["base_url"] or "", fsync=settings.values["fsync"]
    )
    register_file_storage_impl(config, storage)
    return storage
