"""The record that a request, a link or a file is about."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """The record that a request is about."""

    bucket_id: str
    collection_id: str
    record_id: str

    @classmethod
    def of_uri(cls, record_uri: str) -> "Target":
        """The reverse of :attr:`uri`."""
        return cls(*record_uri.split("/")[2::2])

    @property
    def place(self) -> tuple[str, str]:
        """Bucket and collection, whose policy is the record's."""
        return self.bucket_id, self.collection_id

    @property
    def collection_uri(self) -> str:
        """Kinto's URI of the collection: the parent of its records."""
        return f"/buckets/{self.bucket_id}/collections/{self.collection_id}"

    @property
    def uri(self) -> str:
        """Kinto's URI of the record: the parent of its links."""
        return f"{self.collection_uri}/records/{self.record_id}"
