"""More files than Kinto pages, and than one response may remove."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
import transaction

from kinto_attachment import keys
from kinto_attachment.attachments.file_changes import MAX_REMOVALS
from kinto_attachment.rows.links import State
from tests.faults.harness import Database, assert_nothing_dangles, collect
from tests.support.parts import BUCKET, COLLECTION, Server, sha256

SURPLUS = 50


def seed(server: Server, count: int) -> None:
    """Records, links and files as uploads make them, without the uploads."""
    assert server.files is not None
    rows: list[tuple[str, str, str, dict[str, Any], int]] = []
    for number in range(count):
        file_id, uri = keys.new_id(), f"{COLLECTION}/records/r{number}"
        content = b"%d" % number
        (server.files / f"{file_id}.txt").write_bytes(content)
        value = {
            "filename": "a.txt",
            "hash": sha256(content),
            "location": f"{uri[1:]}/attachment?file={file_id}",
            "mimetype": "text/plain",
            "size": len(content),
        }
        seen = {k: v for k, v in value.items() if k != "location"}
        link = {**seen, "record_uri": uri, "key": f"{file_id}.txt", "value": value}
        rows.append((f"r{number}", COLLECTION, "record", {"attachment": value}, number))
        rows.append((file_id, f"{State.HELD}{uri}", "attachments", link, number))
    insert = sqlalchemy.text(
        "INSERT INTO objects (id, parent_id, resource_name, data, last_modified, deleted)"
        " SELECT id, parent, resource, data, from_epoch(at), false FROM"
        " jsonb_to_recordset(:rows)"
        " AS row(id text, parent text, resource text, data jsonb, at bigint)"
    )
    given = [
        {"id": i, "parent": p, "resource": r, "data": d, "at": 10**12 + at}
        for i, p, r, d, at in rows
    ]
    with server.registry.storage.client.connect() as connection:
        connection.execute(insert, {"rows": json.dumps(given)})
    transaction.commit()


@pytest.mark.parametrize("what", [COLLECTION, BUCKET])
def test_deleting_more_than_kinto_pages_leaves_no_record_without_its_file(
    on_postgresql: Callable[..., Server], database: Database, what: str
) -> None:
    server = on_postgresql()
    seed(server, MAX_REMOVALS + SURPLUS)

    server.as_user().delete(what, 200)

    assert len(server.stored_keys()) == SURPLUS
    left = "SELECT count(*) FROM objects WHERE resource_name IN ('record', 'attachments')"
    assert database.execute(left)[0][0] == 0
    server.as_user().make_collection()
    assert_nothing_dangles(server)
    collect(server)
    assert server.stored_keys() == set()
    server.assert_agreement()


def test_a_plural_deletion_takes_the_page_that_kinto_takes(
    on_postgresql: Callable[..., Server],
) -> None:
    server = on_postgresql({"kinto.storage_max_fetch_size": "100"})
    seed(server, 130)

    server.as_user().delete(f"{COLLECTION}/records")

    assert len(server.stored_keys()) == 30
    server.assert_agreement()
