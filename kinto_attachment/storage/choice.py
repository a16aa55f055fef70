"""Which store a server uses, after its settings."""

import importlib
import logging
from collections.abc import Mapping
from typing import Any

from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.path import DottedNameResolver
from pyramid_storage.interfaces import IFileStorage
from pyramid_storage.registry import register_file_storage_impl

from kinto_attachment.settings import PREFIX, Settings
from kinto_attachment.storage.interface import Storage, lacks
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.thirdparty import ThirdPartyStorage

logger = logging.getLogger(__name__)

DECIDING = {"base_path": "local", "aws.bucket_name": "s3", "gcloud.bucket_name": "gcloud"}
"""The settings that name a store, and our module for it, called like pyramid_storage's."""

LIBRARIES = {"s3": "boto3", "gcloud": "google-cloud-storage"}
CLASSES = {"local": "LocalFileStorage", "s3": "S3FileStorage", "gcloud": "GoogleCloudStorage"}


def choose(config: Configurator, settings: Settings) -> Storage:
    """Build the store and register it as pyramid_storage's ``IFileStorage``.

    One that is registered already, by an earlier include, wins; then comes the setting
    ``backend``; then whichever store the other settings name.

    :raises pyramid.exceptions.ConfigurationError: where no store is configured, or a wrong one.
    """
    found = config.registry.queryUtility(IFileStorage)
    if found is None:
        found = _configured(config, settings)
    storage = found if isinstance(found, Storage) else ThirdPartyStorage(found)
    missing = lacks(storage)
    _check_serving(storage, settings)
    if missing:
        logger.warning(
            "The attachment store %s lacks %s: downloads are redirected to its own URLs, and"
            " files that no record names can't be found.",
            type(found).__qualname__,
            " and ".join(sorted(missing)),
        )
    return storage


def _check_serving(storage: Storage, settings: Settings) -> None:
    """Refuse what this store can't do."""
    private = any(policy.private for policy in settings.policies.values())
    if private and "read" in lacks(storage):
        raise ConfigurationError(
            "kinto.attachment.private = True: the backend can't read files back, so the plugin"
            " can't serve them; take another backend, or remove the setting."
        )
    accel = settings.values["accel_redirect"]
    if accel and not isinstance(storage, LocalFileStorage):
        raise ConfigurationError(
            f"kinto.attachment.accel_redirect = {accel}: nginx serves local files only; remove"
            " the setting, or write base_path."
        )


def _configured(config: Configurator, settings: Settings) -> Any:
    values = settings.values
    ours = _our_module(values)
    if ours is None:
        return _third_party(config, values["backend"])
    storage = _ours(ours, values)
    register_file_storage_impl(config, storage)
    return storage


def _our_module(values: Mapping[str, Any]) -> str | None:
    """Which of our modules; None where ``backend`` names somebody else's."""
    if values["backend"]:
        name = values["backend"].replace("kinto_attachment.storage.", "pyramid_storage.")
        for module, class_name in CLASSES.items():
            if name in (f"pyramid_storage.{module}", f"pyramid_storage.{module}.{class_name}"):
                return module
        return None
    named = [key for key in DECIDING if values[key]]
    if not named:
        raise ConfigurationError(
            "kinto.attachment.base_path is missing: write the directory where the files go, or"
            " write aws.bucket_name, gcloud.bucket_name or backend for another store."
        )
    if len(named) > 1:
        raise ConfigurationError(
            f"kinto.attachment.{named[0]} = {values[named[0]]}: {' and '.join(named[1:])} would"
            " be another store; remove what is not wanted, or write backend."
        )
    return DECIDING[named[0]]


def _ours(module: str, values: Mapping[str, Any]) -> Any:
    deciding = next(key for key, name in DECIDING.items() if name == module)
    if not values[deciding]:
        raise ConfigurationError(
            f"kinto.attachment.{deciding} is missing: kinto.attachment.backend ="
            f" {values['backend']} asks for it."
        )
    if module == "local":
        return LocalFileStorage(
            values["base_path"], values["base_url"] or "", fsync=values["fsync"], create=False
        )
    try:
        imported = importlib.import_module(f"kinto_attachment.storage.{module}")
    except (ImportError, RuntimeError):  # pyramid_storage makes the latter of the former.
        raise ConfigurationError(
            f"kinto.attachment.{deciding} = {values[deciding]}: {LIBRARIES[module]} is missing;"
            f" install kinto-attachment[{module}]."
        ) from None
    given = {k: v for k, v in values.items() if k.startswith(("aws.", "gcloud."))}
    backend = getattr(imported, CLASSES[module])
    return backend.from_settings({**given, "base_url": values["base_url"]}, "")


def _third_party(config: Configurator, name: str) -> Any:
    """A class with ``from_settings``, or a module with ``includeme``, as pyramid_storage's are.

    It reads ``storage.*``, and what is ``kinto.attachment.*`` here where that says nothing.
    """
    try:
        found = DottedNameResolver().resolve(name)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"kinto.attachment.backend = {name}: it can't be imported ({type(error).__name__});"
            " write the dotted name of a class or module that is installed."
        ) from error
    raw = config.get_settings()
    ours = {k.removeprefix(PREFIX): v for k, v in raw.items() if k.startswith(PREFIX)}
    wanted = {f"storage.{k}": v for k, v in ours.items() if f"storage.{k}" not in raw}
    if hasattr(found, "from_settings"):
        storage = found.from_settings({**raw, **wanted}, "storage.")
        register_file_storage_impl(config, storage)
        return storage
    if hasattr(found, "includeme"):
        config.include(found)
        return config.registry.getUtility(IFileStorage)
    raise ConfigurationError(
        f"kinto.attachment.backend = {name}: it has neither from_settings nor includeme; write"
        " the dotted name of a pyramid_storage backend."
    )
