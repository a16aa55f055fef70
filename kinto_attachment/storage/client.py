"""The client of the library that reaches a store behind a network."""

import threading
from collections.abc import Callable
from typing import Any


class SharedClient:
    """The client of a store's library: made at its first use, and one for all threads.

    :param make: makes it; what it raises is raised by whoever asks first.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Any = None

    def get(self) -> Any:
        """The client, as boto3 or Google has it."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        """Close it, if there is one; the next use makes another."""
        with self._lock:
            if self._made is not None:
                self._made.close()
            self._made = None
