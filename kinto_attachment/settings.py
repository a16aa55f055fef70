"""The settings in force: read once, at start, from Kinto's own and from the environment.

Unknown, misspelt and malformed settings stop the start with one sentence, so that an operator
finds them at deploy and not in production. The settings themselves are in setting_table.py.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import quote, unquote

from kinto.core.utils import read_env
from pyramid.exceptions import ConfigurationError

from kinto_attachment import keys
from kinto_attachment.setting_table import ALIASES, BY_KEY, SECRETIVE, SETTINGS, Setting
from kinto_attachment.setting_values import Malformed

PREFIX = "attachment."
RESOURCES = "resources."


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
        """What the record says about where its file is (see docs/stores/locations.rst).

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


def parse(raw: Mapping[str, Any]) -> Settings:
    """Read every ``attachment.*`` key of Kinto's settings, and the environment.

    ``KINTO_ATTACHMENT_BASE_PATH`` and the like are read for the global settings whether or not
    the ini names them; Kinto itself reads the environment for keys that the ini has.

    :raises pyramid.exceptions.ConfigurationError: for the first wrong one, with a sentence.
    """
    values = {setting.key: setting.default for setting in SETTINGS}
    overrides: dict[tuple[str, ...], dict[str, Any]] = {}
    written = {**_one_spelling(_own(raw)), **_one_spelling(_environment())}
    for name, value in written.values():
        if name.startswith(RESOURCES):
            place, setting = _resource_setting(name, value)
            overrides.setdefault(place, {})[setting.key] = _parsed(setting, name, value)
        else:
            setting = _find(name, value)
            values[setting.key] = _parsed(setting, name, value)
    return Settings(values, _policies(values, overrides))


def _own(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(PREFIX): v for k, v in raw.items() if k.startswith(PREFIX)}


def _one_spelling(given: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    """Name as written, and value, by the first spelling of each name."""
    found: dict[str, tuple[str, Any]] = {}
    for name, value in given.items():
        for alias, key in ALIASES.items():
            first = name.removesuffix(alias) + key if f".{name}".endswith(f".{alias}") else name
            if first != name:
                break
        if first in found and found[first][1] != value:
            raise ConfigurationError(
                f"kinto.{PREFIX}{name} = {_shown(name, value)}: this is another spelling of"
                f" {found[first][0]}, which has another value; remove one of them."
            )
        found[first] = (name, value)
    return found


def _environment() -> dict[str, Any]:
    found = {}
    for name in (*BY_KEY, *ALIASES):
        variable = f"KINTO_ATTACHMENT_{name.replace('.', '_').upper()}"
        if variable in os.environ:
            found[name] = read_env(f"kinto.{PREFIX}{name}", None)
    return found


def _resource_setting(name: str, value: Any) -> tuple[tuple[str, ...], Setting]:
    *place, setting_name = name.removeprefix(RESOURCES).split(".")
    setting = BY_KEY.get(ALIASES.get(setting_name, setting_name))
    named = all(re.fullmatch(r"[a-zA-Z0-9][\w-]*", part, re.ASCII) for part in place)
    if setting and setting.per_resource and named and len(place) in (1, 2):
        return tuple(place), setting
    per_resource = ", ".join(s.key for s in SETTINGS if s.per_resource)
    raise ConfigurationError(
        f"kinto.{PREFIX}{name} = {_shown(name, value)}: write resources.<bucket>.<setting> or"
        f" resources.<bucket>.<collection>.<setting>, with one of {per_resource}."
    )


def _find(name: str, value: Any) -> Setting:
    setting = BY_KEY.get(ALIASES.get(name, name))
    if setting is None:
        close = difflib.get_close_matches(name, (*BY_KEY, *ALIASES), n=1)
        advice = f"write kinto.{PREFIX}{close[0]}" if close else "remove it"
        raise ConfigurationError(
            f"kinto.{PREFIX}{name} = {_shown(name, value)}: there is no such setting; {advice}."
        )
    return setting


def _shown(name: str, value: Any) -> str:
    """The value for an error's sentence, unless it is, or may be meant to be, a secret."""
    last = name.rsplit(".", 1)[-1] if name.startswith(RESOURCES) else name
    known = BY_KEY.get(ALIASES.get(last, last))
    secret = known.secret if known else SECRETIVE.search(name)
    return "(not shown)" if secret else str(value)


def _parsed(setting: Setting, name: str, value: Any) -> Any:
    try:
        return setting.parse(value)
    except Malformed as error:
        raise ConfigurationError(
            f"kinto.{PREFIX}{name} = {_shown(name, value)}: this is not understood; write {error}."
        ) from None


def _policies(
    values: Mapping[str, Any], overrides: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> dict[tuple[str, ...], Policy]:
    general = Policy(**{field.name: values[field.name] for field in fields(Policy)})
    found: dict[tuple[str, ...], Policy] = {(): general}
    for place in sorted(overrides, key=len):  # A collection inherits from its bucket.
        found[place] = replace(found.get(place[:-1], general), **overrides[place])
    return found
