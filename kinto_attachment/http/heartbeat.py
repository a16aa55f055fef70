"""Our entries of ``/__heartbeat__``: ``attachments`` writes, reads and deletes one small object,
``attachments_verified`` tells what ``kinto-attachment verify`` found last."""

import logging
import threading

import transaction
from pyramid.request import Request
from pyramid.settings import asbool

from kinto_attachment.attachments.custody import Custody
from kinto_attachment.records.verified import last_result
from kinto_attachment.storage import Store

logger = logging.getLogger(__name__)

SHARE = 0.9
"""Part of Kinto's own time-out that a probe may take: it answers before it is given up."""


class Probe:
    """One look at the store, in a thread of its own."""

    def __init__(self, store: Store, custody: Custody) -> None:
        self._store = store
        self._custody = custody
        self.works = False
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        try:
            with transaction.manager:
                self._custody.check()
            self._store.probe()
            self.works = True
        except Exception as error:
            logger.error("The attachment store does not work: %s", error)


class Heartbeat:
    """Callable for Kinto's ``registry.heartbeats``.

    A store that hangs holds one thread, not one for each heartbeat: who comes while a probe is
    out waits for its result.
    """

    def __init__(self, store: Store, custody: Custody) -> None:
        self._store = store
        self._custody = custody
        self._lock = threading.Lock()
        self._probe: Probe | None = None

    def __call__(self, request: Request) -> bool:
        settings = request.registry.settings
        if asbool(settings.get("readonly")):
            return True
        with self._lock:
            if self._probe is None or not self._probe.thread.is_alive():
                self._probe = Probe(self._store, self._custody)
            probe = self._probe
        probe.thread.join(SHARE * float(settings["heartbeat_timeout_seconds"]))
        return probe.works


def verified(request: Request) -> bool:
    """Whether the last complete verification, of all nodes, found no damage; True before one."""
    last = last_result(request.registry.storage)
    return last is None or not last["damaged"]
