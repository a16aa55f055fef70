"""Every metric, once: what servers count and tell through Kinto's metrics.

The reference page is made from this table, and a test compares it with what a server says.
"""

from typing import NamedTuple

COUNTER, HISTOGRAM, GAUGE = "counter", "histogram", "gauge"


class Metric(NamedTuple):
    """One line of the table; ``meaning`` is for readers, with one backquote around what is typed.

    :param key: as Kinto's metrics have it, with the unit at its end.
    """

    key: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()

    def prometheus(self, prefix: str = "kinto_") -> str:
        """Its name there."""
        return f"{prefix}{self.key}{'_total' if self.kind == COUNTER else ''}"


STORE = ("store", "operation")

METRICS = (
    Metric("attachment_uploads", COUNTER, "Files that were received and stored.", ("method",)),
    Metric("attachment_received_bytes", COUNTER, "What these files weigh together."),
    Metric("attachment_upload_seconds", HISTOGRAM, "How long a file took to come and be stored."),
    Metric(
        "attachment_resumable_uploads",
        COUNTER,
        "Uploads in several requests that were `begun`, `finished`, `refused` (for good) or"
        " `stopped` (by the client).",
        ("event",),
    ),
    Metric(
        "attachment_settle_seconds",
        HISTOGRAM,
        "How long it took to bring links in line with records.",
    ),
    Metric("attachment_downloads", COUNTER, "Downloads that were answered.", ("method",)),
    Metric("attachment_sent_bytes", COUNTER, "Bytes of files that the plugin itself has sent."),
    Metric(
        "attachment_refusals", COUNTER, "Requests that were refused, and failures.", ("reason",)
    ),
    Metric(
        "attachment_store_seconds",
        HISTOGRAM,
        "How long the store took. `write` and `read` are those of a whole file, without the time"
        " that clients took.",
        STORE,
    ),
    Metric(
        "attachment_store_errors",
        COUNTER,
        "Operations of the store that failed: `full`, `silent` (no answer in time) or"
        " `unavailable`.",
        (*STORE, "error"),
    ),
    Metric(
        "attachment_stored_files",
        GAUGE,
        "Files that records name or that are kept. Counted at most every ten minutes.",
    ),
    Metric("attachment_stored_bytes", GAUGE, "What these files weigh together."),
    Metric(
        "attachment_unfinished_files",
        GAUGE,
        "Uploads in several requests that are not finished, and may go on.",
    ),
    Metric("attachment_unfinished_bytes", GAUGE, "What has come of them."),
    Metric("attachment_stored_timestamp_seconds", GAUGE, "When they were counted, since 1970."),
    Metric(
        "attachment_gc_timestamp_seconds",
        GAUGE,
        "When `kinto-attachment gc --delete` last came to its end, since 1970.",
    ),
    Metric(
        "attachment_gc_found_objects",
        GAUGE,
        "Files that nothing named, and links that no record backed, which it has found.",
    ),
    Metric("attachment_gc_removed_files", GAUGE, "Files that it has removed."),
    Metric(
        "attachment_gc_expired_objects",
        GAUGE,
        "Uploads in several requests that had expired when it ran, and that it has removed.",
    ),
    Metric(
        "attachment_verify_timestamp_seconds",
        GAUGE,
        "When `kinto-attachment verify` last came to its end, since 1970.",
    ),
    Metric("attachment_verify_files", GAUGE, "Files that it has read."),
    Metric("attachment_verify_read_bytes", GAUGE, "What these files weigh together."),
    Metric("attachment_verify_damaged_files", GAUGE, "Those that are missing or damaged."),
)
