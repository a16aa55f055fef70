"""Backends as third parties write them for pyramid_storage."""

from typing import Any

from pyramid.config import Configurator
from pyramid_storage.local import LocalFileStorage
from pyramid_storage.registry import register_file_storage_impl


class Shelf:
    """As little as can be: save, url, delete."""

    def __init__(self, base_url: str = "https://shelf.example.org/") -> None:
        self.base_url = base_url
        self.files: dict[str, bytes] = {}
        self.fails: Exception | None = None

    @classmethod
    def from_settings(cls, settings: dict[str, Any], prefix: str) -> "Shelf":
        return cls(settings.get(f"{prefix}base_url", "https://shelf.example.org/"))

    def save(self, fs: Any, folder: str | None = None, randomize: bool = False, **_: Any) -> str:
        if self.fails:
            raise self.fails
        name = "/".join(filter(None, (folder, fs.filename)))
        self.files[name] = fs.file.read()
        return name

    def url(self, filename: str) -> str:
        return f"{self.base_url}{filename}"

    def delete(self, filename: str) -> None:
        if self.fails:
            raise self.fails
        del self.files[filename]


class Renaming(Shelf):
    """Whatever name it gets, it takes another one."""

    def save(self, fs: Any, folder: str | None = None, randomize: bool = False, **_: Any) -> str:
        fs.filename = f"{len(self.files)}.bin"
        return super().save(fs)


class Prefixing(Shelf):
    """It keeps the name, and puts the customer's number before it."""

    def save(self, fs: Any, folder: str | None = None, randomize: bool = False, **_: Any) -> str:
        return super().save(fs, f"customer-7/{folder or ''}".rstrip("/"))


class StoresAndFails(Shelf):
    """What it was asked to do is done, but it does not come to say so."""

    def save(self, fs: Any, folder: str | None = None, randomize: bool = False, **_: Any) -> str:
        super().save(fs, folder)
        raise TimeoutError("no answer")


class NotABackend:
    pass


def includeme(config: Configurator) -> None:
    """A module that registers itself, as pyramid_storage's do."""
    impl = LocalFileStorage.from_settings(config.get_settings(), "storage.")
    register_file_storage_impl(config, impl)
