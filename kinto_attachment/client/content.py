"""What a file holds: what tells whether a record has it already."""

from dataclasses import dataclass

from kinto_attachment.client.answers import Record


@dataclass(frozen=True)
class Content:
    """What a file held when it was read, or is to hold.

    :param size: in bytes.
    :param digest: its SHA-256.
    """

    size: int
    digest: bytes

    @property
    def hash(self) -> str:
        return self.digest.hex()

    def is_that_of(self, record: Record | None) -> bool:
        """Whether the record has it already."""
        attachment = (record or {}).get("attachment", {})
        return (attachment.get("hash"), attachment.get("size")) == (self.hash, self.size)
