"""Every example of README.rst and docs/, run; every table, compared with the code.

The shell examples are typed into a shell with the real curl and HTTPie, against a real ``kinto
start``, on memory and on PostgreSQL. What needs Node or a browser is in ``tests/clients``.
"""

import importlib.metadata
import json
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment import keys
from kinto_attachment.commands import serve
from tests.support import parts, processes
from tests.support.documents import (
    ALICE,
    ALL_BLOCKS,
    BLOCKS,
    DOCUMENTS,
    FILES,
    README,
    RECORD,
    ROOT,
    capability,
    code_blocks,
    example,
    ini,
    put,
)
from tests.support.processes import BIN, Kinto, basic_settings, running_kinto, shell

HOME = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
ORIGIN = "http://127.0.0.1:8888"
PHOTO = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 20
DIRECTIVES = {"code-block", "image", "list-table"}
GENERATED = {
    "extensions",
    "mediatypes",
    "settings",
    "refusals",
    "operation",
    "command",
    "metrics",
}
IN_DOCS = {*DIRECTIVES, *GENERATED, "include", "toctree"}
FIELDS = {"filename", "hash", "location", "mimetype", "size"}


@pytest.fixture(scope="module", params=["memory", "postgresql"])
def kinto(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server with the three lines of the README."""
    backend = parts.MEMORY
    if request.param == "postgresql":
        backend = parts.postgresql_settings(request.getfixturevalue("postgresql"))
    folder = tmp_path_factory.mktemp("kinto")
    given = {**basic_settings(folder, backend), **ini(example("three-lines"), folder)}
    assert len(example("three-lines").splitlines()) == 3
    with running_kinto(folder, given) as running:
        yield running


@pytest.fixture
def reader(kinto: Kinto, tmp_path: Path) -> "Reader":
    """Somebody who follows the README from its first line, in a directory with a picture."""
    requests.delete(f"{kinto.url}/buckets", auth=ALICE)
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    return Reader(kinto, tmp_path)


@dataclass(frozen=True)
class Reader:
    kinto: Kinto
    folder: Path

    def types(self, command: str) -> str:
        script = f"{example('record')}\n{command}"
        return shell(script.replace(ORIGIN, self.kinto.origin), self.folder)

    def runs(self, program: str) -> None:
        script = program.replace(ORIGIN, self.kinto.origin)
        done = processes.run([sys.executable, "-c", script], self.folder)
        assert done.returncode == 0, done.stderr

    def record(self, path: str = RECORD) -> dict[str, Any]:
        answer = requests.get(f"{self.kinto.url}{path}", auth=ALICE)
        answer.raise_for_status()
        return answer.json()["data"]

    def has_attached(self, title: str | None = None) -> None:
        record = self.record()
        assert record["attachment"]["filename"] == "photo.jpg"
        assert record["attachment"]["mimetype"] == "image/jpeg"
        assert record["attachment"]["hash"] == parts.sha256(PHOTO)
        assert record["attachment"]["size"] == len(PHOTO)
        assert record.get("title") == title
        assert self.bytes() == PHOTO

    def bytes(self) -> bytes:
        """The file, by the record's ``location``."""
        base_url = capability(self.kinto)["base_url"]
        answer = requests.get(base_url + self.record()["attachment"]["location"], auth=ALICE)
        answer.raise_for_status()
        return answer.content


# The documents as such.


def test_every_code_block_is_run_by_a_test() -> None:
    files = (ROOT / "tests").rglob("test_document*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    run = set(re.findall(r"""example\(["']([\w-]+)["']\)""", source))
    assert run == set(BLOCKS)


def test_a_name_stands_for_one_text_and_in_a_document_for_one_block() -> None:
    """README may show an example of docs/ again: then it is the same."""
    assert [block for block in ALL_BLOCKS if block.text != example(block.name)] == []
    places = [(block.document, block.name) for block in ALL_BLOCKS]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_there_is_no_other_way_of_writing_code(document: str) -> None:
    text = DOCUMENTS[document]
    directives = re.findall(r"^ *\.\. ([\w-]+)::", text, flags=re.MULTILINE)
    assert set(directives) <= (DIRECTIVES if document == "README.rst" else IN_DOCS)
    assert len([*code_blocks(document)]) == text.count(".. code-block::")
    assert not re.search(r"^(?! *\.\. ).*::$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", ["README.rst", "CONTRIBUTING.rst", "CHANGELOG.rst"])
def test_links_lead_to_files_of_the_repository(name: str) -> None:
    """Those in docs/ are looked at by Sphinx."""
    links = links_of((ROOT / name).read_text(encoding="utf-8"))
    assert {link for link in links if "://" not in link and not (ROOT / link).exists()} == set()


def test_readme_leads_to_the_documentation() -> None:
    links = links_of(README)
    assert {f"docs/{name}.rst" for name in ("start", "clients/index", "operate/upgrade")} < {
        *links
    }


def links_of(text: str) -> list[str]:
    """Those into the repository by their paths in it."""
    named = re.findall(r"^\.\. _[^:]+: (\S+)$", text, flags=re.MULTILINE)
    links = [*named, *re.findall(r"<([^<>\s]+)>`_", text)]
    return [link.removeprefix(f"{HOME}/blob/HEAD/") for link in links]


def test_the_screenshots_are_there_and_small() -> None:
    pattern = re.compile(rf"^\.\. image:: (?:\.\./|{HOME}/raw/HEAD/)*(.+)$", re.MULTILINE)
    shown = {path for text in DOCUMENTS.values() for path in pattern.findall(text)}
    assert {f"screenshots/{path.name}" for path in (ROOT / "screenshots").iterdir()} == shown
    for path in shown:
        picture = (ROOT / path).read_bytes()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) < 100_000


# The first page: make, install.


@pytest.mark.parametrize(
    ("command", "does"),
    [
        (example("make-serve"), r"\.venv/bin/kinto-attachment serve\s*$"),
        (example("make-tests"), r"\.venv/bin/python -m pytest\b.*$"),
        (example("make-tests-clients"), r"\.venv/bin/python -m pytest tests/clients\b.*$"),
        (example("make-bench-stalled"), r"\.venv/bin/python -m benchmarks stalled$"),
        ('make serve ARGS="--port 8889"', r"\.venv/bin/kinto-attachment serve --port 8889$"),
    ],
)
def test_the_make_commands_end_in_what_they_promise(
    tmp_path: Path, command: str, does: str
) -> None:
    """``serve`` itself is run by test_serve.py; ``tests`` is running now."""
    assert any(command in text for text in DOCUMENTS.values())
    dry = ["make", "--dry-run", "--directory", str(ROOT), *shlex.split(command)[1:]]
    done = processes.run(dry, tmp_path, {"MAKEFLAGS": "", "MAKELEVEL": ""})
    printed = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert done.returncode == 0, done.stderr
    assert re.search(does, printed[-1])


def test_the_directory_that_pip_is_given_is_this_project() -> None:
    """pip has installed it, in much the same words, when this environment was made."""
    assert example("install") == "pip install ."
    extras = importlib.metadata.metadata("kinto-attachment").get_all("Provides-Extra", [])
    for command in (example("install-s3"), example("install-gcloud"), example("install-sync")):
        extra = re.fullmatch(r"pip install '\.\[(\w+)\]'", command)
        assert extra
        assert extra[1] in extras
    assert (ROOT / "setup.py").exists()
    assert importlib.metadata.version("kinto-attachment").startswith("10.")
    assert (BIN / "kinto-attachment").exists()


def test_the_endpoint_is_that_of_the_openapi_description(kinto: Kinto) -> None:
    described = requests.get(f"{kinto.url}/__api__").json()
    named = example("endpoint").removeprefix(described["basePath"])
    names = {"bucket": "bucket_id", "collection": "collection_id", "record": "id"}
    assert re.sub(r"\{(\w+)\}", lambda m: f"{{{names[m[1]]}}}", named) in described["paths"]


def test_the_three_lines_announce_the_capability(kinto: Kinto) -> None:
    assert capability(kinto)["base_url"] == f"{kinto.url}/"


# Attach a file.


def test_the_first_upload_attaches_the_picture_of_make_serve(reader: Reader) -> None:
    picture = reader.folder / "serve-data" / serve.PICTURE
    picture.parent.mkdir()
    picture.write_bytes(PHOTO)

    reader.types(example("first-upload"))

    assert reader.record()["attachment"]["filename"] == serve.PICTURE
    assert reader.bytes() == PHOTO


def test_curl_attaches_a_file(reader: Reader) -> None:
    answer = json.loads(reader.types(example("upload-with-curl")))

    assert reader.record()["attachment"] == answer
    reader.has_attached()


def test_the_answer_looks_as_it_is_shown(reader: Reader) -> None:
    shown = json.loads(example("answer"))
    answer = json.loads(reader.types(example("upload-with-curl")))

    assert list(shown) == list(answer)
    assert set(shown) == FIELDS
    for name in ("filename", "mimetype"):
        assert shown[name] == answer[name]
    for pattern, name in (
        ("[0-9a-f]{64}", "hash"),
        (r"buckets/.+/first/attachment\?.+", "location"),
    ):
        assert re.fullmatch(pattern, shown[name])
        assert re.fullmatch(pattern, answer[name])
    assert type(shown["size"]) is type(answer["size"]) is int


def test_curl_attaches_a_file_with_fields_and_permissions(reader: Reader) -> None:
    reader.types(example("upload-with-fields"))

    reader.has_attached("At the sea")
    assert (
        requests.get(
            f"{capability(reader.kinto)['base_url']}{reader.record()['attachment']['location']}"
        ).content
        == PHOTO
    )


def test_curl_puts_the_bare_file(reader: Reader) -> None:
    reader.types(example("upload-raw"))

    reader.has_attached()


def test_httpie_attaches_a_file(reader: Reader) -> None:
    answer = json.loads(reader.types(example("upload-with-httpie")))

    assert set(answer) == FIELDS
    reader.has_attached("At the sea")


def test_python_attaches_and_downloads_a_file(reader: Reader) -> None:
    reader.runs(example("python"))

    reader.has_attached("At the sea")
    assert (reader.folder / "copy.jpg").read_bytes() == PHOTO


def test_the_command_line_uploads_lists_downloads_and_deletes(reader: Reader) -> None:
    put(reader.kinto, RECORD, "old.txt")

    told = reader.types(example("sync")).splitlines()

    (name,) = [json.loads(line)["id"] for line in told if '"uploaded"' in line]
    assert "photo-jpg-" in name
    assert (reader.folder / "copies" / "photo.jpg").read_bytes() == PHOTO
    assert (reader.folder / "copies" / "old.txt").read_bytes() == b"content"
    assert reader.record(RECORD.replace("first", name))["attachment"]["filename"] == "photo.jpg"
    assert "attachment" not in reader.record()


# Read, replace, delete, copy.


def test_curl_reads_the_record_and_the_file(reader: Reader) -> None:
    reader.types(example("upload-with-curl"))

    record = json.loads(reader.types(example("read-the-record")))["data"]
    reader.types(example("download"))

    assert record == reader.record()
    assert (reader.folder / "copy.jpg").read_bytes() == PHOTO


def test_curl_continues_a_download(reader: Reader) -> None:
    reader.types(example("upload-with-curl"))
    reader.types(example("download"))

    reader.types(example("continue-a-download"))

    assert (reader.folder / "part.jpg").read_bytes() == PHOTO


def test_curl_orders_a_link_that_opens_the_file(reader: Reader) -> None:
    reader.types(example("upload-with-curl"))

    link = json.loads(reader.types(example("signed-link")))["data"]

    assert link["expires_in"] == 3600
    assert requests.get(link["url"]).content == PHOTO


def test_curl_replaces_a_file_of_which_it_knows_the_version(reader: Reader) -> None:
    reader.types(example("upload-with-curl"))
    before = reader.record()["attachment"]["location"]

    reader.types(example("replace-safely"))

    assert reader.record()["attachment"]["location"] != before
    reader.has_attached()
    stale = example("replace-safely").splitlines(keepends=True)[1:]
    with pytest.raises(AssertionError, match="Resource was modified meanwhile"):
        reader.types("".join(stale))


def test_curl_deletes_the_attachment_and_keeps_the_record(reader: Reader) -> None:
    reader.types(example("upload-with-fields"))

    assert reader.types(example("delete")) == ""

    record = reader.record()
    assert "attachment" not in record
    assert record["title"] == "At the sea"


def test_a_digest_that_fits_is_accepted_and_another_is_refused(reader: Reader) -> None:
    reader.types(example("digest"))

    reader.has_attached()
    garbled = example("digest").replace("< photo.jpg", "< other.jpg")
    (reader.folder / "other.jpg").write_bytes(b"other")
    with pytest.raises(AssertionError, match="another SHA-256"):
        reader.types(garbled)


def test_python_copies_a_record_and_both_share_the_file(reader: Reader) -> None:
    reader.runs(f"{example('python')}\n{example('copy-a-record')}")

    copy = reader.record(RECORD.replace("first", "second"))
    assert copy["attachment"] == reader.record()["attachment"]
    requests.delete(f"{reader.kinto.url}{RECORD}", auth=ALICE).raise_for_status()
    location = f"{reader.kinto.url}/{copy['attachment']['location']}"
    assert requests.get(location, auth=ALICE).content == PHOTO


@pytest.mark.parametrize("kinto", ["postgresql"], indirect=True)
def test_gc_finds_and_removes_a_file_that_no_record_names(kinto: Kinto, reader: Reader) -> None:
    look, remove = example("gc").splitlines()
    reader.types(example("upload-with-curl"))
    orphan = kinto.files / f"{keys.new_id()}.jpg"
    orphan.write_bytes(b"left behind")
    os.utime(orphan, (0, 0))

    found = processes.run(shlex.split(look), kinto.folder)
    assert found.returncode == 1, found.stderr
    assert orphan.exists()
    removed = processes.run(shlex.split(remove), kinto.folder)
    assert removed.returncode == 0, removed.stderr
    assert not orphan.exists()
    reader.has_attached()


# Settings, production.


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], Any]:
    """Start a server in memory with an ini example more."""

    def start(text: str) -> Any:
        given = {**basic_settings(tmp_path, parts.MEMORY), **ini(text, tmp_path)}
        return running_kinto(tmp_path, given)

    return start


def test_settings_for_a_bucket_and_a_collection_do_what_is_said(
    start: Callable[[str], Any],
) -> None:
    film, trailer = (
        "/buckets/films/collections/long/records/a",
        ("/buckets/films/collections/trailers/records/a"),
    )
    small, large, huge = b"x", bytes(10_000_001), bytes(50_000_001)
    with start(example("per-resource")) as kinto:
        assert put(kinto, film, "a.mp4", huge).status_code == 201
        assert put(kinto, trailer, "a.mp4", large).status_code == 201
        assert put(kinto, trailer, "a.mp4", huge).status_code == 413
        assert put(kinto, film, "a.jpg", small).status_code == 400
        assert put(kinto, RECORD, "a.jpg", small).status_code == 201
        assert put(kinto, RECORD, "a.jpg", large).status_code == 413
        assert put(kinto, RECORD, "a.mp4", small).status_code == 400
        assert len(list((kinto.files / "films" / "trailers").iterdir())) == 1


def test_a_form_of_a_named_site_is_taken_and_of_another_one_refused(
    start: Callable[[str], Any],
) -> None:
    with start(example("cors-origins")) as kinto:
        for origin, status in (("https://www.example.org", 303), ("https://evil.example", 400)):
            answer = requests.post(
                f"{kinto.url}{RECORD}/attachment",
                files={"attachment": ("a.jpg", b"x")},
                headers={"Origin": origin, "Sec-Fetch-Mode": "navigate"},
                auth=ALICE,
                allow_redirects=False,
            )
            assert answer.status_code == status


def test_a_setting_from_the_environment_wins(tmp_path: Path) -> None:
    command = example("environment").replace(FILES, str(tmp_path / "files"))
    assignment, *words = shlex.split(command)
    processes.write_ini(
        tmp_path / "kinto.ini", basic_settings(tmp_path / "of the ini", parts.MEMORY)
    )
    env = dict([assignment.split("=", 1)])
    with processes.answering(
        [str(BIN / words[0]), *words[1:], "--port", "0"], tmp_path, env
    ) as url:
        put(Kinto(url, tmp_path), RECORD, "a.jpg").raise_for_status()

    assert len([p for p in (tmp_path / "files").iterdir() if p.is_file()]) == 1
    assert not (tmp_path / "of the ini").exists()


def test_a_directory_is_used_as_shown(start: Callable[[str], Any]) -> None:
    with start(example("directory")) as kinto:
        put(kinto, RECORD, "a.jpg").raise_for_status()

        names = {path.name for path in kinto.files.iterdir() if path.is_file()}
        assert len(names) == 1  # On memory there is no mark: no other process has its records.


def test_with_a_base_url_the_location_is_that_url_and_the_key(start: Callable[[str], Any]) -> None:
    with start(example("own-web-server")) as kinto:
        location = put(kinto, RECORD, "a.jpg").json()["location"]

        base_url, key = location.rsplit("/", 1)
        assert base_url == "https://files.example.org"
        assert capability(kinto)["base_url"] == f"{base_url}/"
        assert (kinto.files / key).read_bytes() == b"content"
        attachment = requests.get(f"{kinto.url}{RECORD}/attachment", auth=ALICE)
        assert attachment.content == b"content"


def test_files_of_a_private_bucket_have_the_endpoint_for_their_location(
    start: Callable[[str], Any],
) -> None:
    record = "/buckets/medical/collections/x/records/a"
    with start(f"{example('own-web-server')}\n{example('private')}") as kinto:
        location = put(kinto, record, "a.jpg").json()["location"]

        assert location.startswith(f"https://kinto.example.org/v1{record}/attachment?file=")
        here = location.replace("https://kinto.example.org", kinto.origin)
        assert requests.get(here, auth=ALICE).content == b"content"
        assert requests.get(here).status_code == 401


def test_with_an_empty_base_url_the_location_is_the_key(start: Callable[[str], Any]) -> None:
    with start(example("movable")) as kinto:
        location = put(kinto, RECORD, "a.jpg").json()["location"]

        assert (kinto.files / location).read_bytes() == b"content"
        assert capability(kinto)["base_url"] == "https://files.example.org/"


def test_a_record_of_an_older_version_stays_as_it_is_until_its_next_upload(
    start: Callable[[str], Any],
) -> None:
    setting = "kinto.attachment.accept_unknown_metadata = true"
    old: dict[str, Any] = {
        "filename": "old.jpg",
        "hash": parts.sha256(b"old"),
        "location": "https://files.example.org/0b5a7a4c-4b56-4f6f-9d1b-3c1f4f1e2d3c.jpg",
        "mimetype": "image/jpeg",
        "size": 3,
    }
    with start(f"{example('own-web-server')}\n{setting}") as kinto:
        file = kinto.files / old["location"].rsplit("/", 1)[1]
        file.parent.mkdir()
        file.write_bytes(b"old")
        record, attachment = f"{kinto.url}{RECORD}", f"{kinto.url}{RECORD}/attachment"
        assert requests.put(record, json={"data": {"attachment": old}}, auth=ALICE).ok
        assert requests.patch(record, json={"data": {"title": "x"}}, auth=ALICE).ok
        assert requests.get(record, auth=ALICE).json()["data"]["attachment"] == old
        assert requests.get(attachment, auth=ALICE).status_code == 404  # Not on its word alone.
        assert put(kinto, RECORD, "new.jpg", b"new").status_code == 200
        assert requests.get(attachment, auth=ALICE).content == b"new"
        assert file.read_bytes() == b"old"


def test_waitress_takes_the_recommended_settings(tmp_path: Path) -> None:
    path = processes.write_ini(tmp_path / "kinto.ini", basic_settings(tmp_path, parts.MEMORY))
    section, *lines = example("waitress").splitlines()
    text = path.read_text()
    assert section in text
    path.write_text(text.replace(section, "\n".join([section, *lines])))
    command = [str(BIN / "kinto"), "start", "--ini", str(path), "--port", "0"]
    with processes.answering(command, tmp_path) as url:
        answer = put(Kinto(url, tmp_path), RECORD, "a.jpg", bytes(2_000_000))

        assert answer.status_code == 201
