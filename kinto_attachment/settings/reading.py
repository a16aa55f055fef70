"""Reading the settings, once, at start: from Kinto's own and from the environment.

Unknown, misspelt and malformed settings stop the start with one sentence, so that an operator
finds them at deploy and not in production. The settings themselves are in table.py.
"""

import difflib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from kinto.core.utils import native_value, read_env
from pyramid.exceptions import ConfigurationError

from kinto_attachment.settings import together
from kinto_attachment.settings.parsers import Malformed
from kinto_attachment.settings.policy import Policy, Settings
from kinto_attachment.settings.table import ALIASES, BY_KEY, SETTINGS, Setting
from kinto_attachment.settings.wrong_lines import (
    PREFIX,
    RESOURCES,
    advice,
    find,
    is_meant_for_us,
    line,
)

NETWORK = ("aws.", "gcloud.")
ENVIRONMENT = "KINTO_ATTACHMENT_"
_LIKE_OURS = re.compile("^KINTO_ATTACHMENTS?_")
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
    _tell_misspelt_prefixes(raw)
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
    together.check(settings, raw)
    return settings


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
                f"{line(name, value)}: this is another spelling of"
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
        name = _LIKE_OURS.sub("", variable)
        if name == variable or variable in known or _OF_KUBERNETES.search(variable):
            continue
        names = [other.removeprefix(ENVIRONMENT) for other in known]
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"write {ENVIRONMENT}{close[0]}" if close else "it does nothing"
        if name.startswith("RESOURCES_"):
            meant = "those of a bucket or a collection belong in the ini"
        logger.warning("%s is set, and there is no such setting: %s.", variable, meant)


def _tell_misspelt_prefixes(raw: Mapping[str, Any]) -> None:
    """Log what looks like a setting of ours below another name. It stops no start, since another
    plugin may be called so."""
    for key in raw:
        prefix, _, name = key.partition(".")
        if is_meant_for_us(prefix, name):
            logger.warning(
                "kinto.%s is no setting of kinto-attachment: write kinto.%s%s.", key, PREFIX, name
            )


def _resource_setting(name: str, value: Any) -> tuple[tuple[str, ...], Setting]:
    *place, setting_name = name.removeprefix(RESOURCES).split(".")
    setting = find(setting_name)
    named = all(re.fullmatch(r"[a-zA-Z0-9][\w-]*", part, re.ASCII) for part in place)
    if setting and setting.per_resource and named and len(place) in (1, 2):
        return tuple(place), setting
    per_resource = ", ".join(s.key for s in SETTINGS if s.per_resource)
    raise ConfigurationError(
        f"{line(name, value)}: write resources.<bucket>.<setting> or"
        f" resources.<bucket>.<collection>.<setting>, with one of {per_resource}."
    )


def _find(name: str, value: Any) -> Setting:
    setting = find(name)
    if setting is None:
        raise ConfigurationError(f"{line(name, value)}: there is no such setting; {advice(name)}.")
    return setting


def _parsed(setting: Setting, name: str, value: Any) -> Any:
    try:
        return setting.parse(value)
    except Malformed as error:
        raise ConfigurationError(
            f"{line(name, value)}: this is not understood; write {error}."
        ) from None


def _policies(
    values: Mapping[str, Any], overrides: Mapping[tuple[str, ...], Mapping[str, Any]]
) -> dict[tuple[str, ...], Policy]:
    general = Policy(**{field.name: values[field.name] for field in fields(Policy)})
    found: dict[tuple[str, ...], Policy] = {(): general}
    for place in sorted(overrides, key=len):  # A collection inherits from its bucket.
        found[place] = replace(found.get(place[:-1], general), **overrides[place])
    return found
