"""How long the operations of a store take, and which fail: around whatever store it is."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kinto_attachment.storage.errors import StoreError, StoreFull, StoreSilent
from kinto_attachment.storage.interface import Foresighted, Reader, Writer
from kinto_attachment.storage.time_limit import is_within

OPERATIONS = (
    "delete",
    "delete_many",
    "mark",
    "presigned_url",
    "probe",
    "remove_unfinished",
    "set_mark",
    "stat",
)
"""Methods that are measured from their call to their return; ``open`` and ``open_writer`` give
streams, which are measured as ``read`` and ``write`` from their first byte to their end."""

KINDS = {StoreFull: "full", StoreSilent: "silent"}
"""What a failure is called; all others are ``unavailable``."""

Report = Callable[[str, float, str | None], object]
"""Called with an operation, its seconds, and what kind of failure it was, if it was one."""

_now = threading.local()


def name_of(store: object) -> str:
    """``local``, ``s3``, ``gcloud``, ``thirdparty``; or the name of a class that is not ours."""
    package, _, rest = type(store).__module__.partition(".storage.")
    return rest.split(".")[0] if package == "kinto_attachment" else type(store).__name__.lower()


def measure(store: Any, report: Report) -> None:
    """Have ``report`` called for each operation of a store from now on.

    The store gets a subclass of its class, which is called the same. An error that it raises gets
    the key that it is about, for whoever writes the log.
    """
    kind = type(store)
    methods: dict[str, Any] = {
        name: _measured(kind, name, report) for name in OPERATIONS if hasattr(kind, name)
    }
    methods["open_writer"] = _opening(kind, "open_writer", "write", MeasuredWriter, report)
    if hasattr(kind, "open"):
        methods["open"] = _opening(kind, "open", "read", MeasuredReader, report)
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    store.__class__ = type(kind.__name__, (kind,), {**methods, **named})


def _measured(kind: Any, name: str, report: Report) -> Callable[..., Any]:
    def method(store: Any, *args: Any, **named: Any) -> Any:
        call = getattr(kind, name)
        if getattr(_now, "measured", False) or is_within():
            return call(store, *args, **named)  # A part of another operation.
        key = args[0] if args and isinstance(args[0], str) else None
        _now.measured = True
        watch = Watch(name, key, report)
        try:
            with watch.running():
                return call(store, *args, **named)
        finally:
            _now.measured = False
            watch.tell()

    return method


def _opening(
    kind: Any, name: str, operation: str, stream: Callable[..., Any], report: Report
) -> Callable[..., Any]:
    def method(store: Any, key: str, *args: Any, **named: Any) -> Any:
        watch = Watch(operation, key, report)
        try:
            with watch.running():
                return stream(getattr(kind, name)(store, key, *args, **named), watch)
        except BaseException:
            watch.tell()
            raise

    return method


class Watch:
    """Adds up the time of one operation, over several calls."""

    def __init__(self, operation: str, key: str | None, report: Report) -> None:
        self._operation = operation
        self._key = key
        self._report = report
        self._seconds = 0.0
        self._failure: str | None = None
        self._told = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What is done inside counts."""
        began = time.perf_counter()
        try:
            yield
        except StoreError as error:
            self._failure = KINDS.get(type(error), "unavailable")
            error.key = error.key or self._key
            raise
        finally:
            self._seconds += time.perf_counter() - began

    def tell(self) -> None:
        """Report it, once."""
        if not self._told:
            self._told = True
            self._report(self._operation, self._seconds, self._failure)


class MeasuredWriter:
    """A writer, and the time that the store itself takes for the file."""

    def __init__(self, writer: Writer, watch: Watch) -> None:
        self._writer = writer
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        """Whatever else it has."""
        return getattr(self._writer, name)

    @property
    def largest(self) -> int:
        """0 for a writer that does not know."""
        return self._writer.largest if isinstance(self._writer, Foresighted) else 0

    def announce(self, size: int) -> None:
        """Pass it on to a writer that makes use of it."""
        if isinstance(self._writer, Foresighted):
            self._writer.announce(size)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        with self._watch.running():
            self._writer.write(data)

    def close(self) -> str | None:
        """Publish the file."""
        try:
            with self._watch.running():
                return self._writer.close()
        finally:
            self._watch.tell()

    def abort(self) -> None:
        """Drop everything."""
        with self._watch.running():
            self._writer.abort()
        self._watch.tell()


class MeasuredReader:
    """A reader, and the time that the store itself takes for the bytes."""

    def __init__(self, reader: Reader, watch: Watch) -> None:
        self._reader = reader
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        """Whatever else it has."""
        return getattr(self._reader, name)

    def __iter__(self) -> "MeasuredReader":
        return self

    def __next__(self) -> bytes:
        with self._watch.running():
            return next(self._reader)

    def close(self) -> None:
        """Free the handle."""
        self._reader.close()
        self._watch.tell()
