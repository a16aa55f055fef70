"""Reading much, page by page, beside a working server."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import transaction

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
