"""The settings in force: of the server, and of each collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Policy:
    """The rules in force for one collection.

    :param keep_old_files: seconds that replaced and removed files stay: 0, or ``math.inf``.
    :param extensions: those that are allowed; None allows any.
    """

    folder: str
    keep_old_files: float
    randomize: bool
    filename_pattern: str
    extensions: frozenset[str] | None
    mimetypes: Mapping[str, str]
    max_size_bytes: int
    private: bool
    uploads: bool

    def allows(self, extension: str) -> bool:
        """Whether a file with this extension (``.jpg``, or nothing) may be stored."""
        return self.extensions is None or extension.lstrip(".") in self.extensions


@dataclass(frozen=True)
class Settings:
    """The settings of one server, called as the rows of table.py (``extra.base_url`` is
    ``extra_base_url``).

    :param policies: of the whole server under ``()``, of a bucket, of a bucket and a collection.
    :param network: those of the stores behind a network, by their names (``aws.bucket_name``).
    """

    policies: Mapping[tuple[str, ...], Policy]
    base_path: str | None
    base_url: str | None
    extra_base_url: str | None
    least_rate: int
    least_rate_grace: float
    upload_max_age: int
    max_uploads_per_user: int
    max_unfinished_bytes: int
    interim_responses: bool
    legacy_format: bool
    accept_unknown_metadata: bool
    sniff: bool
    download: str
    verified_in_heartbeat: bool
    accel_redirect: str | None
    public_max_age: int
    link_max_age: int
    link_secret: str | None = field(repr=False)
    demo: bool
    fsync: bool
    backend: str | None
    store_timeout: float
    network: Mapping[str, Any] = field(repr=False)

    def policy_for(self, bucket_id: str, collection_id: str) -> Policy:
        """The collection's policy; the most specific setting wins, key by key.

        Kinto Admin writes ``attachment: {enabled, required}`` into a collection's metadata. It
        changes nothing on the server; a rule made from it would be applied here.
        """
        for place in ((bucket_id, collection_id), (bucket_id,)):
            if place in self.policies:
                return self.policies[place]
        return self.policies[()]

    @property
    def uploads(self) -> bool:
        """Whether files may come in several requests, to some collection at least."""
        return any(policy.uploads for policy in self.policies.values())

    def private_line(self) -> str | None:
        """The name, as the ini has it, of the first setting that makes files private; None where
        all files are public."""
        for place, policy in self.policies.items():  # Those that inherit come later.
            if policy.private:
                below = ("resources", *place) if place else ()
                return ".".join(("kinto.attachment", *below, "private"))
        return None

    def announced_base_url(self) -> str | None:
        """The capability's ``base_url``; None stands for the server's own URL."""
        announced = self.base_url if self.extra_base_url is None else self.extra_base_url
        return announced if announced is None else announced or "/"
