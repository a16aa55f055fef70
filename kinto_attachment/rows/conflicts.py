"""Two that wrote to one collection at once: what passes, and what does not."""

from kinto.core.storage.exceptions import BackendError, IntegrityError

RETRYABLE = ("40P01", "40001")
"""PostgreSQL's codes of a deadlock and of a serialization failure."""


def passes(error: BaseException) -> bool:
    """Whether it is one of Kinto's conflicts, which pass: two have written to one collection at
    the same moment, or have waited for each other."""
    cause = getattr(getattr(error, "original", None), "orig", None)
    return isinstance(error, IntegrityError) or (
        isinstance(error, BackendError) and getattr(cause, "pgcode", None) in RETRYABLE
    )
