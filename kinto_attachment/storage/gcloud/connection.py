"""How Google Cloud Storage is reached, and what its answers mean."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.exceptions import RequestException, Timeout

from kinto_attachment.storage.errors import StoreFull, StoreSilent, StoreUnavailable

TIMEOUT = 10.0
"""Seconds: for each answer, and for all attempts to get one."""


@dataclass(frozen=True)
class Connection:
    """What Google's client is made from.

    :param credentials: path of a service account's JSON file; None leaves it to Google's own
        chain, "application default credentials".
    :param timeout: seconds that one request may take; repeating it ends after as many.
    """

    credentials: str | None = field(default=None, repr=False)
    project: str | None = None
    timeout: float = TIMEOUT

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], prefix: str) -> "Connection":
        """From settings as pyramid_storage names them, and ``timeout``."""
        return cls(
            settings.get(f"{prefix}credentials") or None,
            settings.get(f"{prefix}project") or None,
            float(settings.get(f"{prefix}timeout") or TIMEOUT),
        )

    def client(self) -> Any:
        """Google's client. Raises :class:`~kinto_attachment.storage.StoreUnavailable` where
        the credentials can't be read or found."""
        try:
            if self.credentials:
                return Client.from_service_account_json(self.credentials)
            return Client(project=self.project)  # None: files belong to no project.
        except (OSError, ValueError, KeyError, GoogleAuthError) as error:
            raise StoreUnavailable(
                f"Google's credentials can't be used: {type(error).__name__}"
            ) from None

    def call_options(self) -> dict[str, Any]:
        """Time-out and retries, for each call of Google's library."""
        return {"timeout": self.timeout, "retry": DEFAULT_RETRY.with_timeout(self.timeout)}


@contextlib.contextmanager
def store_errors(about_a_file: bool = False) -> Iterator[None]:
    """One vocabulary of errors for all stores, and no word of the store's own messages: they
    may repeat what was sent, credentials included.

    :param about_a_file: whether it is a file that may be missing; else it is the bucket.
    """
    try:
        yield
    except GoogleAPICallError as error:
        raise _answered(int(error.code or 0), about_a_file) from None
    except InvalidResponse as error:
        raise _answered(int(error.response.status_code), about_a_file) from None
    except (RetryError, Timeout) as error:
        raise StoreSilent(f"Google did not answer: {type(error).__name__}") from None
    except (RequestException, GoogleAuthError, DataCorruption) as error:
        raise StoreUnavailable(
            f"Google Cloud Storage can't be used: {type(error).__name__}"
        ) from None


def _answered(status: int, about_a_file: bool) -> Exception:
    said = f"Google Cloud Storage answered {status}"
    if status == 404 and about_a_file:
        return FileNotFoundError(said)
    if status == 412:
        return FileExistsError(said)
    return (StoreFull if status == 507 else StoreUnavailable)(said)
