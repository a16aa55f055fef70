"""Attach files to Kinto's records: ``kinto.includes = kinto_attachment``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyramid.config import Configurator

__version__ = "10.0.0.dev0"

INCLUDED = (
    "http",
    "agreement",
    "maintenance.migration",
    "demo.page",
)


def includeme(config: "Configurator") -> None:
    """Wire the plugin into Kinto, which calls this for what its ini includes.

    .. code-block:: ini

        kinto.includes = kinto_attachment
        kinto.attachment.base_path = /var/lib/kinto/files

    :raises pyramid.exceptions.ConfigurationError: for a wrong setting, with a sentence that
        says what to write instead.
    """
    # Imported here: commands for clients should not wait for the server's side, nor need it.
    from kinto_attachment import settings
    from kinto_attachment.attachments.custody import custody_of
    from kinto_attachment.attachments.locations import Locations
    from kinto_attachment.attachments.signatures import signer_of
    from kinto_attachment.http import capability
    from kinto_attachment.http.heartbeat import Heartbeat, verified
    from kinto_attachment.plugin import Plugin, rolls_back
    from kinto_attachment.storage.choice import choose
    from kinto_attachment.storage.measuring import measure, name_of

    parsed = settings.parse(config.get_settings())
    store = choose(config, parsed)
    custody = custody_of(store, config.registry.storage)
    plugin = Plugin(
        parsed,
        Locations(parsed.base_url),
        store,
        rolls_back(config.registry),
        signer_of(parsed.link_secret, config.get_settings()["userid_hmac_secret"]),
        custody,
    )
    config.registry.attachments = plugin
    measure(store, _reporting(config.registry, name_of(store)))
    config.registry.heartbeats["attachments"] = Heartbeat(store, custody, parsed.store_timeout)
    if parsed.verified_in_heartbeat:
        config.registry.heartbeats["attachments_verified"] = verified
    capability.announce(config, plugin, __version__)
    for module in INCLUDED:
        config.include(f"kinto_attachment.{module}")


def _reporting(registry: Any, store: str) -> Any:
    """Reports operations of the store to Kinto's metrics, which are there only later."""

    def report(operation: str, seconds: float, failure: str | None) -> None:
        labels = [("store", store), ("operation", operation)]
        registry.metrics.timer("attachment_store_seconds", value=seconds, labels=labels)
        if failure:
            registry.metrics.count("attachment_store_errors", unique=[*labels, ("error", failure)])

    return report
