"""Removes attachments, or whole records, each until it is gone."""

from collections.abc import Callable, Iterator
from functools import partial

from kinto_attachment.client.answers import Record
from kinto_attachment.client.outcomes import Failure, Outcome
from kinto_attachment.client.remote import Remote
from kinto_attachment.client.threads import results

DELETED, GONE = "deleted", "gone"


def remove(
    remote: Remote, ids: list[str], whole: bool, jobs: int, idle: Callable[[], object]
) -> Iterator[Outcome]:
    """Remove what is there; gives what became of each id.

    :param whole: the records, too.
    :raises kinto_attachment.client.outcomes.Unusable: where nothing more can be removed.
    """
    # 8.x and 9.x would make a record, where an attachment is removed from none.
    there = {record["id"]: record for record in remote.records(ids)}
    tasks = (partial(_remove, remote, record_id, there.get(record_id), whole) for record_id in ids)
    return results(tasks, jobs, idle)


def _remove(remote: Remote, record_id: str, record: Record | None, whole: bool) -> Outcome:
    what = {"id": record_id}
    if record is None or not (whole or "attachment" in record):
        return Outcome(what, GONE)
    try:
        was_there = remote.remove(record_id, whole)
    except Failure as error:
        return remote.failed(what, error)
    return Outcome(what, DELETED if was_there else GONE)
