"""Two at once, one of them held: each pair at one of its moments, in one of its worlds.

Which ones, PAIRS_SEED decides, which CI takes from the number of its run; ``make soak`` runs all.
"""

import os
from collections.abc import Iterator

import pytest

from tests.faults.pairs import Rig
from tests.faults.verbs import COMMANDS, REQUESTS, Pair, Verb, chosen, share_of_pairs

SEED = int(os.environ.get("PAIRS_SEED", "20261126"))
ONE_IN = 2
"""One in so many pairs is run; each seed chooses others."""
SPARSE = 1_000_000
"""Every so many moments: one for each pair."""


@pytest.fixture(scope="module")
def rig(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(postgresql, tmp_path_factory.mktemp("pairs"))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("world", "verb"),
    [(world, verb) for verb in (*REQUESTS, *COMMANDS) for world in verb.worlds],
    ids=lambda given: given.name if isinstance(given, Verb) else given,
)
def test_what_is_alone_keeps_the_laws(rig: Rig, world: str, verb: Verb) -> None:
    alone = rig.alone(world, verb.name)

    assert alone.said == []
    assert alone.moment > 0


@pytest.mark.parametrize("pair", share_of_pairs(SEED, ONE_IN), ids=str)
def test_two_at_once_keep_the_laws(rig: Rig, pair: Pair) -> None:
    if rig.fails_alone(pair):
        pytest.skip("one of them fails alone")
    count = rig.alone(pair.world, pair.first).moment

    results = [rig.run(pair, moment) for moment in chosen(pair, count, SEED, SPARSE)]

    for result in results:
        assert not result.said, f"PAIRS_SEED={SEED}: {result}"


def test_the_second_is_seen_to_wait_for_the_lock_of_the_first(rig: Rig) -> None:
    pair = Pair("ours", "upload r1", "upload r1")
    count = rig.alone(pair.world, pair.first).moment

    results = [rig.run(pair, moment) for moment in range(1, count + 1)]

    assert {result.waited for result in results} == {True, False}
    assert all(result.held_at for result in results)
