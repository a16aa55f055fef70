"""A refused body leaves its connection whole: the next request on it is answered."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kinto.core.testing import get_user_headers

from tests.support import parts, processes, streaming

KINDS = ["waitress", "gunicorn", "granian"]
BIG = 3_000_000
FORM, FORM_TYPE = parts.multipart([("attachment", "a.exe", "text/plain", b"x" * BIG)])
ELSE = get_user_headers("somebody:else")["Authorization"]
REFUSED: dict[str, tuple[str, dict[str, str], bytes, int]] = {
    "nobody": ("POST", {"Content-Type": FORM_TYPE, "Authorization": ""}, FORM, 401),
    "somebody else": ("POST", {"Content-Type": FORM_TYPE, "Authorization": ELSE}, FORM, 403),
    "a precondition": ("POST", {"Content-Type": FORM_TYPE, "If-Match": '"1"'}, FORM, 412),
    "an extension": ("POST", {"Content-Type": FORM_TYPE}, FORM, 400),
    "a form by PUT": ("PUT", {"Content-Type": FORM_TYPE}, FORM, 415),
    "too large": ("PUT", {"Content-Type": "text/plain"}, b"x" * BIG, 413),
    "an odd URL": ("PUT", {"Content-Type": FORM_TYPE}, FORM, 415),
    "no collection": ("PUT", {}, b"x" * BIG, 404),
}


@pytest.fixture(scope="module", params=KINDS)
def kinto(request: Any, tmp_path_factory: Any) -> Iterator[processes.Kinto]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    with streaming.server(request.param, folder, attachment__max_size_bytes="1000000") as kinto:
        yield kinto


def head(what: str, body: bytes, **more: str) -> tuple[str, str, dict[str, str]]:
    method, own, _, _ = REFUSED[what]
    path = streaming.NORMAL
    if what == "no collection":
        path = path.replace("album", "none")
    if what == "an odd URL":
        path += "%0A"  # Kinto passes a line break at the end over.
    headers = {**streaming.CREDENTIALS, "Content-Length": str(len(body)), **own, **more}
    return method, f"/v1{path}", {name: value for name, value in headers.items() if value}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("expecting", [False, True], ids=["", "Expect"])
def test_the_next_request_on_the_connection_is_answered(
    kinto: processes.Kinto, what: str, expecting: bool
) -> None:
    """The body is sent as a whole before the answer is read, as most clients do."""
    if what in ("nobody", "somebody else") and "granian" in kinto.folder.name:
        pytest.skip("a stranger who sends nothing could hold granian's threads")
    *_, body, status = REFUSED[what]
    more = {"Expect": "100-continue"} if expecting else {}
    method, path, headers = head(what, body, **more)
    with contextlib.closing(streaming.connect(kinto)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == status
        assert said["code"] == status
        connection.auto_open = 0  # Else http.client would open another one, without a word.

        connection.request("GET", "/v1/")
        assert connection.getresponse().status == http.client.OK

    assert [path for path in kinto.files.rglob("*") if path.suffix == ".txt"] == []
