"""Metrics that are states, not events: what is stored, and how the last runs of commands ended.

Kinto's metrics know no such thing. Prometheus asks a collector of ours at each scrape; other
services get the values with each heartbeat. All values are rows that are there already: nothing
is counted while somebody waits, but unfinished uploads, which are few.
"""

import logging
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import transaction
from kinto.core.metrics import NoOpMetricsService
from kinto.core.storage.exceptions import BackendError
from kinto.plugins import prometheus
from pyramid.config import Configurator
from pyramid.events import ApplicationCreated
from pyramid.settings import asbool

from kinto_attachment.metrics import METRICS
from kinto_attachment.records import last_runs
from kinto_attachment.rows import rows_of, upload_rows_of

if TYPE_CHECKING:
    from kinto.core.types import Registry

logger = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds, at least, between two counts of what is stored, over all nodes."""

MEANINGS = {metric.key: metric.meaning for metric in METRICS}


class Gauges:
    """The values, as Kinto's storage has them."""

    def __init__(self, registry: "Registry") -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._counting: threading.Thread | None = None

    def values(self) -> Iterator[tuple[str, float]]:
        """Key of a metric, and its value; those without one are left out. Callers see to the
        transaction."""
        storage = self._registry.storage
        stored = last_runs.last_run(storage, last_runs.STORED)
        if stored is None or time.time() > stored["finished"] / 1000 + EVERY:
            self._count_soon()
        if stored:
            yield "attachment_stored_files", stored["files"]
            yield "attachment_stored_bytes", stored["bytes"]
            yield "attachment_stored_timestamp_seconds", stored["finished"] / 1000
        unfinished = upload_rows_of(storage).unfinished()
        yield "attachment_unfinished_files", unfinished.uploads
        yield "attachment_unfinished_bytes", unfinished.received
        collected = last_runs.last_run(storage, last_runs.GC)
        if collected:
            yield "attachment_gc_timestamp_seconds", collected["finished"] / 1000
            found = collected["orphans"] + collected["dead_links"]
            yield "attachment_gc_found_objects", found
            yield "attachment_gc_removed_files", collected["removed_files"]
            yield "attachment_gc_expired_objects", collected.get("expired_uploads", 0)
        verified = last_runs.last_run(storage, last_runs.VERIFY)
        if verified:
            yield "attachment_verify_timestamp_seconds", verified["finished"] / 1000
            yield "attachment_verify_files", verified["files"]
            yield "attachment_verify_read_bytes", verified["bytes"]
            yield "attachment_verify_damaged_files", verified["damaged"]

    def _count_soon(self) -> None:
        """In a thread: links are many, and a scrape has little time."""
        if asbool(self._registry.settings.get("readonly")):
            return
        with self._lock:
            if self._counting is None or not self._counting.is_alive():
                self._counting = threading.Thread(target=self._count, daemon=True)
                self._counting.start()

    def _count(self) -> None:
        try:
            with transaction.manager:
                files, size = rows_of(self._registry.storage).usage()
            counts = {"files": files, "bytes": size}
            last_runs.publish(self._registry, last_runs.STORED, counts)
        except Exception as error:
            logger.warning("What is stored could not be counted: %s", error)


class Collector:
    """What Prometheus's library asks at each scrape.

    :param prefix: of all names, ``kinto_``.
    :param disabled: keys that are not wanted.
    """

    def __init__(self, gauges: Gauges, prefix: str, disabled: list[str]) -> None:
        self._gauges = gauges
        self._prefix = prefix
        self._disabled = disabled

    def describe(self) -> list[Any]:
        """Nothing beforehand: a registration should not ask the database."""
        return []

    def collect(self) -> Iterator[Any]:
        """The gauges; none where the database is away, which does not take the rest away."""
        from prometheus_client.core import GaugeMetricFamily

        try:
            values = list(self._gauges.values())
        except BackendError as error:
            logger.warning("The metrics lack what is stored: %s", error)
            return
        for key, value in values:
            if key not in self._disabled:
                yield GaugeMetricFamily(f"{self._prefix}{key}", MEANINGS[key], value=value)


_registered: list[Collector] = []
"""The one that Prometheus's library asks; it knows one registry for all applications."""


def includeme(config: Configurator) -> None:
    """Begin once all plugins are there, Prometheus's perhaps behind this one."""
    config.registry.attachment_gauges = Gauges(config.registry)
    config.add_subscriber(_register, ApplicationCreated)


def _register(event: ApplicationCreated) -> None:
    registry = event.app.registry
    service = registry.metrics
    if not isinstance(service, prometheus.PrometheusService):
        return
    collectors = prometheus.get_registry()
    for former in _registered:
        collectors.unregister(former)
    made = Collector(registry.attachment_gauges, service.prefix, service.disabled_metrics)
    collectors.register(made)
    _registered[:] = [made]


def push(registry: "Registry") -> None:
    """Tell services that do not ask, such as StatsD. Callers see to the transaction."""
    service = registry.metrics
    if isinstance(service, (NoOpMetricsService, prometheus.PrometheusService)):
        return
    for key, value in registry.attachment_gauges.values():
        service.observe(key, value)
