"""What a store's methods make of it, and what is said where some are missing."""

import logging
from typing import Any

import pytest
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationError
from pyramid_storage.interfaces import IFileStorage

from kinto_attachment import settings
from kinto_attachment.storage import Listable, Marked, Readable, Store
from kinto_attachment.storage.choice import choose
from kinto_attachment.storage.thirdparty import ThirdPartyStorage
from tests.stores.memory import MemoryStorage
from tests.stores.third_parties import Shelf

STREAMING = ("open_writer", "delete_many", "remove_unfinished", "probe")


class Whole(MemoryStorage):
    """All that a store can have."""

    may_vanish = False

    def prepare(self) -> None:
        """Nothing is to be made."""

    def mark(self) -> bytes | None:
        return None

    def set_mark(self, content: bytes, replace: bool) -> bool:
        return True

    def presigned_url(self, key: str, filename: str, mimetype: str, expires: int) -> str | None:
        return None


def without(*names: str, base: type = Whole) -> Any:
    """A store of a class that has been written without these methods."""
    written = {name: getattr(base, name) for name in dir(base) if not name.startswith("__")}
    own = {name: value for name, value in written.items() if name not in names}
    return type("MyStore", (), {"__init__": base.__init__, **own})()  # type: ignore[misc]


def start(store: Any) -> Any:
    """The store of a server that has this one."""
    config = Configurator(settings={})
    config.registry.registerUtility(store, IFileStorage)
    return choose(config, settings.parse({}))


def test_of_a_whole_store_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    store = without()

    assert start(store) is store
    assert caplog.messages == []


@pytest.mark.parametrize(
    "missing",
    [
        "delete_many",
        "remove_unfinished",
        "probe",
        "open",
        "stat",
        "may_vanish",
        "prepare",
        "mark",
        "set_mark",
    ],
)
def test_a_store_that_has_not_all_of_what_belongs_together_stops_the_start(missing: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        start(without(missing))

    assert f"MyStore has no {missing}; add what kinto_attachment.storage." in str(caught.value)


def test_all_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="has no delete_many and no probe;"):
        start(without("probe", "delete_many"))


@pytest.mark.parametrize(
    ("missing", "lost"),
    [
        (("open", "stat"), "lacks read: downloads are redirected to its own URLs."),
        (("files",), "lacks list: files that no record names can't be found."),
        (("may_vanish", "prepare", "mark", "set_mark"), "can't be marked: nothing notices"),
    ],
)
def test_what_a_store_can_not_do_is_said_and_nothing_else(
    missing: tuple[str, ...], lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = start(without(*missing))

    assert isinstance(store, Store)
    (message,) = caplog.messages
    assert f"MyStore {lost}" in message
    powers = {Readable: "open", Listable: "files", Marked: "mark"}
    assert all(isinstance(store, p) is (name not in missing) for p, name in powers.items())


@pytest.mark.parametrize("extra", [*STREAMING[1:], "open", "files", "mark"])
def test_a_method_of_ours_in_another_backend_is_said_to_be_of_no_use(
    extra: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend = Shelf()
    setattr(backend, extra, getattr(Whole(), extra))

    with caplog.at_level(logging.WARNING):
        assert isinstance(start(backend), ThirdPartyStorage)

    assert any(f"has {extra}, but no open_writer: it is used" in m for m in caplog.messages)


def test_a_streaming_store_without_its_writer_is_not_taken_for_another_backend() -> None:
    class Claiming(MemoryStorage):
        open_writer = None  # type: ignore[assignment]

    with pytest.raises(ConfigurationError, match="has no open_writer"):
        start(Claiming())
