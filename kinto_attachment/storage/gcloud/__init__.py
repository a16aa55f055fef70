"""Files in Google Cloud Storage. Needs google-cloud-storage."""

from kinto_attachment.storage.gcloud.store import GoogleCloudStorage

__all__ = ["GoogleCloudStorage"]
