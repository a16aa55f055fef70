"""The contract itself: it lets an honest store pass, and catches each one that is broken."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from kinto_attachment.testing import StoreContract
from tests.stores import sabotage
from tests.stores.memory import MemoryStorage

BROKEN = [
    broken
    for _, broken in inspect.getmembers(sabotage, inspect.isclass)
    if broken.__module__ == sabotage.__name__ and broken is not sabotage.WriterOf
]


def cases() -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Every test of the contract, once for each of its parameters, as a call on a store."""
    contract = StoreContract()
    for name, test in inspect.getmembers(contract, inspect.ismethod):
        if name.startswith("test_"):
            for how in parameters(test):
                yield name, partial(test, **how)


def parameters(test: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", ()):
        names, rows = mark.args
        names = [names] if isinstance(names, str) else names
        rows = [(row,) if len(names) == 1 else row for row in rows]
        found = [{**how, **dict(zip(names, row, strict=True))} for how in found for row in rows]
    return found


def fails(run: Callable[[Any], None], storage: Any) -> bool:
    try:
        run(storage)
    except pytest.skip.Exception:
        return False  # Nothing to look at: this store does not offer it.
    except (Exception, pytest.fail.Exception):
        return True
    return False


def complaints(make: Callable[[], Any]) -> Iterator[str]:
    """The tests that fail on a store."""
    return (name for name, run in cases() if fails(run, make()))


def test_an_honest_store_gives_no_complaint() -> None:
    assert list(complaints(MemoryStorage)) == []


def test_more_than_ten_stores_are_broken() -> None:
    assert len(BROKEN) > 10


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_store_is_caught(broken: type) -> None:
    assert next(complaints(broken), None)


@pytest.mark.parametrize("name", sorted({name for name, _ in cases()}))
def test_every_test_of_the_contract_catches_some_broken_store(name: str) -> None:
    runs = [run for case, run in cases() if case == name]

    assert any(fails(run, broken()) for broken in BROKEN for run in runs)
