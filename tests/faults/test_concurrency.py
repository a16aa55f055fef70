"""Eight clients, two servers, one database, one store: agreement after every round."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.faults.harness import Database, Launcher, call
from tests.support.parts import COLLECTION, RECORD, Client, Server, multipart

ROUNDS, CLIENTS = 200, 8
ALLOWED = {200, 201, 204, 404, 409, 412, 503}
"""503 is Kinto's answer, with Retry-After, to a deadlock of its own: its PUT takes the lock of
the collection's timestamp before the record's, its DELETE the other way round."""


def act(port: int, client: Client, choice: int, number: int) -> int:
    """Replace, remove, delete, create again, copy, or edit, the same record."""
    body, form = multipart([("attachment", "a.txt", "text/plain", b"content %d" % number)])
    edit = b'{"data": {"edited": %d}}' % number
    upload = ("POST", f"{RECORD}/attachment", body, {"Content-Type": form})
    method, path, content, more = {
        4: ("DELETE", f"{RECORD}/attachment", None, {}),
        5: ("DELETE", RECORD, None, {}),
        6: ("PATCH", RECORD, edit, {"Content-Type": "application/json"}),
        7: (*upload[:3], {"Content-Type": form, "If-None-Match": "*"}),
    }.get(choice, upload)
    return call(port, method, path, content, **client.headers, **more)[0]


def test_eight_clients_on_two_servers_leave_agreement_after_every_round(
    on_postgresql: Callable[..., Server], launcher: Launcher, database: Database
) -> None:
    server = on_postgresql()
    client = server.as_user()
    ports = [launcher.start()[0] for _ in range(2)]
    chance = random.Random(20261123)
    statuses: set[int] = set()
    with ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(ROUNDS):
            choices = [chance.randrange(8) for _ in range(CLIENTS)]
            running = [
                pool.submit(act, ports[i % 2], client, choice, number * CLIENTS + i)
                for i, choice in enumerate(choices)
            ]
            answers = {future.result() for future in running}
            statuses |= answers
            assert answers <= ALLOWED, (number, choices, answers)
            database.wait_until_idle()
            print(number, choices, [future.result() for future in running])
            server.assert_agreement()
    assert {200, 201, 204} <= statuses


def test_copies_made_while_the_original_goes_never_dangle(
    on_postgresql: Callable[..., Server], launcher: Launcher, database: Database
) -> None:
    import json

    server = on_postgresql()
    client = server.as_user()
    ports = [launcher.start()[0] for _ in range(2)]
    headers = {**client.headers, "Content-Type": "application/json"}
    with ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(30):
            original = f"{COLLECTION}/records/original-{number}"
            value = client.upload(f"{original}/attachment", content=b"%d" % number).json
            body = json.dumps({"data": {"attachment": value}}).encode()
            copies = [f"{COLLECTION}/records/copy-{number}-{i}" for i in range(6)]
            running = [
                pool.submit(call, ports[i % 2], "PUT", path, body, **headers)
                for i, path in enumerate(copies)
            ]
            running.append(pool.submit(call, ports[0], "DELETE", original, **client.headers))
            answers = {future.result()[0] for future in running}
            assert answers <= {200, 201, 400, 409, 503}
            database.wait_until_idle()
            server.assert_agreement()
