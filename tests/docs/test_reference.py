"""docs/ as Sphinx builds it: without a warning, and with all that the code goes by."""

import html
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kinto.core.errors import ERRORS
from sphinx.util.inventory import InventoryFile

from kinto_attachment import media_types
from kinto_attachment.attachments.refusals import REFUSALS
from kinto_attachment.commands import COMMANDS
from kinto_attachment.http.openapi import OPERATIONS
from kinto_attachment.settings.table import SETTINGS
from kinto_attachment.storage.interface import POWERS
from tests.support.documents import ROOT


def build(source: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    """As ``make docs`` does."""
    options = ["--quiet", "--fail-on-warning", "--keep-going", "--nitpicky", "--fresh-env"]
    # Pyramid warns of setuptools on stderr, where what Sphinx has to say is asked for.
    bear = "ignore:pkg_resources is deprecated:UserWarning"
    command = [sys.executable, "-W", bear, "-m", "sphinx", *options, str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    done = build(ROOT / "docs", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


def page(built: Path, name: str) -> str:
    """What a reader sees of it."""
    source = (built / f"{name}.html").read_text(encoding="utf-8")
    article = source.split("<article")[1].split("</article>")[0]
    return " ".join(html.unescape(re.sub("<[^>]+>", "", article)).split())


def linked(built: Path, kind: str) -> set[str]:
    """What other pages can link to by its name."""
    inventory = InventoryFile.loads((built / "objects.inv").read_bytes(), uri="")
    return set(inventory.data[f"std:{kind}"])


def test_every_setting_is_shown_with_its_meaning_and_default(built: Path) -> None:
    text = page(built, "reference/settings")

    assert linked(built, "confval") == {setting.key for setting in SETTINGS}
    for setting in SETTINGS:
        shown = text.split(f" {setting.key}¶ ")[1].split("¶")[0]
        assert shown.startswith(setting.meaning.replace("`", ""))
        assert ("Can differ between" in shown) == setting.per_resource
        if isinstance(setting.default, int | float):
            assert f"Default: {str(setting.default).removesuffix('.0').lower()}." in shown


def test_every_refusal_is_shown_with_its_status_and_sentence(built: Path) -> None:
    text = page(built, "reference/refusals")

    assert linked(built, "refusal") == set(REFUSALS)
    for reason, row in REFUSALS.items():
        shown = text.split(f" {reason}¶ ")[1].split("¶")[0]
        when = row.when.replace("`", "")
        number = ERRORS[row.errno].value
        assert shown.startswith(f"{row.status}, errno {number}. {when} {row.sentence}")


def test_every_group_is_shown_with_its_extensions_and_each_extension_with_its_type(
    built: Path,
) -> None:
    text = page(built, "reference/settings")

    for group, rows in media_types.TABLE.items():
        assert f" {group} {', '.join(rows)} " in text
    assert f" default all of {', '.join(media_types.DEFAULT)} any " in text
    for suffix, kind in media_types.TYPES.items():
        assert re.search(rf"{re.escape(suffix)}(, \.\w+)* {re.escape(kind)} ", text), suffix


def test_every_argument_of_every_command_is_shown(built: Path) -> None:
    text = page(built, "reference/commands")

    options = linked(built, "cmdoption")
    for command in COMMANDS:
        assert (command.__doc__ or "").strip().splitlines()[0].replace("`", "") in text
        assert f"kinto-attachment {command.NAME}" in text
        assert any(name.startswith(f"kinto-attachment-{command.NAME}.") for name in options)
    assert {"kinto-attachment-gc.--delete", "kinto-attachment-upload.--auth"} <= options


def test_every_status_of_every_operation_is_shown_and_every_reason(built: Path) -> None:
    text = page(built, "reference/http")

    assert {reason for reason in REFUSALS if not re.search(rf"\b{reason}\b", text)} == set()
    for described in OPERATIONS.values():
        for status, answer in described["responses"].items():
            assert status == "default" or f" {status} {answer['description']}" in text


def test_the_page_of_other_stores_names_each_protocol_with_its_methods(built: Path) -> None:
    text = page(built, "stores/other")

    for protocol, names in POWERS.items():
        assert f" {protocol.__name__} {', '.join(names)} " in text


def test_every_name_of_ours_in_the_docs_is_there() -> None:
    written = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.rst"))
    named = set(re.findall(r"(kinto_attachment[.\w]*):([A-Za-z_]\w*[.\w]*)", written))

    assert named
    for module, path in named:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)


def test_what_is_not_shown_and_a_link_to_nowhere_stop_the_build(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    shutil.copytree(ROOT, tmp_path, dirs_exist_ok=True, ignore=only_what_docs_needs)
    settings = source / "reference" / "settings.rst"
    settings.write_text(settings.read_text().replace("fsync", "") + "\n:doc:`/nowhere`\n")

    done = build(source, tmp_path / "built")

    assert done.returncode == 1
    assert "0 pages show the setting fsync" in done.stderr
    assert "unknown document: '/nowhere'" in done.stderr


def only_what_docs_needs(folder: str, names: list[str]) -> set[str]:
    needed = {"docs", "screenshots", "CHANGELOG.rst"}
    return set(names) - needed if folder == str(ROOT) else set()
