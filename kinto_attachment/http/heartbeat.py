"""Our entries of ``/__heartbeat__``: ``attachments`` writes, reads and deletes one small object,
``attachments_verified`` tells what ``kinto-attachment verify`` found last."""

import logging
import threading

import transaction
from kinto.core.storage.exceptions import BackendError
from pyramid.request import Request
from pyramid.settings import asbool

from kinto_attachment.attachments.custody import Custody
from kinto_attachment.http import gauges
from kinto_attachment.records import last_runs
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

    :param seconds: for which a store is waited for. A directory may hang too, and nothing ends
        that.

    A store that hangs holds one thread, not one for each heartbeat: who comes while a probe is
    out waits for its result.
    """

    def __init__(self, store: Store, custody: Custody, seconds: float) -> None:
        self._store = store
        self._custody = custody
        self._seconds = seconds
        self._lock = threading.Lock()
        self._probe: Probe | None = None

    def __call__(self, request: Request) -> bool:
        settings = request.registry.settings
        if asbool(settings.get("readonly")):
            return True
        try:
            gauges.push(request.registry)
        except BackendError as error:  # Kinto's own entry tells of it.
            logger.warning("The metrics lack what is stored: %s", error)
        with self._lock:
            if self._probe is None or not self._probe.thread.is_alive():
                self._probe = Probe(self._store, self._custody)
            probe = self._probe
        kintos = SHARE * float(settings["heartbeat_timeout_seconds"])
        probe.thread.join(min(kintos, self._seconds))
        return probe.works


def verified(request: Request) -> bool:
    """Whether the last complete verification, of all nodes, found no damage; True before one."""
    last = last_runs.last_run(request.registry.storage, last_runs.VERIFY)
    return last is None or not last["damaged"]
