"""Reading the settings, once, at start: from Kinto's own and from the environment.

Unknown, misspelt and malformed settings stop the start with one sentence, so that an operator
finds them at deploy and not in production. The settings themselves are in table.py.
"""

import difflib
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from kinto.core.utils import read_env
from pyramid.exceptions import ConfigurationError

from kinto_attachment.settings.parsers import Malformed
from kinto_attachment.settings.policy import Policy, Settings
from kinto_attachment.settings.table import ALIASES, BY_KEY, SECRETIVE, SETTINGS, Setting

PREFIX = "attachment."
RESOURCES = "resources."
NETWORK = ("aws.", "gcloud.")


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
    own = {k.replace(".", "_"): v for k, v in values.items() if not k.startswith(NETWORK)}
    for key in {field.name for field in fields(Policy)}:
        del own[key]
    network = {key: value for key, value in values.items() if key.startswith(NETWORK)}
    settings = Settings(policies=_policies(values, overrides), network=network, **own)
    _check_host(settings, raw)
    _check_names(settings)
    return settings


def _check_host(settings: Settings, raw: Mapping[str, Any]) -> None:
    """A private file beside public ones has the server's whole URL in its record, for good: it
    must not be made of whatever a client writes into ``Host``."""
    private = any(policy.private for policy in settings.policies.values())
    if private and settings.base_url is not None and not raw.get("http_host"):
        raise ConfigurationError(
            f"kinto.{PREFIX}private = true: beside a base_url, the location of a private file is a"
            " URL of this server; write its host as kinto.http_host, and kinto.http_scheme."
        )


def _check_names(settings: Settings) -> None:
    """In a locale without UTF-8 no file can be called 日本.txt: its upload would be a 500."""
    named = any(not p.randomize or p.filename_pattern for p in settings.policies.values())
    if not (settings.base_path and named):
        return
    encoding = sys.getfilesystemencoding()
    try:
        "日本".encode(encoding)
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"kinto.{PREFIX}randomize = false, or filename_pattern: names of files are written in"
            f" {encoding} here, which has not all letters; start with PYTHONUTF8=1, or in a locale"
            " with UTF-8."
        ) from None


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
