"""Uploads in several requests on two real nodes: two servers, one database, one store."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from kinto_attachment.storage.network import PART
from kinto_attachment.testing import noise
from tests.support import parts, processes, resuming, storage_parts, streaming
from tests.support.parts import sha256

SIZE = 2 * PART + 1_000_000
CONTENT = noise(SIZE)
Nodes = tuple[processes.Kinto, processes.Kinto]
OWN_BUCKETS: list[str] = []
"""Those of this module: other tests leave things in theirs."""


@pytest.fixture(scope="module", params=["local", "s3"])
def nodes(
    request: pytest.FixtureRequest,
    postgresql: str,
    s3_url: str,
    s3: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Nodes]:
    """gunicorn twice: it gives the application bytes as they come."""
    folder = tmp_path_factory.mktemp("nodes")
    own: dict[str, Any] = {
        **processes.basic_settings(folder, parts.postgresql_settings(postgresql)),
        "kinto.attachment.uploads": "true",
        "kinto.attachment.extensions": "any",
        "kinto.attachment.fsync": "false",
        "kinto.attachment.max_uploads_per_user": "500",
    }
    if request.param == "s3":
        OWN_BUCKETS.append(storage_parts.new_bucket(s3))
        own |= storage_parts.s3_settings(s3_url, OWN_BUCKETS[-1], download="proxy")
    given = {name: value for name, value in own.items() if value is not None}
    empty = parts.Server(given)
    empty.forget_records()
    empty.close()
    with contextlib.ExitStack() as stack:
        found = []
        for name in ("a", "b"):
            (folder / name).mkdir()
            running = stack.enter_context(streaming.gunicorn(folder / name, given))
            found.append(processes.Kinto(running.origin, folder))
        for path in ("/buckets/big", "/buckets/big/collections/album"):
            streaming.send(found[0], "PUT", path, b"{}", "application/json")
        yield found[0], found[1]
        streaming.send(found[0], "DELETE", "/buckets/big", b"", "text/plain")


def left(kinto: processes.Kinto, s3: Any) -> list[str]:
    """What the store has beside files."""
    if kinto.files.exists():
        return [path.name for path in (kinto.files / ".kinto-attachment-uploads").iterdir()]
    found = []
    for bucket in OWN_BUCKETS:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=".kinto-attachment-uploads/")
        found += [one["Key"] for one in listed.get("Contents", ())]
        found += [one["Key"] for one in unfinished(s3, bucket)]
    return found


def unfinished(s3: Any, bucket: str) -> list[Any]:
    return list(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ()))


def assert_stored(kinto: processes.Kinto) -> None:
    url = f"{kinto.url}{streaming.NORMAL}"
    answer = requests.get(url, headers=streaming.CREDENTIALS, timeout=60)
    assert sha256(answer.content) == sha256(CONTENT)
    record = url.removesuffix("/attachment")
    said = requests.get(record, headers=streaming.CREDENTIALS, timeout=60).json()
    assert said["data"]["attachment"]["hash"] == sha256(CONTENT)


def patch(kinto: processes.Kinto, path: str, start: int, stop: int) -> None:
    found = resuming.done(kinto, "PATCH", path, CONTENT[start:stop], Upload_Offset=str(start))
    assert found["Upload-Offset"] == str(stop)


def test_a_client_changes_the_node_with_each_request(nodes: Nodes, s3: Any) -> None:
    path, start = resuming.begin(nodes[0], SIZE, CONTENT[:1000]), 1000
    for number, stop in enumerate((PART - 1, PART, PART + 5, 2 * PART + 7, SIZE)):
        kinto = nodes[number % 2]
        assert resuming.offset(kinto, path) == start
        patch(nodes[(number + 1) % 2], path, start, stop)
        start = stop

    assert_stored(nodes[0])
    assert resuming.offset(nodes[1], path) == SIZE
    assert left(nodes[0], s3) == []


@contextlib.contextmanager
def stopped(kinto: processes.Kinto) -> Iterator[None]:
    """A node that stands still, as one whose machine is paused: it closes no connection."""
    found = streaming.serving(kinto)
    for process in found:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in found:
            os.kill(process.pid, signal.SIGCONT)


def head(kinto: processes.Kinto, path: str) -> None:
    """The client asks where it goes on."""
    assert PART <= resuming.offset(kinto, path) <= len(SENT)


def more(kinto: processes.Kinto, path: str) -> None:
    """It goes on."""
    start = resuming.offset(kinto, path)
    patch(kinto, path, start, start + 500_000)


def rest(kinto: processes.Kinto, path: str) -> None:
    """It goes on to the end."""
    patch(kinto, path, resuming.offset(kinto, path), SIZE)


def delete(kinto: processes.Kinto, path: str) -> None:
    """It gives the upload up."""
    resuming.done(kinto, "DELETE", path)


SENT = CONTENT[: PART + 1_000_000]


THE_OTHER, THE_SAME = "the other node", "the same node"


@pytest.mark.parametrize(
    ("what", "where"),
    [
        *((what, THE_OTHER) for what in (head, more, rest, delete)),
        *((what, THE_SAME) for what in (more, rest)),
    ],
)
def test_late_bytes_of_a_node_that_stood_still_change_nothing(
    nodes: Nodes, s3: Any, what: Callable[[processes.Kinto, str], None], where: str
) -> None:
    """Nobody waits for it: it answers nothing, and its connection looks alive. On the same node
    it is a connection that hangs."""
    elsewhere = where == THE_OTHER
    goes_on = nodes[1] if elsewhere else nodes[0]
    path = resuming.begin(nodes[0], SIZE)
    with contextlib.ExitStack() as stack:
        zombie = resuming.stalled(stack, nodes[0], path, SENT, SIZE)
        wait_until_written(nodes[0], path, s3)
        with stopped(nodes[0]) if elsewhere else contextlib.nullcontext():
            what(goes_on, path)
        with contextlib.suppress(ConnectionError):
            zombie.sendall(b"z" * (SIZE - len(SENT)))
        assert status_of(zombie) in (0, 404, 409, 410)

    if what is not delete:
        start = resuming.offset(goes_on, path)
        if start < SIZE:
            patch(goes_on, path, start, SIZE)
        assert_stored(nodes[1])
    assert left(nodes[0], s3) == []


def wait_until_written(kinto: processes.Kinto, path: str, s3: Any) -> None:
    """Until the node has taken most of what was sent, and waits for the rest."""
    deadline = time.monotonic() + 60
    while not is_written(kinto, path.rsplit("/", 1)[1], s3):
        assert time.monotonic() < deadline
        time.sleep(0.01)  # Between two looks; nothing relies on how long it is.


def is_written(kinto: processes.Kinto, upload_id: str, s3: Any) -> bool:
    if kinto.files.exists():
        return (kinto.files / ".kinto-attachment-uploads" / upload_id).stat().st_size >= PART
    for bucket in OWN_BUCKETS:
        for one in unfinished(s3, bucket):
            where = {"Bucket": bucket, "Key": one["Key"], "UploadId": one["UploadId"]}
            return bool(s3.list_parts(**where).get("Parts"))
    return False


def status_of(client: socket.socket) -> int:
    """Of the answer; 0 where the connection is closed without one."""
    try:
        answer = client.recv(65536)
    except ConnectionError:
        return 0
    return int(answer.split()[1]) if answer else 0
