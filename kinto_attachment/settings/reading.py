"""Reading the settings, once, at start: from Kinto's own and from the environment.

Unknown, misspelt and malformed settings stop the start with one sentence, so that an operator
finds them at deploy and not in production. The settings themselves are in table.py.
"""

import difflib
import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from kinto.core.utils import native_value, read_env
from pyramid.exceptions import ConfigurationError

from kinto_attachment.settings.parsers import Malformed
from kinto_attachment.settings.policy import Policy, Settings
from kinto_attachment.settings.table import (
    ALIASES,
    BY_KEY,
    DROPPED,
    SECRETIVE,
    SETTINGS,
    Setting,
)

PREFIX = "attachment."
RESOURCES = "resources."
NETWORK = ("aws.", "gcloud.")
ENVIRONMENT = "KINTO_ATTACHMENT_"
_OF_KUBERNETES = re.compile(r"_(SERVICE_(HOST|PORT)|PORT)(_|$)")

logger = logging.getLogger(__name__)


def parse(raw: Mapping[str, Any]) -> Settings:
    """Read every ``attachment.*`` key of Kinto's settings, and the environment.

    ``KINTO_ATTACHMENT_BASE_PATH`` and the like are read for the global settings whether or not
    the ini names them; Kinto itself reads the environment for keys that the ini has. A variable
    that is empty counts as absent; ``""`` is an empty value.

    :raises pyramid.exceptions.ConfigurationError: for the first wrong one, with a sentence.
    """
    values = {setting.key: setting.default for setting in SETTINGS}
    overrides: dict[tuple[str, ...], dict[str, Any]] = {}
    written = {**_one_spelling(_own(raw)), **_one_spelling(_environment())}
    _tell_unknown_variables(raw)
    for name, value in written.values():
        if name.startswith(RESOURCES):
            place, setting = _resource_setting(name, value)
            overrides.setdefault(place, {})[setting.key] = _parsed(setting, name, value)
        else:
            setting = _find(name, value)
            values[setting.key] = _parsed(setting, name, value)
    if values["base_url"] is None and values["extra.base_url"]:
        values["base_url"] = ""  # As in 8.x and 9.x: clients put the announced URL before keys.
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
    own = {k.removeprefix(PREFIX): v for k, v in raw.items() if k.startswith(PREFIX)}
    for name, value in list(own.items()):
        if value == "" and _is_emptied(name):
            del own[name]
            ini = raw.get(f"kinto.{PREFIX}{name}")  # Kinto keeps beside it what the ini has.
            if ini is not None:
                own[name] = native_value(ini)
    return own


def _is_emptied(name: str) -> bool:
    """Whether a variable for this setting is there, and empty: Kinto takes that for a value,
    while files for containers mean that there is none."""
    variable = _variable(name)
    return any(
        os.environ.get(spelling) == "" for spelling in (variable, variable.removeprefix("KINTO_"))
    )


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


def _variable(name: str) -> str:
    return ENVIRONMENT + name.replace(".", "_").replace("-", "_").upper()


def _environment() -> dict[str, Any]:
    return {
        name: read_env(f"kinto.{PREFIX}{name}", None)
        for name in (*BY_KEY, *ALIASES)
        if os.environ.get(_variable(name))
    }


def _tell_unknown_variables(raw: Mapping[str, Any]) -> None:
    """Log variables that look like a setting and are none. They stop no start: others name theirs
    as they like, and Kubernetes makes some for a service that is called like the plugin."""
    known = {_variable(name) for name in (*BY_KEY, *ALIASES, *_own(raw))}
    for variable in sorted(os.environ):
        ours = variable.startswith(ENVIRONMENT) and variable not in known
        if not ours or _OF_KUBERNETES.search(variable):
            continue
        names = [name.removeprefix(ENVIRONMENT) for name in known]
        close = difflib.get_close_matches(variable.removeprefix(ENVIRONMENT), names, n=1)
        advice = f"write {ENVIRONMENT}{close[0]}" if close else "it does nothing"
        if variable.startswith(_variable(RESOURCES)):
            advice = "those of a bucket or a collection belong in the ini"
        logger.warning("%s is set, and there is no such setting: %s.", variable, advice)


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
        advice = DROPPED.get(name, advice)
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
