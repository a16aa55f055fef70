"""The server is killed with SIGKILL within the requests of an upload in several, and within gc.

As in test_killed.py, one line stands for all that leave the same outside of the process, and
``make soak`` takes each. Another server, which lives, is the node to which the client turns.
"""

import os
import select
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transaction

from kinto_attachment.rows import Upload, upload_rows_of
from kinto_attachment.rows.uploads import Status
from tests.faults.harness import Database, Launcher, assert_nothing_dangles, call, collect
from tests.http.test_resumable import ON, Tus, path_of
from tests.support import parts
from tests.support.parts import COLLECTION, Client, Server, sha256

EVERY_LINE = bool(os.environ.get("KILL_AT_EVERY_LINE"))
LEAST = 40 if EVERY_LINE else 4
EVERY = {"local_store": 2, "s3_store": 4}
"""Which of the moments are taken, unless it is each line: S3's part is played by Python."""

CONTENT, TUS = b"abcdef", Tus()
TYPE = "application/offset+octet-stream"


class Node:
    """The server that lives, those that die, and what they share.

    :ivar every: which of the moments to kill at are taken.
    """

    def __init__(self, server: Server, launcher: Launcher, database: Database, every: int) -> None:
        self.server, self.launcher, self.database = server, launcher, database
        self.every = every
        self.client = server.as_user()

    def rows(self) -> list[Upload]:
        pages = upload_rows_of(self.server.registry.storage).everything()
        found = [upload for page in pages for upload in page]
        transaction.abort()
        return found

    def expire(self) -> None:
        """Have a day pass for all uploads."""
        rows = upload_rows_of(self.server.registry.storage)
        for upload in self.rows():
            rows.write(replace(upload, expires=0))
        transaction.commit()

    def assert_nothing_left(self) -> None:
        """After all have expired: neither rows, nor anything in the store but records' files."""
        self.expire()
        collect(self.server)
        self.server.assert_agreement()
        assert self.rows() == []
        store: Any = self.server.registry.attachments.store
        if self.server.files is not None:
            folder = self.server.files / ".kinto-attachment-uploads"
            assert not folder.exists() or list(folder.iterdir()) == []
            return
        bucket = {"Bucket": store.bucket_name}
        listed = store.s3_client.list_objects_v2(**bucket, Prefix=".kinto-attachment-uploads/")
        assert listed["KeyCount"] == 0
        assert "Uploads" not in store.s3_client.list_multipart_uploads(**bucket)


@pytest.fixture(scope="module")
def launchers() -> Iterator[dict[str, Launcher]]:
    """By store: one takes seconds to start."""
    made: dict[str, Launcher] = {}
    yield made
    for launcher in made.values():
        launcher.close()


@pytest.fixture(params=list(EVERY))
def node(
    request: pytest.FixtureRequest,
    launchers: dict[str, Launcher],
    postgresql: str,
    on_postgresql: Callable[..., Server],
    database: Database,
) -> Node:
    store = {**request.getfixturevalue(request.param), **ON, "kinto.attachment.fsync": "false"}
    server = on_postgresql(store)
    if request.param not in launchers:
        own = {**parts.SETTINGS, **parts.postgresql_settings(postgresql), **store}
        given = {name: value for name, value in own.items() if value is not None}
        launchers[request.param] = Launcher(given)
    every = 1 if EVERY_LINE else EVERY[request.param]
    return Node(server, launchers[request.param], database, every)


Act = Callable[[int, int], int]
"""What is killed, given the port and the process that it goes to: the status, 0 if it died."""


def creation(node: Node, record: str) -> tuple[Act, str]:
    def act(port: int, _: int) -> int:
        return call(
            port,
            "POST",
            f"{record}/attachment/uploads",
            CONTENT[:3],
            **headers(node.client, Upload_Length="6"),
        )[0]

    return act, ""


def headers(client: Client, **more: str) -> dict[str, str]:
    own = {"Tus-Resumable": "1.0.0", "Content-Type": TYPE, **client.headers}
    return {**own, **{name.replace("_", "-"): value for name, value in more.items()}}


def begun(node: Node, record: str) -> str:
    """An upload of which three bytes are acknowledged."""
    how = headers(node.client, Upload_Length="6")
    path = f"{record}/attachment/uploads"
    return path_of(node.client.request("POST", path, 201, headers=how, body=CONTENT[:3]))


def append(node: Node, record: str, stop: int) -> tuple[Act, str]:
    url = begun(node, record)

    def act(port: int, _: int) -> int:
        how = headers(node.client, Upload_Offset="3")
        return call(port, "PATCH", url, CONTENT[3:stop], **how)[0]

    return act, url


def middle(node: Node, record: str) -> tuple[Act, str]:
    return append(node, record, 5)


def last(node: Node, record: str) -> tuple[Act, str]:
    return append(node, record, 6)


def deletion(node: Node, record: str) -> tuple[Act, str]:
    url = begun(node, record)
    return lambda port, _: call(port, "DELETE", url, None, **headers(node.client))[0], url


def gc(node: Node, record: str) -> tuple[Act, str]:
    url = begun(node, record)
    node.expire()

    def act(_: int, pid: int) -> int:
        """It is no child of ours, so its end is waited for by a handle."""
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return 0
        select.select([handle], [], [])
        os.close(handle)
        return 0

    return act, url


OPERATIONS = {f.__name__: f for f in (creation, middle, last, deletion, gc)}


def kill_points(node: Node, operation: str, record: str, trace: Path) -> list[int]:
    """Do it once in peace; the numbers of the steps at which to kill."""
    act, _ = OPERATIONS[operation](node, record)
    folder = str(node.server.files or "")
    how: dict[str, Any] = {"trace": str(trace), "folder": folder, "collects": operation == "gc"}
    port, pid = node.launcher.start(**how)
    assert act(port, pid) in ((0,) if operation == "gc" else (201, 204))
    node.launcher.stop(pid)
    node.database.wait_until_idle()
    seen: dict[str, int] = {}
    for number, step in enumerate(trace.read_text().splitlines(), 1):
        line, outside = step.split("\t")
        seen.setdefault(line if EVERY_LINE else outside, number)
    return sorted(seen.values())[:: node.every]


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_an_upload_survives_the_server_that_is_killed_and_leaves_nothing(
    node: Node, operation: str, tmp_path: Path
) -> None:
    points = kill_points(node, operation, f"{COLLECTION}/records/peace", tmp_path / "trace")
    assert len(points) >= LEAST
    for point in points:
        record = f"{COLLECTION}/records/killed-at-{point}"
        act, url = OPERATIONS[operation](node, record)
        port, pid = node.launcher.start(kill_at=point, collects=operation == "gc")
        status = act(port, pid)
        node.launcher.stop(pid)
        node.database.wait_until_idle()

        assert_nothing_dangles(node.server)
        if url and operation != "gc":
            go_on(node, url, record, acknowledged(operation, status), may_end=operation)
        node.assert_nothing_left()
        node.client.delete(record, "*")
        collect(node.server)


def acknowledged(operation: str, status: int) -> int:
    return {"middle": 5, "last": 6}.get(operation, 3) if status else 3


def go_on(node: Node, url: str, record: str, least: int, may_end: str) -> None:
    """What the client does: it asks where to go on, and does."""
    answer = TUS.head(node.client, url, "*")
    if answer.status_code != 200:
        assert may_end == "deletion"
        assert answer.status_code in (404, 410)
        assert "Upload-Offset" not in answer.headers
        node.client.get(record, 404)
        return
    offset = int(answer.headers["Upload-Offset"])
    assert offset >= least
    found = [upload for upload in node.rows() if url.endswith(upload.id)]
    if found[0].status is not Status.FINISHED:
        assert offset < len(CONTENT)
        TUS.send(node.client, url, offset, CONTENT[offset:], False, 204)
    said = node.client.get(record, 200).json["data"]["attachment"]
    assert said["hash"] == sha256(CONTENT)
    assert node.client.get(f"{record}/attachment").body == CONTENT
    assert TUS.head(node.client, url, 200).headers["Upload-Offset"] == "6"
