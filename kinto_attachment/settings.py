"""Every ``kinto.attachment.*`` setting, once: type, default, meaning; parsed at start.

Unknown, misspelt and malformed settings stop the start with one sentence, so that an operator
finds them at deploy and not in production.
"""

import difflib
import os
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple
from urllib.parse import quote

from kinto.core.utils import read_env
from pyramid.exceptions import ConfigurationError
from pyramid_storage.extensions import GROUPS

from kinto_attachment import keys

PREFIX = "attachment."
RESOURCES = "resources."


class Malformed(ValueError):
    """A value that its parser does not take; the message says what is accepted."""


def text(value: Any) -> str:
    """A string. Kinto turns values that look like JSON into numbers before we see them."""
    if isinstance(value, float):
        raise Malformed('a text; put a number like this one in double quotes: "…"')
    return str(value).strip()


def boolean(value: Any) -> bool:
    """``true`` or ``false``."""
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False, "": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise Malformed("true or false") from None


def whole_number(value: Any) -> int:
    """A whole number that is not negative."""
    if not re.fullmatch(r"[0-9]+", str(value).strip()):
        raise Malformed("a whole number, 0 or more, without a unit")
    return int(value)


def folder(value: Any) -> str:
    """A relative folder; ``{bucket_id}`` and ``{collection_id}`` are filled in."""
    path = text(value).strip("/")
    _only_fields(path, {"bucket_id", "collection_id"})
    if (path and keys.unsafe_reason(path)) or path.split("/")[0].startswith("."):
        raise Malformed("a relative folder without '..' and without a leading dot")
    return path


def filename_pattern(value: Any) -> str:
    """A file name; ``{filename}``, ``{datetime}`` and ``{rid}`` are filled in."""
    pattern = text(value)
    _only_fields(pattern, {"filename", "datetime", "rid"})
    if "/" in pattern:
        raise Malformed("a name without a folder: use the setting 'folder' for that")
    return pattern


def extensions(value: Any) -> frozenset[str] | None:
    """Extensions and groups joined by ``+``; None stands for any."""
    names = {name.strip().lower().lstrip(".") for name in text(value).split("+")}
    if "" in names:
        raise Malformed(f"extensions and groups ({', '.join(sorted(GROUPS))}) joined by '+'")
    if "any" in names:
        return None
    return frozenset(ext for name in names for ext in GROUPS.get(name, (name,)))


def mimetypes(value: Any) -> Mapping[str, str]:
    """Media types by extension."""
    found = {}
    for pair in filter(None, (item.strip() for item in text(value).split(";"))):
        end, colon, mimetype = (part.strip() for part in pair.partition(":"))
        if not (end.startswith(".") and colon and re.fullmatch(r"[\w.+-]+/[\w.+-]+", mimetype)):
            raise Malformed("pairs like .ext:type/subtype joined by ';'")
        found[end.lower()] = mimetype
    return found


def base_url(value: Any) -> str:
    """A URL that ends in a slash, or nothing."""
    url = text(value)
    return url if not url or url.endswith("/") else f"{url}/"


def _only_fields(template: str, known: set[str]) -> None:
    wanted = ", ".join(f"{{{name}}}" for name in sorted(known))
    try:
        used = [parsed[1:] for parsed in string.Formatter().parse(template)]
    except ValueError:
        raise Malformed(f"balanced braces, around {wanted}") from None
    for name, spec, conversion in used:
        if name is not None and (name not in known or spec or conversion):
            raise Malformed(f"a text with {wanted} and no other name in braces")


class Setting(NamedTuple):
    """One line of the table: README's is held equal to this one by a test."""

    key: str
    parse: Callable[[Any], Any]
    default: Any
    meaning: str
    per_resource: bool = False


SETTINGS = (
    Setting("base_path", text, None, "Directory of the files: the local store."),
    Setting(
        "base_url",
        base_url,
        None,
        "URL before the key in `location`. Absent: the plugin serves the files. Empty: `location`"
        " is the bare key.",
    ),
    Setting("extra.base_url", base_url, None, "What the capability announces as `base_url`."),
    Setting(
        "folder",
        folder,
        "",
        "Folder in the store; `{bucket_id}` and `{collection_id}` are filled in.",
        True,
    ),
    Setting("keep_old_files", boolean, False, "Keep replaced and removed files.", True),
    Setting("randomize", boolean, True, "Name files by a UUID, not by the client's name.", True),
    Setting(
        "filename_pattern",
        filename_pattern,
        "",
        "Name of the file in the store, with `{filename}`, `{datetime}`, `{rid}`; comes before"
        " `randomize`.",
        True,
    ),
    Setting(
        "extensions",
        extensions,
        extensions("default"),
        "Allowed extensions and groups joined by `+`: documents, text, images, audio, video,"
        " data, scripts, archives, executables, default, any.",
        True,
    ),
    Setting("mimetypes", mimetypes, {}, "Media types: `.ext:type;.ext:type`.", True),
    Setting(
        "max_size_bytes",
        whole_number,
        0,
        "Largest file in bytes; 0: no limit. `max_size` is understood too.",
        True,
    ),
    Setting(
        "legacy_format",
        boolean,
        False,
        "Answer and store as the first API of 2015 did: 303, `filesize`, base64 `hash`.",
    ),
    Setting(
        "accept_unknown_metadata",
        boolean,
        False,
        "Let clients write `attachment` values that this server did not make: for imports only.",
    ),
    Setting("fsync", boolean, True, "Force files to disk before they count (local store)."),
)

ALIASES = {"max_size": "max_size_bytes"}
_BY_KEY = {setting.key: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Policy:
    """The rules in force for one collection; ``extensions`` None allows any."""

    folder: str
    keep_old_files: bool
    randomize: bool
    filename_pattern: str
    extensions: frozenset[str] | None
    mimetypes: Mapping[str, str]
    max_size_bytes: int

    def allows(self, extension: str) -> bool:
        """Whether a file with this extension (``.jpg``, or nothing) may be stored."""
        return self.extensions is None or extension.lstrip(".") in self.extensions


@dataclass(frozen=True)
class Settings:
    """All settings of one server, parsed."""

    values: Mapping[str, Any]
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

    def location(self, key: str, record_uri: str, file_id: str) -> str:
        """What the record says about where its file is (see README, "Where files are").

        A file that the plugin serves has its id in the query: a copied record goes on naming
        this file, and no other, when the record that it was uploaded to changes.
        """
        url = self.values["base_url"]
        if url is None:
            return f"{record_uri.lstrip('/')}/attachment?file={file_id}"
        return str(url) + quote(key, safe="/~!$&'()*+,;=:@")

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
    for name, value in {**_own(raw), **_environment()}.items():
        if name.startswith(RESOURCES):
            place, setting = _resource_setting(name, value)
            overrides.setdefault(place, {})[setting.key] = _parsed(setting, name, value)
        else:
            setting = _find(name, value)
            values[setting.key] = _parsed(setting, name, value)
    return Settings(values, _policies(values, overrides))


def _own(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {k.removeprefix(PREFIX): v for k, v in raw.items() if k.startswith(PREFIX)}


def _environment() -> dict[str, Any]:
    found = {}
    for name in (*_BY_KEY, *ALIASES):
        variable = f"KINTO_ATTACHMENT_{name.replace('.', '_').upper()}"
        if variable in os.environ:
            found[name] = read_env(f"kinto.{PREFIX}{name}", None)
    return found


def _resource_setting(name: str, value: Any) -> tuple[tuple[str, ...], Setting]:
    for setting_name in sorted((*_BY_KEY, *ALIASES), key=len, reverse=True):
        setting = _BY_KEY[ALIASES.get(setting_name, setting_name)]
        place = tuple(name.removeprefix(RESOURCES).removesuffix(f".{setting_name}").split("."))
        if setting.per_resource and name.endswith(f".{setting_name}") and len(place) <= 2:
            return place, setting
    per_resource = ", ".join(s.key for s in SETTINGS if s.per_resource)
    raise ConfigurationError(
        f"kinto.{PREFIX}{name} = {value}: write resources.<bucket>.<setting> or"
        f" resources.<bucket>.<collection>.<setting>, with one of {per_resource}."
    )


def _find(name: str, value: Any) -> Setting:
    setting = _BY_KEY.get(ALIASES.get(name, name))
    if setting is None:
        close = difflib.get_close_matches(name, (*_BY_KEY, *ALIASES), n=1)
        advice = f"write kinto.{PREFIX}{close[0]}" if close else "remove it"
        raise ConfigurationError(
            f"kinto.{PREFIX}{name} = {value}: there is no such setting; {advice}."
        )
    return setting


def _parsed(setting: Setting, name: str, value: Any) -> Any:
    try:
        return setting.parse(value)
    except Malformed as error:
        raise ConfigurationError(
            f"kinto.{PREFIX}{name} = {value}: this is not understood; write {error}."
        ) from None


def _policies(
    values: Mapping[str, Any], overrides: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> dict[tuple[str, ...], Policy]:
    general = Policy(**{field.name: values[field.name] for field in fields(Policy)})
    found: dict[tuple[str, ...], Policy] = {(): general}
    for place in sorted(overrides, key=len):  # A collection inherits from its bucket.
        found[place] = replace(found.get(place[:-1], general), **overrides[place])
    return found
