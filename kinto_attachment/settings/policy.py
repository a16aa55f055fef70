"""The settings in force: of the server, and of each collection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from kinto_attachment import keys


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

    def allows(self, extension: str) -> bool:
        """Whether a file with this extension (``.jpg``, or nothing) may be stored."""
        return self.extensions is None or extension.lstrip(".") in self.extensions


@dataclass(frozen=True)
class Settings:
    """All settings of one server, parsed."""

    values: Mapping[str, Any] = field(repr=False)
    policies: Mapping[tuple[str, ...], Policy]

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
    def legacy_format(self) -> bool:
        """Whether answers and records look like the first API's."""
        return bool(self.values["legacy_format"])

    @property
    def sniff(self) -> bool:
        """Whether a file's first bytes are looked at."""
        return bool(self.values["sniff"])

    def location(
        self, key: str, record_uri: str, file_id: str, private: bool, server_url: str
    ) -> str:
        """What the record says about where its file is (see README, "Where files are").

        A file that the plugin serves has its id in the query: a copied record goes on naming
        this file, and no other, when the record that it was uploaded to changes. Clients put
        ``base_url`` before what is no URL, so a private file beside public ones has a whole
        one.
        """
        url = self.values["base_url"]
        if url is None or private:
            own = f"{record_uri.lstrip('/')}/attachment?file={file_id}"
            return own if url is None else server_url + own
        return str(url) + quote(key, safe="/~!$&'()*+,;=:@")

    def key_in(self, location: object) -> str | None:
        """The key that a ``location`` leads to, of a file whose key carries no id of ours."""
        return None if keys.id_in_location(location) else self.any_key_in(location)

    def any_key_in(self, location: object) -> str | None:
        """The key that a ``location`` leads to, whoever stored the file; None where it leads
        out of the store, or to the plugin itself."""
        if not isinstance(location, str):
            return None
        url = str(self.values["base_url"] or "")
        if url and location.startswith(url):
            key = unquote(location.removeprefix(url))
        elif "://" in location or location.startswith("buckets/"):
            return None
        else:
            key = unquote(location)  # Clients put the capability's base_url before it.
        return None if keys.unsafe_reason(key) else key

    def locations_of(self, key: str) -> set[str]:
        """How a record may spell the location of this key: 8.x and 9.x did not quote it."""
        url = str(self.values["base_url"] or "")
        return {key, url + key, self.location(key, "", "", False, "")} if url else {key}

    def file_id_in(self, location: object) -> str | None:
        """The id of the file that a ``location`` names, whoever stored it, or None."""
        carried = keys.id_in_location(location)
        key = None if carried else self.any_key_in(location)
        return keys.file_id(key) if key else carried

    def announced_base_url(self) -> str | None:
        """The capability's ``base_url``; None stands for the server's own URL."""
        announced = self.values["extra.base_url"]
        if announced is None:
            announced = self.values["base_url"]
        return announced if announced is None else str(announced) or "/"
