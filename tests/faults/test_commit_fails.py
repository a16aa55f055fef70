"""PostgreSQL fails at COMMIT, or nobody hears that it did not."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.harness import Database, LossyProxy, assert_nothing_dangles, collect
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    Server,
    postgresql_settings,
    sha256,
)
from tests.support.pool import Pool


def act(client: Client, operation: str) -> Any:
    if operation in ("upload", "replace"):
        return client.upload(content=b"new", status="*")
    if operation == "batch":
        requests = [{"method": "DELETE", "path": p} for p in (ATTACHMENT, f"{RECORD}2")]
        return client.json("post", "/batch", {"requests": requests}, "*")
    paths = {"remove": ATTACHMENT, "delete": RECORD, "collection": COLLECTION}
    return client.delete(paths[operation], "*")


OPERATIONS = ["upload", "replace", "remove", "delete", "collection", "batch"]


@pytest.mark.parametrize("how", ["error", "killed"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_failing_commit_leaves_the_old_record_and_the_old_file(
    on_postgresql: Callable[..., Server], database: Database, operation: str, how: str
) -> None:
    server = on_postgresql()
    client = server.as_user()
    if operation != "upload":
        client.upload(content=b"old")
        client.upload(f"{RECORD}2/attachment", content=b"second")
    before = client.get(RECORD, "*").json

    with database.failing_commit(how):
        answer = act(client, operation)

    assert answer.status_code >= 500
    assert client.get(RECORD, "*").json == before
    assert_nothing_dangles(server)
    if how == "killed":  # The outcome was unknown: the new file, if any, is left to gc.
        collect(server)
    server.assert_agreement()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_commit_whose_answer_is_lost_leaves_the_new_record_with_its_file(
    make_server: Callable[..., Server],
    postgresql: str,
    proxy: LossyProxy,
    database: Database,
    pool: Pool,
    operation: str,
) -> None:
    head, _, _ = postgresql.partition("?")
    server = make_server(postgresql_settings(f"{head}?host={proxy.path.parent}"))
    client = server.as_user()
    client.make_collection()
    if operation != "upload":
        client.upload(content=b"old")
        client.upload(f"{RECORD}2/attachment", content=b"second")

    proxy.armed = True
    answer = act(client, operation)
    proxy.armed = False
    database.wait_until_idle()

    assert answer.status_code >= 500
    record = client.get(RECORD, "*")
    if operation in ("upload", "replace"):
        assert record.json["data"]["attachment"]["hash"] == sha256(b"new")
        assert client.get(ATTACHMENT).body == b"new"
    else:
        assert "attachment" not in record.json.get("data", {})
    assert_nothing_dangles(server)
    collect(server)
    server.assert_agreement()
    pool.discard(server)
