"""Removing many files where the store takes one at a time."""

from collections.abc import Callable, Iterable

from kinto_attachment.storage.errors import StoreError, UnsafeKey


def remove_each(delete: Callable[[str], object], keys: Iterable[str]) -> None:
    """Call ``delete`` with every key. Raises :class:`StoreError` once all were tried."""
    failed: list[str] = []
    for key in keys:
        try:
            delete(key)
        except (StoreError, UnsafeKey) as error:
            failed.append(f"{key} ({error})")
    tell_failed(failed)


def tell_failed(failed: list[str]) -> None:
    """Raise :class:`StoreError` with the first of these, if there are any."""
    if failed:
        raise StoreError(f"{len(failed)} files could not be removed, first {failed[0]}")
