"""Locations: the URL in a record that leads to its file, and back from there to the key."""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from kinto_attachment import keys


@dataclass(frozen=True)
class Locations:
    """Those of one server.

    :param base_url: what stands before a key; empty: nothing; None: the plugin serves the files
        at its own URLs.
    """

    base_url: str | None

    def of(self, key: str, record_uri: str, file_id: str, private: bool, server_url: str) -> str:
        """What the record says about where its file is.

        A file that the plugin serves has its id in the query: a copied record goes on naming
        this file, and no other, when the record that it was uploaded to changes. Clients put
        ``base_url`` before what is no URL, so a private file beside public ones has a whole
        one.

        :param server_url: ``…/v1/``, of which settings.reading makes sure, where it is used here,
            that the operator has said it, and not the client's ``Host``.
        """
        if self.base_url is None or private:
            own = f"{record_uri.lstrip('/')}/attachment?file={file_id}"
            return own if self.base_url is None else server_url + own
        return self.base_url + quote(key, safe="/~!$&'()*+,;=:@")

    def foreign_key_in(self, location: object) -> str | None:
        """The key that a ``location`` leads to, of a file whose key carries no id of ours."""
        return None if keys.id_in_location(location) else self.key_in(location)

    def key_in(self, location: object) -> str | None:
        """The key that a ``location`` leads to, whoever stored the file; None where it leads
        out of the store, or to the plugin itself."""
        if not isinstance(location, str):
            return None
        if self.base_url and location.startswith(self.base_url):
            key = unquote(location.removeprefix(self.base_url))
        elif "://" in location or location.startswith("buckets/"):
            return None
        else:
            key = unquote(location)  # Clients put the capability's base_url before it.
        return None if keys.unsafe_reason(key) else key

    def spellings(self, key: str) -> set[str]:
        """How a record may spell the location of this key: 8.x and 9.x did not quote it."""
        if not self.base_url:
            return {key}
        return {key, self.base_url + key, self.of(key, "", "", False, "")}

    def file_id_in(self, location: object) -> str | None:
        """The id of the file that a ``location`` names, whoever stored it, or None."""
        carried = keys.id_in_location(location) or _asked_for(location)
        key = None if carried else self.key_in(location)
        return keys.file_id(key) if key else carried

    def is_outside(self, location: object) -> bool:
        """Whether it is a URL, and neither below ``base_url`` nor one of the plugin."""
        if not isinstance(location, str) or "/attachment?file=" in location:
            return False
        return "://" in location and not (self.base_url and location.startswith(self.base_url))


def _asked_for(location: object) -> str | None:
    """The id in a URL of the plugin's own, also of a file whose key carries none."""
    asked = re.search(r"/attachment\?file=([0-9a-f-]+)$", str(location))
    return asked[1] if asked and keys.is_id_or_made(asked[1]) else None
