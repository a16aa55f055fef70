"""Short transactions within a request that otherwise holds none.

A request that waits for a body, or for the store, holds no database connection meanwhile, and no
locks: it gives back the one that its rights were asked with, and takes one for each step.
"""

from collections.abc import Callable
from typing import TypeVar

import transaction

from kinto_attachment.rows.paging import step

Result = TypeVar("Result")


def give_back_connection() -> None:
    """End the transaction that checked the permission.

    Otherwise each slow upload holds a database connection, and locks, for as long as its body
    takes, or the store: a server may have the body in memory already, but not the store.
    Kinto's after-commit hook, set when the request came in, moves to the new transaction.
    """
    apart(None)


def apart(work: Callable[[], Result] | None) -> Result | None:
    """Do ``work`` in a transaction of its own, which is over when this returns.

    :raises kinto.core.storage.exceptions.BackendError: as the database failed.
    """
    hooks = list(transaction.get().getAfterCommitHooks())
    transaction.abort()
    try:
        return step(work) if work is not None else None
    finally:
        renewed = transaction.begin()
        for hook, args, kwargs in hooks:
            renewed.addAfterCommitHook(hook, args, kwargs)
