"""Reading much, page by page, and changing it step by step, beside a working server."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import transaction
from kinto.core.storage.exceptions import BackendError

from kinto_attachment.rows.conflicts import passes

ATTEMPTS = 20
"""How often a step is tried that meets others' writes, which last milliseconds."""

Page = TypeVar("Page")
Seen = TypeVar("Seen")


def page_by_page(pages: Iterator[Page], look: Callable[[Page], Seen]) -> Iterator[Seen]:
    """What ``look`` makes of each page. Reading a page, and looking at it, are one transaction,
    which is over before anything else is done."""
    while True:
        with transaction.manager:
            page = next(pages, None)
            if page is None:
                return
            seen = look(page)
        yield seen


def step(work: Callable[[], Seen]) -> Seen:
    """Do ``work`` in a transaction of its own, and once more where it has met a conflict.

    :raises kinto.core.storage.exceptions.BackendError: as the database failed.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            with transaction.manager:
                return work()
        except BackendError as error:
            if not passes(error):
                raise
    with transaction.manager:
        return work()
