"""Directives that write the reference pages from what the code itself goes by.

::

    .. settings:: base_path base_url
    .. extensions::
    .. mediatypes::
    .. refusals::
    .. operation:: get_attachment
    .. command:: gc
    .. metrics::

Each makes reStructuredText of the rows, which Sphinx reads on: so every setting, refusal and
option has a link of its own (``:confval:``, ``:refusal:``, ``:option:``). What no page shows, or
two do, is a warning, and so ends ``make docs``.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from kinto.core.errors import ERRORS
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from kinto_attachment import media_types
from kinto_attachment.attachments.refusals import REFUSALS
from kinto_attachment.commands import COMMANDS
from kinto_attachment.http.openapi import OPERATIONS
from kinto_attachment.metrics import METRICS, Metric
from kinto_attachment.settings.table import SETTINGS, Setting

logger = logging.getLogger(__name__)

VALUES = {
    "text": "a text",
    "boolean": "`true` or `false`",
    "whole_number": "a whole number, 0 or more",
    "at_least_1": "a whole number, 1 or more",
    "port": "a whole number, from 1 to 65535",
    "seconds": "a number of seconds above 0",
    "retention": "`true`, `false`, or for how long: `12h`, `90d`, `52w`",
    "directory": "a path",
    "folder": "a relative path",
    "filename_pattern": "a name",
    "extensions": "extensions and groups, joined by `+`",
    "mimetypes": "`.ext:type;.ext:type`",
    "base_url": "a whole URL, or nothing",
    "endpoint_url": "a URL without user and password",
    "canned_acl": "the name of an ACL, like `private`",
    "download": "`redirect` or `proxy`",
    "accel_redirect": "a path that begins and ends with a slash",
}
"""What a parser of settings takes, by its name."""

WIDTH = 70
"""Of a command's usage, in characters: it fits a phone held upright if scrolled a little."""


def rst(text: str) -> str:
    """A sentence of the code in reStructuredText: one backquote there is for what is typed."""
    parts = re.split(r"`([^`]+)`", text)
    plain = [re.sub(r"([\\*|_<>])", r"\\\1", part) for part in parts[::2]]
    typed = [f"``{part}``" for part in parts[1::2]]
    return "".join(part for pair in zip(plain, [*typed, ""], strict=True) for part in pair)


def indented(lines: Iterable[str]) -> list[str]:
    return [f"   {line}" if line else "" for line in lines]


def shown_default(setting: Setting) -> str | None:
    """As an operator would write it; None where there is none."""
    if setting.key == "extensions":
        return "`default`"
    if isinstance(setting.default, dict):
        return f"`{';'.join(f'{suffix}:{kind}' for suffix, kind in setting.default.items())}`"
    if setting.default in (None, ""):
        return None
    text = str(setting.default).removesuffix(".0")
    return f"`{text.lower() if isinstance(setting.default, bool) else text}`"


def setting_lines(setting: Setting) -> Iterator[str]:
    default = shown_default(setting)
    takes = VALUES[setting.parse.__name__]
    about = [f"Takes {takes}."] if takes != "a text" else []
    about += [f"Default: {default}."] if default else []
    about += ["Can differ between buckets and collections."] if setting.per_resource else []
    yield f".. confval:: {setting.key}"
    yield from indented(["", rst(setting.meaning), "", rst(" ".join(about)), ""])


def refusal_lines(reason: str) -> Iterator[str]:
    row = REFUSALS[reason]
    yield f".. refusal:: {reason}"
    yield from indented(
        [
            "",
            f"**{row.status}**, errno {ERRORS[row.errno].value}. {rst(row.when)}",
            "",
            f"*{rst(row.sentence)}*",
            "",
        ]
    )


def metric_lines(metric: Metric) -> Iterator[str]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    about = f"A {metric.kind}{f', by {labels}' if labels else ''}."
    yield f".. metric:: {metric.prometheus()}"
    yield from indented(["", rst(metric.meaning), "", rst(about), ""])


def extension_lines() -> Iterator[str]:
    """The groups, and what is in them."""
    yield from _list_table("20 80", ("Group", "Extensions"))
    for group, suffixes in media_types.TABLE.items():
        yield f"   * - ``{group}``"
        yield f"     - {', '.join(f'``{suffix}``' for suffix in suffixes)}"
    yield "   * - ``default``"
    yield f"     - all of {', '.join(f'``{group}``' for group in media_types.DEFAULT)}"
    yield from ("   * - ``any``", "     - whatever there is, and files without an extension", "")


def media_type_lines() -> Iterator[str]:
    """Types by extension, those of one type together."""
    suffixes: dict[str, list[str]] = defaultdict(list)
    for suffix, kind in media_types.TYPES.items():
        suffixes[kind].append(suffix)
    yield from _list_table("30 70", ("Extensions", "Media type"))
    for kind, those in suffixes.items():
        yield f"   * - {', '.join(f'``{suffix}``' for suffix in those)}"
        yield f"     - ``{kind}``"
    yield ""


def reasons_of(status: str) -> list[str]:
    return [reason for reason, row in REFUSALS.items() if str(row.status) == status]


def operation_lines(name: str, reasons: list[str]) -> Iterator[str]:
    """Parameters, then answers with the reasons for which they are given."""
    described = OPERATIONS[name]
    places = {"formData": "part of the form", "query": "in the query"}
    sent = [p for p in described["parameters"] if p["in"] != "body"]
    if sent:
        yield from _list_table("40 60", ("Send", "What it is"))
        for parameter in sent:
            place = places.get(parameter["in"], parameter["in"])
            needed = ", needed" if parameter.get("required") else ""
            yield f"   * - ``{parameter['name']}`` ({place}{needed})"
            yield f"     - {rst(parameter['description'])}"
        yield ""
    yield from _list_table("12 48 40", ("Status", "Meaning", "Headers, or reasons"))
    for status, answer in described["responses"].items():
        if status == "default":
            continue
        named = [f"``{header}``" for header in answer.get("headers", {})]
        named += [f":refusal:`{r}`" for r in reasons_of(status) if r in reasons]
        yield f"   * - {status}"
        yield f"     - {rst(answer['description'])}"
        yield f"     - {', '.join(named)}"
    yield ""


def _list_table(widths: str, head: tuple[str, ...]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    yield from (f"   {'  ' if number else '* '}- {cell}" for number, cell in enumerate(head))


def command_lines(name: str) -> Iterator[str]:
    """Its usage and its arguments, as its parser has them."""
    (command,) = [one for one in COMMANDS if name == one.NAME]
    summary = (command.__doc__ or "").strip().splitlines()[0]
    parser = argparse.ArgumentParser(
        prog=f"kinto-attachment {name}",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=WIDTH),
    )
    parser.color = False  # Python 3.14 colours what a terminal shows.
    command.add_arguments(parser)
    yield from (rst(summary), "", ".. code-block:: none", "")
    yield from indented(parser.format_usage().removeprefix("usage: ").splitlines())
    yield from ("", f".. program:: kinto-attachment {name}", "")
    for action in parser._actions:
        if "--help" not in action.option_strings:
            yield f".. option:: {_written(action)}"
            said = (action.help or "") % vars(action)
            needed = " **Needed.**" if action.required and action.option_strings else ""
            yield from indented(["", f"{rst(said[:1].upper() + said[1:])}.{needed}", ""])


def _written(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    value: Any = action.metavar or action.dest.upper()
    if action.choices:
        value = "|".join(map(str, action.choices))
    return ", ".join(f"{option} {value}" for option in action.option_strings) or value


class Generated(SphinxDirective):
    """Reads on with the lines that :meth:`lines` makes, and notes what it has shown."""

    KIND: ClassVar[str]
    required_arguments = 1
    final_argument_whitespace = True

    def names(self) -> list[str]:
        return self.arguments[0].split() if self.arguments else []

    def lines(self) -> Iterator[str]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        _shown(self.env)[self.env.docname] += [(self.KIND, name) for name in self.names()]
        found = nodes.Element()
        self.state.nested_parse(StringList([*self.lines()], self.KIND), 0, found, 1)
        return list(found.children)


class Settings(Generated):
    KIND = "setting"

    def lines(self) -> Iterator[str]:
        rows = {setting.key: setting for setting in SETTINGS}
        for name in self.names():
            yield from setting_lines(rows[name])


class Extensions(Generated):
    KIND = "table"
    required_arguments = 0

    def names(self) -> list[str]:
        return ["extensions"]

    def lines(self) -> Iterator[str]:
        yield from extension_lines()


class MediaTypes(Generated):
    KIND = "table"
    required_arguments = 0

    def names(self) -> list[str]:
        return ["mediatypes"]

    def lines(self) -> Iterator[str]:
        yield from media_type_lines()


class Refusals(Generated):
    """All of one status."""

    KIND = "refusal"

    def names(self) -> list[str]:
        return reasons_of(self.arguments[0])

    def lines(self) -> Iterator[str]:
        for reason in self.names():
            yield from refusal_lines(reason)


class Operation(Generated):
    """``:reasons:``: the refusals that it can answer with."""

    KIND = "operation"
    option_spec: ClassVar[dict[str, Callable[[str], Any]]] = {"reasons": directives.unchanged}

    def lines(self) -> Iterator[str]:
        name, reasons = self.arguments[0], self.options.get("reasons", "").split()
        for reason in reasons:
            if str(REFUSALS[reason].status) not in OPERATIONS[name]["responses"]:
                logger.warning("%s does not describe the status of %s", name, reason)
        yield from operation_lines(name, reasons)


class Metrics(Generated):
    """All of them, in the order of the table."""

    KIND = "metric"
    required_arguments = 0

    def names(self) -> list[str]:
        return [metric.key for metric in METRICS]

    def lines(self) -> Iterator[str]:
        for metric in METRICS:
            yield from metric_lines(metric)


class Command(Generated):
    KIND = "command"

    def lines(self) -> Iterator[str]:
        yield from command_lines(self.arguments[0])


def everything() -> list[tuple[str, str]]:
    """What has to be shown, each once."""
    return [
        *(("setting", setting.key) for setting in SETTINGS),
        *(("table", name) for name in ("extensions", "mediatypes")),
        *(("refusal", reason) for reason in REFUSALS),
        *(("operation", name) for name in OPERATIONS),
        *(("command", command.NAME) for command in COMMANDS),
        *(("metric", metric.key) for metric in METRICS),
    ]


def _shown(env: BuildEnvironment) -> defaultdict[str, list[tuple[str, str]]]:
    """By page."""
    found: defaultdict[str, list[tuple[str, str]]]
    found = vars(env).setdefault("reference_tables", defaultdict(list))
    return found


def forget(_: Sphinx, env: BuildEnvironment, page: str) -> None:
    _shown(env).pop(page, None)


def check(_: Sphinx, env: BuildEnvironment) -> None:
    shown = [found for page in _shown(env).values() for found in page]
    for kind, name in everything():
        if shown.count((kind, name)) != 1:
            logger.warning("%d pages show the %s %s", shown.count((kind, name)), kind, name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_object_type("refusal", "refusal", objname="refusal")
    app.add_object_type("metric", "metric", objname="metric")
    app.add_directive("settings", Settings)
    app.add_directive("extensions", Extensions)
    app.add_directive("mediatypes", MediaTypes)
    app.add_directive("refusals", Refusals)
    app.add_directive("operation", Operation)
    app.add_directive("command", Command)
    app.add_directive("metrics", Metrics)
    app.connect("env-purge-doc", forget)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": False}
