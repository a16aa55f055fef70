"""What lives as long as the server: settings, store, and what its Kinto storage can do."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyramid.request import Request

from kinto_attachment.attachments.custody import Custody
from kinto_attachment.attachments.locations import Locations
from kinto_attachment.attachments.signatures import Signer
from kinto_attachment.settings import Settings
from kinto_attachment.storage import Store, lacks

if TYPE_CHECKING:
    from kinto.core.types import Registry


@dataclass(frozen=True)
class Plugin:
    """Found by requests as ``request.registry.attachments``.

    :ivar signer: of links; None where there is no secret, and links are off.
    """

    settings: Settings
    locations: Locations
    store: Store
    rolls_back: bool
    signer: Signer | None
    custody: Custody

    @classmethod
    def of(cls, request: Request) -> "Plugin":
        """The one that a request came to."""
        return cls.of_registry(request.registry)

    @classmethod
    def of_registry(cls, registry: "Registry") -> "Plugin":
        """The one of an application."""
        plugin: Plugin = registry.attachments
        return plugin

    def capability(self) -> dict[str, Any]:
        """What a client can know before it sends; ``base_url`` is completed per request."""
        general = self.settings.policy_for("", "")
        allowed = general.extensions
        missing = lacks(self.store)
        return {
            "base_url": self.settings.announced_base_url() or "/",
            "max_size": general.max_size_bytes or None,
            "extensions": None if allowed is None else sorted(allowed),
            **({"unsupported": missing} if missing else {}),
        }


def rolls_back(registry: "Registry") -> bool:
    """Whether Kinto's storage undoes an aborted transaction.

    The memory backend never does; PostgreSQL not with ``transaction_per_request = false``.
    """
    client = getattr(registry.storage, "client", None)
    return not getattr(client, "commit_manually", True)


def own_base_url(request: Request) -> str:
    """The server's own URL, ``…/v1/``, before which the plugin's own locations stand."""
    url: str = request.route_url("hello")
    return url
