"""deploy/nginx.conf in a real nginx, before Kinto with the other files of deploy/."""

import contextlib
import secrets
import shlex
from base64 import b64encode
from collections.abc import Iterator

import pytest
import requests

from tests.support import deployment
from tests.support.deployment import ADMIN, Front, numbers
from tests.support.documents import example

COLLECTION = "/buckets/films/collections/all"
RECORD = f"{COLLECTION}/records/first"
STALLED = 40
"""More than the threads of all processes of Kinto here."""


@pytest.fixture(scope="module")
def front(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """nginx before Kinto, whose one process has two threads: stalled clients show at once."""
    folder = tmp_path_factory.mktemp("deployed")
    store = {
        "KINTO_ATTACHMENT_BASE_PATH": str(folder / "files"),
        "KINTO_ATTACHMENT_ACCEL_REDIRECT": "/attachment-files/",
    }
    env = {**deployment.environment(postgresql, store), "WEB_CONCURRENCY": "1"}
    deployment.prepare(folder, env)
    (folder / "front").mkdir()
    command = shlex.split(example("gunicorn"))
    with (
        deployment.kinto(folder, [*command, "--threads", "2"], env) as origin,
        deployment.nginx(folder / "front", origin) as running,
    ):
        for path in (COLLECTION.split("/collections", maxsplit=1)[0], COLLECTION):
            assert ask(running, "PUT", path).status_code in (200, 201)
        yield running


def ask(front: Front, method: str, path: str, **how: object) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False  # A machine may name certificates of its own.
        session.verify = str(front.certificate)
        session.auth = ADMIN
        return session.request(method, f"{front.url}{path}", timeout=60, **how)  # type: ignore[arg-type]


def head(method: str, path: str, *headers: str) -> bytes:
    credentials = b64encode(":".join(ADMIN).encode()).decode()
    lines = [f"{method} /v1{path} HTTP/1.1", "Host: kinto.example.org"]
    return "\r\n".join([*lines, f"Authorization: Basic {credentials}", *headers, "", ""]).encode()


def test_files_come_in_and_go_out(front: Front) -> None:
    content = secrets.token_bytes(3_000_000)

    put = ask(front, "PUT", f"{RECORD}/attachment?filename=a.jpg", data=content)
    got = ask(front, "GET", f"{RECORD}/attachment", headers={"Range": "bytes=10-19"})

    assert put.status_code in (200, 201), put.text
    assert ask(front, "GET", f"{RECORD}/attachment").content == content
    assert (got.status_code, got.content) == (206, content[10:20])
    assert "max-age" in put.headers["Strict-Transport-Security"]


def test_a_body_above_the_limit_is_refused_before_it_is_sent(front: Front) -> None:
    largest = int(next(iter(numbers("nginx.conf", "client_max_body_size"))))
    with deployment.connect(front) as client:
        announced = f"Content-Length: {largest + 1}"
        client.sendall(head("PUT", f"{RECORD}/attachment?filename=a.jpg", announced))

        assert b" 413 " in client.recv(100)


@pytest.mark.parametrize("what", ["uploads", "downloads"])
def test_stalled_clients_keep_nobody_waiting(front: Front, what: str) -> None:
    """There are twenty times as many of them as Kinto has threads."""
    large = bytes(8 * 2**20)
    put = f"{COLLECTION}/records/large/attachment?filename=a.jpg"
    assert ask(front, "PUT", put, data=large).status_code in (200, 201)
    with contextlib.ExitStack() as held:
        for number in range(STALLED):
            client = held.enter_context(deployment.connect(front, f"127.0.1.{number + 1}"))
            if what == "uploads":
                path = f"{COLLECTION}/records/stalled-{number}/attachment?filename=a.jpg"
                client.sendall(head("PUT", path, "Content-Length: 1000000") + bytes(1000))
            else:
                client.sendall(head("GET", f"{COLLECTION}/records/large/attachment"))
                assert client.recv(12) == b"HTTP/1.1 200"

        assert ask(front, "GET", f"{COLLECTION}/records/large").status_code == 200
        small = f"{COLLECTION}/records/small-{what}/attachment?filename=a.jpg"
        assert ask(front, "PUT", small, data=bytes(20_000)).status_code == 201
        # None of them has reached Kinto: there is no record, and no part of a file.
        found = ask(front, "GET", f"{COLLECTION}/records?_fields=id").json()["data"]
        assert not [record for record in found if record["id"].startswith("stalled")]


def test_one_address_can_not_take_all_connections(front: Front) -> None:
    (most,) = numbers("nginx.conf", "limit_conn addresses")
    with contextlib.ExitStack() as held:
        for number in range(most):
            client = held.enter_context(deployment.connect(front, "127.0.2.1"))
            path = f"{COLLECTION}/records/many-{number}/attachment?filename=a.jpg"
            client.sendall(head("PUT", path, "Content-Length: 1000") + b"x")
        with deployment.connect(front, "127.0.2.1") as one_more:
            one_more.sendall(head("GET", f"{COLLECTION}/records"))
            assert b" 429 " in one_more.recv(100)

        assert ask(front, "GET", f"{COLLECTION}/records").status_code == 200


def test_the_heartbeat_is_for_this_machine_only(front: Front) -> None:
    """What it looks at is at most the address: all of this machine's begin with 127."""
    assert ask(front, "GET", "/__heartbeat__").status_code == 200
    for path in ("/__heartbeat__", "/__metrics__"):
        with deployment.connect(front, "127.0.2.2") as client:
            client.sendall(head("GET", path))
            assert b" 403 " in client.recv(100)


def test_nothing_is_answered_in_the_clear(front: Front) -> None:
    plain = f"http://127.0.0.1:{front.plain_port}/v1/"
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(plain, timeout=60).status_code == 403


def test_the_log_keeps_no_signature_of_a_link(front: Front) -> None:
    ask(front, "GET", f"{RECORD}/attachment?signature=hidden")

    log = (front.certificate.parent / "access.log").read_text()
    assert f"/v1{RECORD}/attachment" in log
    assert "hidden" not in log
