"""Our entries of ``/__heartbeat__``: ``attachments`` writes, reads and deletes one small object,
``attachments_verified`` tells what ``kinto-attachment verify`` found last."""

import logging
import threading

from pyramid.request import Request
from pyramid.settings import asbool

from kinto_attachment.storage import Storage, StorageError
from kinto_attachment.verification import last_result

logger = logging.getLogger(__name__)

SHARE = 0.9
"""Part of Kinto's own time-out that a probe may take: it answers before it is given up."""


class Heartbeat:
    """Callable for Kinto's ``registry.heartbeats``.

    A store that hangs holds one thread, not one for each heartbeat: while a probe is still out,
    the next answers False at once.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._running = threading.Lock()

    def __call__(self, request: Request) -> bool:
        settings = request.registry.settings
        if asbool(settings.get("readonly")):
            return True
        if not self._running.acquire(blocking=False):
            return False
        done: list[bool] = []
        probe = threading.Thread(target=self._probe, args=(done,), daemon=True)
        probe.start()
        probe.join(SHARE * float(settings["heartbeat_timeout_seconds"]))
        return done == [True]

    def _probe(self, done: list[bool]) -> None:
        try:
            self._storage.probe()
            done.append(True)
        except StorageError as error:
            logger.error("The attachment store does not work: %s", error)
        finally:
            self._running.release()


def verified(request: Request) -> bool:
    """Whether the last complete verification, of all nodes, found no damage; True before one."""
    last = last_result(request.registry.storage)
    return last is None or not last["damaged"]
