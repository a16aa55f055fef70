"""Which store a server uses, after its settings."""

import importlib
from typing import Any, NamedTuple

from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid.path import DottedNameResolver
from pyramid.settings import asbool
from pyramid_storage.interfaces import IFileStorage
from pyramid_storage.registry import register_file_storage_impl

from kinto_attachment.settings import PREFIX, Settings
from kinto_attachment.storage import powers, start_log
from kinto_attachment.storage.interface import Readable, Store
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.thirdparty import ThirdPartyStorage


class Backend(NamedTuple):
    """A kind of store of ours.

    :param name: as in ``pyramid_storage.<name>`` and ``kinto_attachment.storage.<name>``; also
        of the extra that brings what it requires.
    :param setting: whose presence asks for it.
    :param requires: what the extra installs; None where nothing is needed.
    """

    name: str
    setting: str
    class_name: str
    requires: str | None = None


BACKENDS = (
    Backend("local", "base_path", "LocalFileStorage"),
    Backend("s3", "aws.bucket_name", "S3FileStorage", "boto3"),
    Backend("gcloud", "gcloud.bucket_name", "GoogleCloudStorage", "google-cloud-storage"),
)


def choose(config: Configurator, settings: Settings) -> Store:
    """Build the store and register it as pyramid_storage's ``IFileStorage``.

    One that is registered already, by an earlier include, wins; then comes the setting
    ``backend``; then whichever store the other settings name.

    :raises pyramid.exceptions.ConfigurationError: where no store is configured, or a wrong one.
    """
    found = config.registry.queryUtility(IFileStorage)
    if found is None:
        found = _configured(config, settings)
    powers.check(found)
    store = found if isinstance(found, Store) else ThirdPartyStorage(found)
    _check_serving(store, settings)
    start_log.tell(store, settings)
    powers.tell(store, found)
    return store


def _check_serving(store: Store, settings: Settings) -> None:
    """Refuse what this store can't do."""
    private = settings.private_line()
    if private and not isinstance(store, Readable):
        raise ConfigurationError(
            f"{private} = true: the backend can't read files back, so the plugin"
            " can't serve them; take another backend, or remove the setting."
        )
    accel = settings.accel_redirect
    if accel and not isinstance(store, LocalFileStorage):
        raise ConfigurationError(
            f"kinto.attachment.accel_redirect = {accel}: nginx serves local files only; remove"
            " the setting, or write base_path."
        )


def _configured(config: Configurator, settings: Settings) -> Any:
    backend = _named(settings)
    if backend is None:
        return _third_party(config, str(settings.backend))
    store = _ours(backend, settings, asbool(config.get_settings().get("readonly")))
    register_file_storage_impl(config, store)
    return store


def _named(settings: Settings) -> Backend | None:
    """Which of ours; None where ``backend`` names somebody else's."""
    if settings.backend:
        name = settings.backend.replace("kinto_attachment.storage.", "pyramid_storage.")
        for backend in BACKENDS:
            module = f"pyramid_storage.{backend.name}"
            if name in (module, f"{module}.{backend.class_name}"):
                return backend
        return None
    named = [backend for backend in BACKENDS if _asked(backend, settings)]
    if not named:
        raise ConfigurationError(
            "kinto.attachment.base_path is missing: write the directory where the files go, or"
            " write aws.bucket_name, gcloud.bucket_name or backend for another store."
        )
    first, *more = named
    if more:
        others = " and ".join(backend.setting for backend in more)
        raise ConfigurationError(
            f"kinto.attachment.{first.setting} = {_asked(first, settings)}: {others} would"
            " be another store; remove what is not wanted, or write backend."
        )
    return first


def _asked(backend: Backend, settings: Settings) -> Any:
    """What the setting says that asks for this store, or nothing."""
    return {"base_path": settings.base_path, **settings.network}[backend.setting]


def _ours(backend: Backend, settings: Settings, readonly: bool) -> Any:
    asked = _asked(backend, settings)
    if not asked:
        raise ConfigurationError(
            f"kinto.attachment.{backend.setting} is missing: kinto.attachment.backend ="
            f" {settings.backend} asks for it."
        )
    if backend.requires is None:
        return LocalFileStorage(
            asked,
            settings.base_url or "",
            fsync=settings.fsync,
            create=False,
            writable=not readonly,
        )
    try:
        module = importlib.import_module(f"kinto_attachment.storage.{backend.name}")
    except (ImportError, RuntimeError):  # pyramid_storage makes the latter of the former.
        raise ConfigurationError(
            f"kinto.attachment.{backend.setting} = {asked}: {backend.requires} is missing;"
            f" install kinto-attachment[{backend.name}]."
        ) from None
    made = getattr(module, backend.class_name)
    general = {"base_url": settings.base_url, "store_timeout": settings.store_timeout}
    return made.from_settings({**settings.network, **general}, "")


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
        store = found.from_settings({**raw, **wanted}, "storage.")
        register_file_storage_impl(config, store)
        return store
    if hasattr(found, "includeme"):
        config.include(found)
        store = config.registry.queryUtility(IFileStorage)
        if store is not None:
            return store
        raise ConfigurationError(
            f"kinto.attachment.backend = {name}: its includeme registers no store; write the"
            " dotted name of a pyramid_storage backend."
        )
    raise ConfigurationError(
        f"kinto.attachment.backend = {name}: it has neither from_settings nor includeme; write"
        " the dotted name of a pyramid_storage backend."
    )
