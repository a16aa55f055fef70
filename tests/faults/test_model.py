"""Random requests beside a plain dictionary; and that the laws see what is broken on purpose."""

from collections.abc import Callable, Iterator

import pytest
import transaction

from tests.faults import operations as ops
from tests.faults.laws import LawBroken, Rows
from tests.faults.model import PROFILES, Driver, Model, Servers
from tests.faults.operations import Ask, Upload, Value
from tests.support.parts import OTHER, OWNER, Server

RUNS = {"memory": 60, "postgresql": 30}
"""About twenty seconds each; `make soak` takes thousands."""

STEPS = 20
PATIENCE = 60
RECORD = f"{ops.COLLECTIONS[0]}/records/r0"


@pytest.mark.parametrize("backend", list(RUNS), indirect=True)
def test_no_sequence_of_requests_breaks_a_law(
    request: pytest.FixtureRequest, backend: dict[str, str], make_server: Callable[..., Server]
) -> None:
    runs = RUNS[request.node.callspec.params["backend"]]
    servers = Servers(make_server, url_of(backend))
    model = Model(servers)
    try:
        for seed in range(runs):
            model.run(seed, STEPS, PATIENCE)
    finally:
        servers.close()


def url_of(backend: dict[str, str]) -> str | None:
    return backend.get("kinto.storage_url")


@pytest.fixture(params=["memory", "postgresql"])
def backend(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both; overrides the fixture of all tests, which has memory where nothing is asked for."""
    from tests.support import parts

    if request.param == "memory":
        return parts.MEMORY
    return parts.postgresql_settings(request.getfixturevalue("postgresql"))


@pytest.fixture
def driver(make_server: Callable[..., Server], backend: dict[str, str]) -> Iterator[Driver]:
    server = make_server(PROFILES["plain"])
    rows = Rows(server, url_of(backend))
    yield Driver(server, rows)
    rows.close()


def put_past_the_plugin(driver: Driver, attachment: object, record: str = "r0") -> None:
    driver.laws.server.registry.storage.update(
        resource_name="record",
        parent_id=ops.COLLECTIONS[0],
        object_id=record,
        obj={"attachment": attachment},
    )
    transaction.commit()


def test_ordinary_work_breaks_none(driver: Driver) -> None:
    driver.upload(OWNER, Upload(record=2, form=False))
    driver.ask(OTHER, Ask("put", record=3, value=Value("named")))
    driver.ask(OTHER, Ask("patch", place=1, value=Value("forged")))
    driver.batch(OWNER, [Ask("put", record=4, value=Value("named")), Ask("delete", record=0)])
    driver.ask(OTHER, Ask("remove", record=1))
    driver.review(OWNER, "to-sign")
    driver.parents(OWNER, "main", again=True)
    driver.collect()

    driver.finish()


def test_the_other_user_has_the_rights_that_it_is_about(driver: Driver) -> None:
    named, readable = set(driver.laws.named()), driver.laws.open_to_other

    workspace = {uri for uri in named if uri.startswith(ops.COLLECTIONS[0])}
    assert len(workspace) == 3
    assert readable == workspace | {f"{ops.COLLECTIONS[1]}/records/r0"}


def test_a_file_that_is_lost_is_seen(driver: Driver) -> None:
    assert driver.laws.server.files is not None
    for path in driver.laws.server.files.glob("*.txt"):
        path.unlink()

    with pytest.raises(LawBroken, match=r"1: .* has lost its file"):
        driver.ask(OWNER, Ask("patch", title=2))


def test_bytes_that_are_not_the_uploaded_ones_are_seen(driver: Driver) -> None:
    assert driver.laws.server.files is not None
    for path in driver.laws.server.files.glob("*.txt"):
        path.write_bytes(bytes(path.stat().st_size))

    with pytest.raises(LawBroken, match=r"1: .* shows"):
        driver.ask(OWNER, Ask("patch", title=2))


@pytest.mark.parametrize("size", [True, 1.0])
def test_a_value_that_only_equals_the_uploaded_one_is_forged(driver: Driver, size: object) -> None:
    put_past_the_plugin(driver, {**driver.laws.named()[RECORD], "size": size})

    with pytest.raises(LawBroken, match=r"6: .* forged"):
        driver.ask(OWNER, Ask("get"))


def test_a_refusal_that_changed_something_is_seen(driver: Driver) -> None:
    put_past_the_plugin(driver, driver.laws.named()[RECORD])

    with pytest.raises(LawBroken, match="2: a refusal changed"):
        driver.ask(OWNER, Ask("get", match="broken"))


def test_a_copy_that_its_maker_may_not_read_is_seen(driver: Driver) -> None:
    secret = driver.laws.named()[f"{ops.COLLECTIONS[1]}/records/r1"]
    put_past_the_plugin(driver, secret, record="r3")

    with pytest.raises(LawBroken, match=r"6: .* could not be copied"):
        driver.ask(OTHER, Ask("get"))


def test_a_file_that_nothing_names_is_seen(driver: Driver) -> None:
    driver.laws.server.store_file("stray.txt", b"stray")

    with pytest.raises(LawBroken, match=r"5: .* nothing names"):
        driver.finish()


def test_a_link_that_is_missing_is_seen(driver: Driver) -> None:
    rows = driver.laws.server.rows()
    rows.remove(rows.of_records([RECORD]))
    transaction.commit()

    with pytest.raises(LawBroken, match=r"1: .* has lost its file"):
        driver.finish()
