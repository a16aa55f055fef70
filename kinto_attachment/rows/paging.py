"""Reading much, page by page, and changing it step by step, beside a working server."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import transaction
from kinto.core.storage.exceptions import BackendError

from kinto_attachment.rows.conflicts import passes

ATTEMPTS = 20
"""How often a step is tried that meets others' writes, which last milliseconds."""

Page = TypeVar("Page")
Result = TypeVar("Result")


def page_by_page(pages: Iterator[Page], look: Callable[[Page], Result]) -> Iterator[Result]:
    """What ``look`` makes of each page. Reading a page, and looking at it, are one transaction,
    which is over before anything else is done."""
    while True:
        with transaction.manager:
            page = next(pages, None)
            if page is None:
                return
            result = look(page)
        yield result


def step(work: Callable[[], Result]) -> Result:
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
