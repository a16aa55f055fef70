"""What servers count and tell through Kinto's metrics."""

import contextlib
import errno
import http.client
import logging
import os
import re
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import transaction
from kinto.core.metrics import IMetricsService, NoOpMetricsService
from kinto.core.utils import sqlalchemy

from kinto_attachment.commands import main
from kinto_attachment.http import gauges
from kinto_attachment.metrics import COUNTER, GAUGE, HISTOGRAM, METRICS
from kinto_attachment.records import last_runs
from tests.support import parts, processes
from tests.support.parts import ATTACHMENT, COLLECTION, RECORD, Server, every_backend, multipart

UNITS = ("_seconds", "_bytes", "_files", "_objects")


def names_of(scraped: str) -> dict[str, str]:
    """Our metrics in Prometheus's text, with their types; not when each was created."""
    types = re.findall(r"^# TYPE (kinto_attachment\S+) (\w+)$", scraped, re.MULTILINE)
    return {name: kind for name, kind in types if not name.endswith("_created")}


def values_of(scraped: str) -> dict[str, float]:
    lines = re.findall(r"^(kinto_attachment[^\s#]*(?:\{.*\})?) (\S+)$", scraped, re.MULTILINE)
    return {name: float(value) for name, value in lines}


class Scraped:
    """A server, scraped until it says what is waited for."""

    def __init__(self, kinto: processes.Kinto) -> None:
        self._kinto = kinto
        host = kinto.origin.removeprefix("http://")
        self._connection = http.client.HTTPConnection(host, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "",
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> int:
        user = b64encode(b"owner:secret").decode()
        headers = {"Authorization": f"Basic {user}", "Content-Type": content_type, **more}
        self._connection.request(method, f"/v1{path}", body, headers)
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def scrape(self, until: Callable[[str], bool] = lambda _: True) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"{self._kinto.url}/__metrics__") as answer:
                found: str = answer.read().decode()
            if until(found):
                return found
        raise AssertionError(found)


def test_a_server_tells_what_the_table_says_and_nothing_else(
    on_postgresql: Callable[..., Server], postgresql: str, tmp_path: Path
) -> None:
    on_postgresql()
    transaction.abort()
    backend = parts.postgresql_settings(postgresql)
    settings = processes.basic_settings(tmp_path, backend)
    settings["kinto.includes"] = "kinto.plugins.prometheus kinto_attachment"
    settings["kinto.bucket_write_principals"] = "system.Authenticated"
    settings["kinto.attachment.uploads"] = "true"
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename YS50eHQ="}
    with (
        processes.running_kinto(tmp_path, settings) as kinto,
        contextlib.closing(Scraped(kinto)) as ours,
    ):
        for path in (parts.BUCKET.replace("pictures", "mine"), "/buckets/mine/collections/album"):
            assert ours.send("PUT", path, b"{}", "application/json") == 201
        record = "/buckets/mine/collections/album/records/first"
        body, content_type = multipart([("attachment", "a.txt", "text/plain", b"x" * 1000)])
        assert ours.send("POST", f"{record}/attachment", body, content_type) == 201
        assert ours.send("GET", f"{record}/attachment") == 200
        body, content_type = multipart([("attachment", "a.exe", "text/plain", b"x")])
        assert ours.send("POST", f"{record}/attachment", body, content_type) == 400
        part = "application/offset+octet-stream"
        for content in (b"half", b"the whole"):
            uploads = f"{record}/attachment/uploads"
            assert ours.send("POST", uploads, content, part, tus) in (200, 201)
        ini = str(tmp_path / "kinto.ini")
        for command in (["gc", "--delete", "--grace", "-60"], ["verify"]):
            assert main([*command, "--ini", ini]) == 0
        # What can't be read as a file: the store fails.
        (tmp_path / "files" / ".kinto-attachment-mark").rename(tmp_path / "mark")
        (tmp_path / "files" / ".kinto-attachment-mark").mkdir()
        body, content_type = multipart([("attachment", "a.txt", "text/plain", b"x")])
        assert ours.send("POST", f"{record}/attachment", body, content_type) == 503
        scraped = ours.scrape(lambda text: "attachment_stored_files 1.0" in text)

    types = {COUNTER: "counter", HISTOGRAM: "histogram", GAUGE: "gauge"}
    assert names_of(scraped) == {m.prometheus(): types[m.kind] for m in METRICS}
    for metric in METRICS:
        found = re.search(rf"^{metric.prometheus()}(?:_count)?(\{{.*\}})? ", scraped, re.MULTILINE)
        assert found, metric
        labels = re.findall(r'(\w+)="', found[1] or "")
        assert sorted(labels) == sorted(metric.labels), metric
    values = values_of(scraped)
    assert values['kinto_attachment_uploads_total{method="post"}'] == 2
    assert values["kinto_attachment_stored_bytes"] == len("the whole")
    events = {"begun": 2, "finished": 1}
    for event, number in events.items():
        assert values[f'kinto_attachment_resumable_uploads_total{{event="{event}"}}'] == number
    assert values["kinto_attachment_unfinished_files"] == 1
    assert values["kinto_attachment_unfinished_bytes"] == len("half")
    assert values["kinto_attachment_gc_expired_objects"] == 0
    assert values["kinto_attachment_verify_files"] == 1
    assert values["kinto_attachment_verify_damaged_files"] == 0
    assert values["kinto_attachment_gc_found_objects"] == 0
    failed = '{error="unavailable",operation="mark",store="local"}'
    assert values[f"kinto_attachment_store_errors_total{failed}"] == 1
    written = '{operation="write",store="local"}'
    assert values[f"kinto_attachment_store_seconds_count{written}"] == 1  # Whole ones alone.
    now = time.time()
    for name in ("stored", "gc", "verify"):
        assert now - 600 < values[f"kinto_attachment_{name}_timestamp_seconds"] <= now


def test_names_and_units_follow_prometheus() -> None:
    assert len({metric.key for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"attachment(_[a-z]+)+", metric.key)
        assert not metric.key.endswith("_total")
        assert metric.kind == COUNTER or metric.key.endswith(UNITS)
        assert (metric.kind == HISTOGRAM) <= metric.key.endswith("_seconds")
        assert metric.meaning.endswith((".", "since 1970."))


@every_backend()
def test_stored_files_are_counted_once_each_and_kept_ones_too(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({"kinto.attachment.keep_old_files": "true"})
    owner = server.as_user()
    owner.make_collection()
    with transaction.manager:
        assert server.rows().usage() == (0, 0)
    owner.upload(content=b"first")
    value = owner.get(RECORD).json["data"]["attachment"]
    copied = {"data": {"attachment": value}}
    owner.json("put", f"{COLLECTION}/records/copy", copied, status=201)
    owner.upload(content=b"second!")

    with transaction.manager:
        assert server.rows().usage() == (2, 12)


def test_services_that_do_not_ask_are_told_with_the_heartbeat(
    make_server: Callable[..., Server],
) -> None:
    server = make_server()
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"hello")
    last_runs.publish(server.registry, last_runs.STORED, {"files": 1, "bytes": 5})
    told: dict[str, float] = {}

    class Service(NoOpMetricsService):
        pass

    class Telling:
        def observe(self, key: str, value: float, labels: Any = ()) -> None:
            told[key] = value

        def __getattr__(self, name: str) -> Any:
            return getattr(Service(), name)

    before = server.registry.metrics
    server.registry.registerUtility(Telling(), IMetricsService)
    try:
        owner.get("/__heartbeat__", status=200)
    finally:
        server.registry.registerUtility(before, IMetricsService)

    assert told["attachment_stored_files"] == 1
    assert told["attachment_stored_bytes"] == 5
    assert set(told) <= {metric.key for metric in METRICS} | {"request_size"}


def test_a_scrape_counts_nothing_by_itself(
    on_postgresql: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = on_postgresql()
    statements: list[str] = []
    last_runs.publish(server.registry, last_runs.STORED, {"files": 7, "bytes": 5})

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    events = (sqlalchemy.engine.Engine, "before_cursor_execute", note)
    sqlalchemy.event.listen(*events)
    try:
        with transaction.manager:
            values = dict(gauges.Gauges(server.registry).values())
    finally:
        sqlalchemy.event.remove(*events)

    assert values["attachment_stored_files"] == 7
    assert len([s for s in statements if "SELECT" in s]) == 4  # The last: unfinished uploads.
    assert not [s for s in statements if "GROUP BY" in s]


@pytest.mark.parametrize("error", ["unavailable", "full"])
def test_a_failure_of_the_store_is_logged_once_with_cause_key_and_record(
    make_server: Callable[..., Server],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    server = make_server()
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"old", status=201)
    before = owner.get(RECORD).json
    number = errno.EIO if error == "unavailable" else errno.ENOSPC

    def broken(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number), "bad\x1b[31mname\n")

    caplog.set_level(logging.WARNING)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", broken)
        owner.upload(content=b"new", status=507 if error == "full" else 503)

    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    said = record.getMessage()
    assert re.search(r"[0-9a-f-]{36}\.jpg", said)
    assert ATTACHMENT in said
    assert os.strerror(number) in said
    assert said.isprintable()
    assert owner.get(RECORD).json == before
    server.assert_agreement()
