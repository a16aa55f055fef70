"""What has to be right of several settings together, or of one and the machine."""

import sys
from collections.abc import Mapping
from typing import Any

from pyramid.exceptions import ConfigurationError

from kinto_attachment.settings.policy import Settings
from kinto_attachment.settings.wrong_lines import PREFIX


def check(settings: Settings, raw: Mapping[str, Any]) -> None:
    """See that they go together.

    :param raw: Kinto's settings.
    :raises pyramid.exceptions.ConfigurationError: otherwise, with a sentence.
    """
    _check_host(settings, raw)
    _check_names(settings)


def _check_host(settings: Settings, raw: Mapping[str, Any]) -> None:
    """A private file beside public ones has the server's whole URL in its record, for good: it
    must not be made of whatever a client writes into ``Host``."""
    private = settings.private_line()
    if private and settings.base_url is not None and not raw.get("http_host"):
        raise ConfigurationError(
            f"{private} = true: beside a base_url, the location of a private file is a"
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
