"""What the two archives of a release contain."""

import email
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

import kinto_attachment
from tests.dist.conftest import ROOT, build, copy_of_the_checkout

LEADS_ON = re.compile(r"https?://|mailto:|#")
PROSE = ("README.rst", "CHANGELOG.rst", "LICENSE")


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata(wheel: Path) -> email.message.Message:
    (found,) = [text for name, text in contents(wheel).items() if name.endswith("/METADATA")]
    return email.message_from_bytes(found)


def files_below(*folders: str) -> set[str]:
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in paths if path.suffix != ".pyc"}


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in contents(wheel) if ".dist-info/" not in name}

    assert names == files_below("kinto_attachment")
    assert "kinto_attachment/py.typed" in names
    assert any(name.endswith("/index.html") for name in names)


def test_the_source_archive_has_what_its_tests_need(source_archive: Path) -> None:
    with tarfile.open(source_archive) as archive:
        paths = {member.name.partition("/")[2] for member in archive if member.isfile()}

    assert files_below("kinto_attachment", "tests", "benchmarks", "deploy", "screenshots") <= paths
    assert files_below(".ci", ".github") <= paths
    assert {"Makefile", "constraints.txt", "pyproject.toml", "setup.py", "tox.ini"} <= paths
    assert {"README.rst", "CHANGELOG.rst", "CONTRIBUTING.rst", "SECURITY.md", "LICENSE"} <= paths
    assert not [path for path in paths if path.endswith(".pyc") or path.startswith(".venv")]


def test_a_checkout_gives_the_same_wheel_as_the_source_archive(
    wheel: Path, tmp_path: Path
) -> None:
    (direct,) = build(copy_of_the_checkout(tmp_path / "copy"), "--wheel").glob("*.whl")

    assert direct.name == wheel.name
    assert contents(direct) == contents(wheel)


def test_a_checkout_without_its_prose_gives_the_same_package(wheel: Path, tmp_path: Path) -> None:
    checkout = copy_of_the_checkout(tmp_path / "copy")
    for name in PROSE:
        (checkout / name).unlink()

    (poor,) = build(checkout, "--wheel").glob("*.whl")

    assert {k: v for k, v in contents(poor).items() if ".dist-info/" not in k} == {
        k: v for k, v in contents(wheel).items() if ".dist-info/" not in k
    }


def test_the_version_is_that_of_the_package(wheel: Path, source_archive: Path) -> None:
    version = kinto_attachment.__version__

    assert metadata(wheel)["Version"] == version
    assert wheel.name == f"kinto_attachment-{version}-py3-none-any.whl"
    assert source_archive.name == f"kinto_attachment-{version}.tar.gz"


def test_the_description_is_the_readme_and_the_changelog(wheel: Path) -> None:
    described = metadata(wheel)

    assert described["Description-Content-Type"] == "text/x-rst"
    shown = described.get_payload(decode=True)
    assert isinstance(shown, bytes)
    for name in ("README.rst", "CHANGELOG.rst"):
        assert (ROOT / name).read_bytes().strip() in shown


def test_links_of_the_description_lead_somewhere_on_the_package_index(wheel: Path) -> None:
    """There it stands alone: what README says of its neighbours by their paths leads nowhere."""
    text = str(metadata(wheel).get_payload())
    document = publish_doctree(text, settings_overrides={"file_insertion_enabled": False})

    links = [node.get("refuri", "#") for node in document.findall(nodes.reference)]
    pictures = [node["uri"] for node in document.findall(nodes.image)]
    assert len(links) > 20
    assert pictures
    assert [link for link in (*links, *pictures) if not LEADS_ON.match(link)] == []


@pytest.mark.parametrize("extra", ["s3", "gcloud", "postgresql", "sync", "tests", "clients"])
def test_each_extra_of_the_documentation_is_there(wheel: Path, extra: str) -> None:
    described = metadata(wheel)

    assert extra in described.get_all("Provides-Extra", [])
    assert any(f'extra == "{extra}"' in line for line in described.get_all("Requires-Dist", []))
