"""Kinto as processes of their own on one S3: memory, and several nodes."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from kinto_attachment.testing import LARGE, noise
from tests.support import parts, processes, storage_parts
from tests.support.documents import ALICE, put
from tests.support.parts import sha256
from tests.support.streaming import NORMAL, Peak, big_form, download, send, server

BIG = 256 * 1024 * 1024
MAY_GROW = 48 * 1024 * 1024
RECORD = "/buckets/nodes/collections/album/records/first"


@pytest.fixture
def nodes(
    s3_url: str, bucket: str, postgresql: str, on_postgresql: Any, tmp_path: Path
) -> Iterator[tuple[processes.Kinto, processes.Kinto]]:
    """Two servers on one database and one bucket."""
    on_postgresql()  # Empty from here on: other records would name files of another store.
    with ExitStack() as stack:
        found = []
        for name in ("a", "b"):
            folder = tmp_path / name
            folder.mkdir()
            own = {
                **processes.basic_settings(folder, parts.postgresql_settings(postgresql)),
                **storage_parts.s3_settings(s3_url, bucket, download="proxy"),
                "kinto.userid_hmac_secret": "shared",
            }
            given = {name: value for name, value in own.items() if value is not None}
            found.append(stack.enter_context(processes.running_kinto(folder, given)))
        yield found[0], found[1]


def test_two_nodes_on_one_database_and_one_s3_serve_each_others_files(
    nodes: tuple[processes.Kinto, processes.Kinto], s3: Any, bucket: str
) -> None:
    first, second = nodes
    try:
        assert put(first, RECORD, "a.jpg", noise(LARGE)).status_code == 201
        assert sha256(read(second)) == sha256(noise(LARGE))
        assert put(second, RECORD, "b.jpg", b"new").status_code == 200
        assert read(first) == b"new"
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2  # And the mark.
        deleted = requests.delete(f"{first.url}{RECORD}/attachment", auth=ALICE)
        assert deleted.status_code == 204
        missing = requests.get(f"{second.url}{RECORD}/attachment", auth=ALICE)
        assert missing.status_code == 404
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    finally:
        requests.delete(f"{first.url}/buckets/nodes", auth=ALICE)


def read(kinto: processes.Kinto) -> bytes:
    answer = requests.get(f"{kinto.url}{RECORD}/attachment", auth=ALICE)
    answer.raise_for_status()
    return answer.content


@pytest.mark.parametrize("kind", ["waitress", "gunicorn"])
def test_a_quarter_of_a_gibibyte_to_s3_leaves_the_servers_memory_where_it_was(
    s3_url: str, bucket: str, tmp_path: Path, kind: str
) -> None:
    own = {
        name.removeprefix("kinto.").replace(".", "__"): value
        for name, value in storage_parts.s3_settings(s3_url, bucket, download="proxy").items()
        if value is not None
    }
    chunks, length, content_type, digest = big_form(BIG)
    with server(kind, tmp_path, **own, attachment__base_path="") as kinto:
        small, form = parts.multipart([("attachment", "a.txt", "text/plain", b"warm up")])
        assert send(kinto, "POST", NORMAL, small, form)[0] == 201
        peak = Peak(kinto)

        status, answer = send(
            kinto, "POST", NORMAL, chunks, content_type, **{"Content-Length": str(length)}
        )

        assert (status, answer["size"], answer["hash"]) == (200, BIG, digest)
        assert peak.growth() < MAY_GROW
        assert download(kinto, NORMAL) == (BIG, digest)
        assert peak.growth() < MAY_GROW
