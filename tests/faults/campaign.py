"""Random operations, each with a random fault: ``python -m tests.faults.campaign --seed 1``.

``make tests`` runs a thousand with a fixed seed; ``make soak`` runs as many as it is told, with
a seed that it prints, so that a failure can be repeated.
"""

import argparse
import collections
import contextlib
import dataclasses
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import transaction

from tests.faults.harness import (
    STORAGE_FAULTS,
    Database,
    Launcher,
    assert_nothing_dangles,
    call,
    collect,
    made_faulty,
)
from tests.support import postgresql
from tests.support.parts import COLLECTION, MEMORY, SETTINGS, Server, multipart

RECORDS = [f"{COLLECTION}/records/r{n}" for n in range(4)]
RECORDS += [f"/buckets/second/collections/album/records/r{n}" for n in range(2)]
COLLECT_EVERY = 25


class Campaign:
    """:attr:`outcomes` counts (fault, what the client was told)."""

    def __init__(
        self, server: Server, seed: int, database: Database | None, launcher: Launcher | None
    ) -> None:
        self._server = server
        self._chance = random.Random(seed)
        self._database = database
        self._launcher = launcher
        self._client = server.as_user()
        for uri in {record.rpartition("/records")[0] for record in RECORDS}:
            self._client.make_collection(uri)
        attachments = server.registry.attachments
        self._storage = made_faulty(attachments.store)
        server.registry.attachments = dataclasses.replace(attachments, store=self._storage)
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()

    def run(self, operations: int) -> None:
        faults = ["none", *(name for name, _ in STORAGE_FAULTS)]
        if self._server.files is None:
            faults.remove("close-loses-bytes")  # S3 itself counts and checks what it is sent.
        faults += ["commit fails", "connection killed"] * 2 if self._database else []
        faults += ["SIGKILL"] * 2 if self._launcher else []
        for number in range(operations):
            fault = self._chance.choice(faults)
            status = self._operate(number, fault)
            self.outcomes[fault, {0: "nothing", 2: "done"}.get(status // 100, "refused")] += 1
            if self._server.registry.attachments.rolls_back:
                assert_nothing_dangles(self._server)
            if number % COLLECT_EVERY == COLLECT_EVERY - 1:
                self.settle()

    def settle(self) -> None:
        """After gc everything agrees."""
        collect(self._server)
        self._server.assert_agreement()

    def _operate(self, number: int, fault: str) -> int:
        method, path, body, headers = self._request(number)
        if fault == "SIGKILL":
            return self._killed(method, path, body, headers)
        with self._faulty(fault):
            answer = self._client.request(method, path, "*", body=body or b"", headers=headers)
        return int(answer.status_code)

    def _request(self, number: int) -> tuple[str, str, bytes | None, dict[str, str]]:
        record = self._chance.choice(RECORDS)
        content = b"%d " % number * self._chance.choice([1, 100, 200_000])
        form, kind = multipart([("attachment", "a.txt", "text/plain", content)])
        json = {"Content-Type": "application/json"}
        batch = ",".join(f'{{"method": "DELETE", "path": "{r}"}}' for r in RECORDS[:2])
        requests: list[tuple[str, str, bytes | None, dict[str, str]]] = [
            ("POST", f"{record}/attachment", form, {"Content-Type": kind}),
            ("POST", f"{record}/attachment", form, {"Content-Type": kind}),
            ("PUT", f"{record}/attachment?filename=a.txt", content, {}),
            ("DELETE", f"{record}/attachment", None, {}),
            ("DELETE", record, None, {}),
            ("PUT", record, b'{"data": {"plain": true}}', json),
            ("PUT", record, self._copy(), json),
            ("POST", "/batch", f'{{"requests": [{batch}]}}'.encode(), json),
            ("DELETE", f"{COLLECTION}/records", None, {}),
        ]
        return self._chance.choices(requests, [4, 4, 3, 2, 2, 1, 4, 1, 1])[0]

    def _copy(self) -> bytes:
        import json

        transaction.abort()
        stored = [record["attachment"] for record in self._server.records()]
        value = self._chance.choice(stored) if stored else None
        return json.dumps({"data": {"attachment": value}}).encode()

    @contextlib.contextmanager
    def _faulty(self, fault: str) -> Any:
        self._storage.fault = fault
        self._storage.error = dict(STORAGE_FAULTS).get(fault, OSError)
        how = {"commit fails": "error", "connection killed": "killed"}.get(fault)
        with self._database.failing_commit(how) if how and self._database else NOTHING:
            yield
        self._storage.fault = None

    def _killed(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> int:
        assert self._launcher
        assert self._database
        port, pid = self._launcher.start(kill_at=self._chance.randrange(1, 400))
        status, _ = call(port, method, path, body, **self._client.headers, **headers)
        self._launcher.stop(pid)
        self._database.wait_until_idle()
        return status


NOTHING: Any = contextlib.nullcontext()


def main() -> None:
    """``make soak``: on PostgreSQL, for as long as it is told."""
    from tests.support.parts import postgresql_settings

    parser = argparse.ArgumentParser(description="Break record, link and file for long.")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--operations", type=int, default=10_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.operations} operations", flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        postgresql.running(Path(folder) / "data") as url,
    ):
        settings = {**MEMORY, **SETTINGS, **postgresql_settings(url)}
        settings["kinto.attachment.base_path"] = str(Path(folder) / "files")
        server, database = Server(settings), Database(url)
        server.reset()
        launcher = Launcher(settings)
        campaign = Campaign(server, arguments.seed, database, launcher)
        campaign.run(arguments.operations)
        campaign.settle()
        launcher.close()
        database.close()
    for (fault, outcome), count in sorted(campaign.outcomes.items()):
        print(f"{fault:20} {outcome:10} {count}")
    print("0 disagreements")


if __name__ == "__main__":
    main()
