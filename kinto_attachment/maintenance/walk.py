"""All files that links name, looked at by several threads."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from kinto_attachment.rows import Rows
from kinto_attachment.rows.links import Link
from kinto_attachment.rows.paging import page_by_page

Result = TypeVar("Result")


def walk(
    rows: Rows,
    look: Callable[[list[Link]], Result],
    settle: Callable[[Iterator[tuple[list[Link], Result]]], object],
    *,
    jobs: int,
    stop: Callable[[], object],
    after: str = "",
) -> None:
    """Look at each file once, in the order of file ids, whatever thread is done first.

    :param look: called in a thread, without the database, with the links to one file: one for
        each collection that holds it.
    :param settle: called with these links, and what ``look`` said of them, page by page.
    :param jobs: files that are looked at at once.
    :param stop: called before whatever went wrong is raised, to let the threads end soon.
    :param after: id of the last file that needs no look.
    """
    with ThreadPoolExecutor(jobs) as threads:
        try:
            for page in page_by_page(rows.links_by_file(after), lambda page: page):
                settle(zip(page, threads.map(look, page), strict=True))
        except BaseException:
            stop()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
