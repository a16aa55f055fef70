"""What the log says at the start of files and where they go, for whoever operates the server."""

import logging
from urllib.parse import urlsplit

from kinto_attachment.settings import Settings
from kinto_attachment.storage.interface import Store

logger = logging.getLogger(__name__)

_GOOGLES = ("storage.googleapis.com", "storage.cloud.google.com")
_AMAZONS = ("amazonaws.com", "amazonaws.com.cn")


def tell(store: Store, settings: Settings) -> None:
    """Log which store is in use, and what an operator may not have meant."""
    urls = {None: "by the plugin", "": "elsewhere, by their bare keys"}
    served = urls.get(settings.base_url, f"at {settings.base_url}")
    logger.info("Attachments are stored in %s, and served %s.", _place(store, settings), served)
    if settings.demo:
        logger.warning(
            "kinto.attachment.demo = true: everyone finds a page to try attachments on at"
            " attachments/; remove the setting in production."
        )
    for setting, public in _missing_acl(settings):
        logger.warning(
            "Clients read files in the bucket itself, and kinto.attachment.%s is absent: new files"
            " have no ACL, while 9.x made each of them public. Write %s = %s; or nothing behind"
            " the =, where the bucket makes its files public.",
            setting,
            setting,
            public,
        )


def _place(store: Store, settings: Settings) -> str:
    network = settings.network
    if settings.backend is None or settings.backend.startswith(_OURS):
        if network["aws.bucket_name"]:
            return f"the S3 bucket {network['aws.bucket_name']}"
        if network["gcloud.bucket_name"]:
            return f"Google's bucket {network['gcloud.bucket_name']}"
        if settings.base_path:
            return f"the directory {settings.base_path}"
    return f"the backend {settings.backend or type(store).__qualname__}"


_OURS = ("pyramid_storage.", "kinto_attachment.storage.")


def _missing_acl(settings: Settings) -> list[tuple[str, str]]:
    """The ACL's setting, and its value in 9.x, where files are read from the bucket by a URL."""
    network = settings.network
    host = urlsplit(settings.announced_base_url() or "").hostname or ""
    if not host:
        return []
    own = urlsplit(network["aws.endpoint_url"] or "").hostname
    amazons = _is_below(host, _AMAZONS) or host in (own, network["aws.host"])
    found = []
    if network["aws.bucket_name"] and network["aws.acl"] is None and amazons:
        found.append(("aws.acl", "public-read"))
    googles = _is_below(host, _GOOGLES) and not network["gcloud.uniform_bucket_level_access"]
    if network["gcloud.bucket_name"] and network["gcloud.acl"] is None and googles:
        found.append(("gcloud.acl", "publicRead"))
    return found


def _is_below(host: str, domains: tuple[str, ...]) -> bool:
    return any(f".{host}".endswith(f".{domain}") for domain in domains)
