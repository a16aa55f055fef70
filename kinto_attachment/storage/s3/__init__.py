"""Files in S3, or in any store that speaks its protocol. Needs boto3."""

from kinto_attachment.storage.s3.store import S3FileStorage

__all__ = ["S3FileStorage"]
