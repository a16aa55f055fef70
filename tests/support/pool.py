"""Applications that serve one test after another.

Making one takes a third of a second, most of it Kinto's; there are thousands of tests.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from kinto.core.cornice.service import SERVICES

from tests.support.parts import Server

MOST = 24
"""Idle applications that are kept; each has some megabytes."""


class Pool:
    """Hands out an application with the settings that are asked for, and empty."""

    def __init__(self) -> None:
        self._idle: list[tuple[Any, Server, list[Any]]] = []
        self._taken: list[tuple[Any, Server, list[Any]]] = []

    def take(self, settings: Mapping[str, Any]) -> Server:
        """One that no other test has at the moment."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        key = (_named(settings), _named(environment))
        found = next((entry for entry in self._idle if entry[0] == key), None)
        if found:
            self._idle.remove(found)
            SERVICES.extend(found[2])
        else:
            known = len(SERVICES)
            server = Server(dict(settings))
            lasting = {id(service) for service in _lasting()}
            found = (key, server, [s for s in SERVICES[known:] if id(s) not in lasting])
        if not self._taken:
            found[1].reset()  # A second server of a test looks at what the first one made.
        self._taken.append(found)
        return found[1]

    def give_all_back(self) -> None:
        """The test is over: nothing that it made is left."""
        taken, self._taken = self._taken, []
        for _, server, _ in taken:
            server.reset()
            server.release()
        self._idle += taken
        for _, server, _ in self._idle[:-MOST]:
            server.close()
        del self._idle[:-MOST]

    def discard(self, server: Server) -> None:
        """Never hand this one out again: what it is connected to goes with the test."""
        self._taken = [entry for entry in self._taken if entry[1] is not server]
        server.close()
        server.registry.storage.client.session_factory.session_factory.kw["bind"].dispose()

    def close(self) -> None:
        for _, server, _ in self._idle:
            server.close()
        self._idle = []


def forget_services() -> None:
    """Kinto keeps every service of every application in a list, and with it all that the
    application is made of; only those that its modules define are made once, and stay."""
    SERVICES[:] = _lasting()


def _lasting() -> list[Any]:
    modules = [module for name, module in sys.modules.items() if name.startswith("kinto.")]
    defined = {id(value) for module in modules for value in vars(module).values()}
    return [service for service in SERVICES if id(service) in defined]


def _named(given: Mapping[str, Any]) -> frozenset[Any]:
    return frozenset((name, value) for name, value in given.items() if value is not None)
