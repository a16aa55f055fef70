"""A thousand random operations with random faults, and no disagreement."""

from collections.abc import Callable

import pytest

from tests.faults.campaign import Campaign
from tests.faults.harness import Database, Launcher
from tests.support.parts import Server

SEED = 20261124


def test_a_thousand_faulted_operations_on_postgresql_leave_no_disagreement(
    on_postgresql: Callable[..., Server], database: Database, launcher: Launcher
) -> None:
    campaign = Campaign(on_postgresql(), SEED, database, launcher)

    campaign.run(1000)
    campaign.settle()

    told = {outcome for _, outcome in campaign.outcomes}
    assert told == {"done", "refused", "nothing"}


@pytest.mark.parametrize("backend", ["memory", "postgresql-autocommit"], indirect=True)
def test_where_nothing_rolls_back_a_store_that_fails_still_leaves_agreement(
    make_server: Callable[..., Server],
) -> None:
    campaign = Campaign(make_server(), SEED, None, None)

    campaign.run(500)
    campaign.settle()


def test_on_s3_too_nothing_disagrees_after_the_same_faults(
    on_s3: tuple[Server, Launcher], database: Database
) -> None:
    server, launcher = on_s3
    campaign = Campaign(server, SEED, database, launcher)

    campaign.run(300)
    campaign.settle()

    assert {outcome for _, outcome in campaign.outcomes} == {"done", "refused", "nothing"}
