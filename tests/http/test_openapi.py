"""The description in ``/v1/__api__`` is what the server does: for people, and for programs that
make requests of nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from openapi_spec_validator import OpenAPIV2SpecValidator

from tests.support import processes
from tests.support.parts import MEMORY, sha256

ALICE = ("alice", "secret")
RECORDS = "/buckets/pictures/collections/album/records"
PATH = "/buckets/{bucket_id}/collections/{collection_id}/records/{id}/attachment"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
OPERATIONS = {
    "upload_attachment": ("post", PATH),
    "put_attachment": ("put", PATH),
    "get_attachment": ("get", PATH),
    "delete_attachment": ("delete", PATH),
    "link_attachment": ("post", f"{PATH}/link"),
    "get_linked_attachment": ("get", f"{PATH}/link/{{token}}"),
}
CONFIGURATION = """
# A valid request may be refused: for its ETag, or since "data" must be JSON. An invalid one may
# be let through: unknown query parameters, for old clients.
[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
[warnings]
fail-on = ["missing_auth"]
[auth.openapi.basicauth]
username = "alice"
password = "secret"
[parameters]
"path.bucket_id" = "pictures"
"path.collection_id" = "album"
"""


@pytest.fixture(scope="module")
def kinto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[processes.Kinto]:
    """A real server with one collection."""
    folder = tmp_path_factory.mktemp("openapi")
    with processes.running_kinto(folder, processes.basic_settings(folder, MEMORY)) as running:
        for path in ("/buckets/pictures", "/buckets/pictures/collections/album"):
            requests.put(f"{running.url}{path}", auth=ALICE).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def document(kinto: processes.Kinto) -> dict[str, Any]:
    return requests.get(f"{kinto.url}/__api__").json()


def operation(document: dict[str, Any], name: str) -> dict[str, Any]:
    method, path = OPERATIONS[name]
    found: dict[str, Any] = document["paths"][path][method]
    return found


class Client:
    """Calls operations by their names, and checks each answer, with the description alone."""

    def __init__(self, kinto: processes.Kinto, document: dict[str, Any], record: str) -> None:
        self._schema = schemathesis.openapi.from_dict(document)
        self._how: dict[str, Any] = {"base_url": kinto.url, "auth": ALICE}
        self._ids = {"bucket_id": "pictures", "collection_id": "album", "id": record}

    def __call__(self, name: str, status: int, **how: Any) -> schemathesis.Response:
        method, path = OPERATIONS[name]
        ids = {**self._ids, **how.pop("ids", {})}
        case = self._schema[path][method].Case(path_parameters=ids, **how)
        # Schemathesis wants a media type of each answer, even of one without a body.
        call = case.call if status in (204, 304) else case.call_and_validate
        response = call(**self._how)
        assert response.status_code == status, response.text
        return response


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    errors = OpenAPIV2SpecValidator(document).iter_errors()

    # The validator does not know the one type that only responses may have.
    assert [error for error in errors if error.instance != "file"] == []


def test_each_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [
        described["operationId"]
        for path in document["paths"].values()
        for method, described in path.items()
        if method != "parameters"
    ]

    assert len(names) == len(set(names))
    for name in OPERATIONS:
        assert operation(document, name)["operationId"] == name


def test_files_come_as_a_form_or_as_the_body_and_go_as_files(document: dict[str, Any]) -> None:
    form, body = operation(document, "upload_attachment"), operation(document, "put_attachment")

    assert form["consumes"] == ["multipart/form-data"]
    parts = {p["name"]: p["type"] for p in form["parameters"] if p["in"] == "formData"}
    assert parts == {"attachment": "file", "data": "string", "permissions": "string"}
    assert body["consumes"] == ["application/octet-stream"]
    assert [p["name"] for p in body["parameters"] if p["in"] == "body"] == ["file"]
    for name in ("get_attachment", "get_linked_attachment"):
        download = operation(document, name)
        assert download["produces"] == ["application/octet-stream", "application/json", "*/*"]
        for status in ("200", "206"):
            assert download["responses"][status]["schema"] == {"type": "file"}


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", None])
def test_a_raw_upload_may_have_any_type(kinto: processes.Kinto, content_type: str | None) -> None:
    url = f"{kinto.url}{RECORDS}/typed/attachment?filename=sea.png"
    headers = {"Content-Type": content_type} if content_type else {}

    answer = requests.put(url, PNG, auth=ALICE, headers=headers)

    assert answer.json()["mimetype"] == "image/png"


def test_all_but_a_signed_link_ask_for_credentials(document: dict[str, Any]) -> None:
    assert document["securityDefinitions"]["basicauth"] == {"type": "basic"}
    asking = {name: operation(document, name)["security"] for name in OPERATIONS}
    assert asking.pop("get_linked_attachment") == []
    assert all(security == [{"basicauth": []}] for security in asking.values())


def test_a_client_made_of_the_description_uploads_and_downloads(
    kinto: processes.Kinto, document: dict[str, Any]
) -> None:
    client = Client(kinto, document, "made")
    form = {"attachment": PNG, "data": '{"title": "At the sea"}'}

    sent = client("upload_attachment", 201, body=form, media_type="multipart/form-data")

    assert sent.json()["hash"] == sha256(PNG)
    record = requests.get(f"{kinto.url}{RECORDS}/made", auth=ALICE).json()["data"]
    assert (record["title"], record["attachment"]) == ("At the sea", sent.json())
    assert client("get_attachment", 200).content == PNG
    assert client("get_attachment", 206, headers={"Range": "bytes=0-7"}).content == PNG[:8]
    unchanged = {"If-None-Match": f'"{sha256(PNG)}"'}
    assert client("get_attachment", 304, headers=unchanged).content == b""


def test_a_client_made_of_the_description_replaces_shares_and_deletes(
    kinto: processes.Kinto, document: dict[str, Any]
) -> None:
    client = Client(kinto, document, "replaced")
    raw = {"media_type": "application/octet-stream", "query": {"filename": "sea.png"}}
    client("put_attachment", 201, body=b"old", **raw)

    sent = client("put_attachment", 200, body=PNG, **raw)

    assert (sent.json()["filename"], sent.json()["hash"]) == ("sea.png", sha256(PNG))
    order = {"body": {"data": {"expires_in": 60}}, "media_type": "application/json"}
    link = client("link_attachment", 200, **order).json()["data"]
    token = {"token": link["url"].rsplit("/", 1)[1]}
    assert client("get_linked_attachment", 200, ids=token).content == PNG
    client("delete_attachment", 412, headers={"If-Match": '"1"'})
    assert client("get_attachment", 200).content == PNG
    client("delete_attachment", 204, headers={"If-Match": sent.headers["etag"][0]})
    client("get_attachment", 404)
    record = requests.get(f"{kinto.url}{RECORDS}/replaced", auth=ALICE).json()["data"]
    assert "attachment" not in record


def test_generated_requests_get_no_answer_that_is_not_described(
    kinto: processes.Kinto, document: dict[str, Any], tmp_path: Path
) -> None:
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(only_ours(document)))
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION + a_record_for_each_operation(kinto))
    command = [str(processes.BIN / "st"), "--config-file", str(configuration), "run"]
    command += [str(described), "--url", kinto.url, "--generation-deterministic"]
    command += ["--max-examples", "5", "--phases", "coverage,fuzzing", "--no-color"]

    done = processes.run(command, tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("upload_attachment", "put_attachment"):  # Some of them did get through.
        assert attachment_of(kinto, name)["hash"] != sha256(PNG)
    assert attachment_of(kinto, "delete_attachment") is None
    assert attachment_of(kinto, "link_attachment")["hash"] == sha256(PNG)


def only_ours(document: dict[str, Any]) -> dict[str, Any]:
    """Our operations, and of their answers the ones with a number: ``default`` fits all."""
    paths: dict[str, Any] = {}
    for name, (method, path) in OPERATIONS.items():
        described = operation(document, name)
        numbered = {k: v for k, v in described["responses"].items() if k != "default"}
        parameters = document["paths"][path]["parameters"]
        paths.setdefault(path, {"parameters": parameters})[method] = {
            **described,
            "responses": numbered,
        }
    return {**document, "paths": paths}


def a_record_for_each_operation(kinto: processes.Kinto) -> str:
    """Store a file in each, and say in words of Schemathesis who is to work on which."""
    lines = []
    for name in OPERATIONS:
        url = f"{kinto.url}{RECORDS}/{name}/attachment"
        requests.put(f"{url}?filename=sea.png", PNG, auth=ALICE).raise_for_status()
        link = requests.post(f"{url}/link", auth=ALICE).json()["data"]["url"]
        ids = f'"path.id" = "{name}", "path.token" = "{link.rsplit("/", 1)[1]}"'
        lines += ["[[operations]]", f'include-operation-id = "{name}"', f"parameters = {{{ids}}}"]
        if name.startswith(("get", "delete")):  # As above: 304 and 204 have no media type.
            lines += ["checks.content_type_conformance.enabled = false"]
    return "\n".join(lines)


def attachment_of(kinto: processes.Kinto, record: str) -> Any:
    answer = requests.get(f"{kinto.url}{RECORDS}/{record}", auth=ALICE)
    return answer.json()["data"].get("attachment")
