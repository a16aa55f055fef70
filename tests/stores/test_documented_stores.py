"""README's chapter on stores: its inis against real stores, its policies against what is sent."""

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment.storage.s3 import S3FileStorage
from kinto_attachment.testing import LARGE, new_key, noise, write
from tests.support import parts, processes, storage_parts
from tests.support.documents import ALICE, RECORD, capability, example, ini, put
from tests.support.storage_parts import Emulator, Gate

BUCKET = "kinto-files"

OPERATIONS = {
    "PUT": "s3:PutObject",
    "POST uploads": "s3:PutObject",
    "PUT partNumber uploadId": "s3:PutObject",
    "POST uploadId": "s3:PutObject",
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "POST delete": "s3:DeleteObject",
    "DELETE": "s3:DeleteObject",
    "DELETE uploadId": "s3:AbortMultipartUpload",
    "GET encoding-type list-type max-keys": "s3:ListBucket",
    "GET encoding-type list-type prefix": "s3:ListBucket",
    "GET uploadId": "s3:ListMultipartUploadParts",
    "GET uploads": "s3:ListBucketMultipartUploads",
}
"""What a request to S3 needs, after Amazon's "Actions, resources, and condition keys"."""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    """Start a server with an ini example in the place of its directory."""

    def start(text: str, **more: str) -> Any:
        given = processes.basic_settings(tmp_path, parts.MEMORY)
        del given["kinto.attachment.base_path"]
        return processes.running_kinto(tmp_path, {**given, **ini(text, tmp_path), **more})

    return start


@pytest.fixture
def s3_bucket(s3: Any) -> Iterator[None]:
    """The bucket of the examples, empty."""
    s3.create_bucket(Bucket=BUCKET)
    yield
    for found in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=found["Key"])
    s3.delete_bucket(Bucket=BUCKET)


def check_it_works(kinto: processes.Kinto) -> None:
    """Upload, read and delete; the heartbeat says true."""
    assert put(kinto, RECORD, "a.jpg", b"content").status_code == 201
    attachment = f"{kinto.url}{RECORD}/attachment"
    assert requests.get(attachment, auth=ALICE).content == b"content"
    assert requests.get(f"{kinto.url}/__heartbeat__").json()["attachments"] is True
    assert requests.delete(attachment, auth=ALICE).status_code == 204


def test_a_store_that_speaks_s3_is_used_as_shown(
    start: Callable[..., Any], s3_url: str, s3_bucket: None
) -> None:
    text = example("s3-elsewhere").replace("http://127.0.0.1:9000", s3_url)
    assert text != example("s3-elsewhere")
    with start(text) as kinto:
        check_it_works(kinto)


@pytest.mark.parametrize("text", [example("s3-with-keys"), example("s3-with-a-role")])
def test_amazon_s3_is_used_as_shown(
    start: Callable[..., Any],
    s3_url: str,
    s3_bucket: None,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Amazon is not at hand: only the endpoint is another, and the role's credentials are
    found where boto3 looks first."""
    if "access_key" not in text:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", storage_parts.ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", storage_parts.SECRET_KEY)
    with start(text, **{"kinto.attachment.aws.endpoint_url": s3_url}) as kinto:
        check_it_works(kinto)


def test_the_policy_allows_what_is_sent_and_no_more(make_s3: Any, gate: Gate) -> None:
    storage: S3FileStorage = make_s3()
    small, large = write(storage, new_key()), write(storage, new_key(), noise(LARGE))
    storage.open_writer(new_key(), mimetype="", filename="").abort()
    unfinished = storage.open_writer(new_key(), mimetype="", filename="")
    unfinished.write(noise(LARGE))
    unfinished.abort()
    with contextlib.closing(storage.open(small)) as reader:
        assert b"".join(reader) == b"content"
    storage.stat(large)
    assert len(list(storage.files())) == 2
    storage.delete(small)
    storage.delete_many([large])
    storage.remove_unfinished(0)
    state = storage.uploads.begin("id", new_key(), mimetype="", filename="")
    offset = storage.uploads.append(state, 0, [noise(LARGE)], lambda: True)
    storage.uploads.finish(state, storage.uploads.append(state, offset, [b"x"], lambda: True))
    storage.uploads.discard(state)
    storage.uploads.remove_abandoned(0, lambda _: False)
    storage.probe()

    sent = {OPERATIONS[operation] for operation, _ in gate.seen}
    statements = json.loads(example("s3-policy"))["Statement"]
    objects, bucket = (set(statement["Action"]) for statement in statements)
    assert objects | bucket == sent
    assert all("List" in action for action in bucket)
    assert [s["Resource"].rpartition(":")[2] for s in statements] == [f"{BUCKET}/*", BUCKET]


def test_the_lifecycle_rule_is_taken_by_the_store(
    s3: Any, s3_bucket: None, tmp_path: Path
) -> None:
    program, *words = shlex.split(example("s3-lifecycle-command").replace("\\\n", ""))
    assert (program, words[:2]) == ("aws", ["s3api", "put-bucket-lifecycle-configuration"])
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options["--lifecycle-configuration"] == "file://lifecycle.json"

    rules = json.loads(example("s3-lifecycle"))
    s3.put_bucket_lifecycle_configuration(Bucket=options["--bucket"], LifecycleConfiguration=rules)

    (taken,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert taken["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}


def test_google_is_used_as_shown(
    start: Callable[..., Any],
    google: Emulator,
    private_key: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    google.make_bucket(BUCKET)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
    account = tmp_path / "service-account.json"
    text = example("gcloud").replace("/etc/kinto/service-account.json", str(account))
    assert text != example("gcloud")
    with storage_parts.google_tokens() as url:
        account.write_text(json.dumps(storage_parts.service_account(private_key, url)))
        with start(text) as kinto:
            check_it_works(kinto)


def test_a_third_party_backend_is_used_as_shown(tmp_path: Path) -> None:
    program = (
        "from pyramid_storage.local import LocalFileStorage\n"
        "class MyFileStorage(LocalFileStorage):\n    pass\n"
    )
    (tmp_path / "my_package.py").write_text(program)
    given = {
        **processes.basic_settings(tmp_path, parts.MEMORY),
        **ini(example("third-party"), tmp_path),
        "kinto.attachment.base_url": "https://files.example.org/",
        "storage.base_path": str(tmp_path / "files"),
    }
    path = {"PYTHONPATH": str(tmp_path)}
    processes.write_ini(tmp_path / "kinto.ini", given)
    command = [str(processes.BIN / "kinto"), "start", "--ini", "kinto.ini", "--port", "0"]
    with processes.answering(command, tmp_path, path) as origin:
        kinto = processes.Kinto(origin, tmp_path)
        assert put(kinto, RECORD, "a.jpg", b"content").status_code == 201
        assert capability(kinto)["unsupported"] == ["list", "read"]
        assert requests.delete(f"{kinto.url}{RECORD}/attachment", auth=ALICE).status_code == 204
    assert "lacks list and read" in (tmp_path / "server.log").read_text()


def test_the_contract_is_run_as_shown(tmp_path: Path) -> None:
    (tmp_path / "test_my_storage.py").write_text(example("contract"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = processes.run(command, tmp_path)

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 10
