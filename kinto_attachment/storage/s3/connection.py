"""How S3 is reached (endpoint, credentials, time-outs), and what its answers mean."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    ReadTimeoutError,
)
from pyramid.exceptions import ConfigurationError
from pyramid.settings import asbool

from kinto_attachment.storage.errors import StoreFull, StoreSilent, StoreUnavailable
from kinto_attachment.storage.network import Unanswered

logger = logging.getLogger(__name__)

TIMEOUT = 10.0
"""Seconds: a request and one retry fit into the 30 that clients and proxies usually wait."""

RETRIES = 1

CONNECTIONS = 200
"""Connections kept open: beyond the threads of one process, and the parts that each of them may
have under way, so that none is thrown away."""

MISSING = ("NoSuchKey", "NotFound", "404")
_TAKEN = ("PreconditionFailed", "412")
_FULL = ("QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded")

_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "access_key": str,
    "secret_key": str,
    "region": str,
    "endpoint_url": str,
    "use_path_style": asbool,
    "timeout": float,
    "num_retries": int,
}


@dataclass(frozen=True)
class Connection:
    """What boto3's client is made from.

    :param access_key: with ``secret_key``; None leaves both to boto3's own chain:
        environment, profile, the machine's role.
    :param endpoint_url: of a store that is not Amazon's.
    :param region: of the bucket; None leaves it to boto3's chain. URLs are signed for the
        region's own host: the global one redirects, which a signature does not survive.
    :param use_path_style: whether the bucket stands in the path, not in the host name; None
        means in the path where ``endpoint_url`` is set.
    :param timeout: seconds that the store may take to accept a connection, or to go on
        answering; each of ``num_retries`` further attempts has as many.
    """

    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    region: str | None = None
    endpoint_url: str | None = field(default=None, repr=False)
    use_path_style: bool | None = None
    timeout: float = TIMEOUT
    num_retries: int = RETRIES

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], prefix: str) -> "Connection":
        """From settings as pyramid_storage names them, and ``endpoint_url``.

        :raises pyramid.exceptions.ConfigurationError: for one half of the credentials.
        """
        address = _values(settings, prefix, {"host": str, "port": str, "is_secure": asbool})
        given = _values(settings, prefix, _CONVERTERS)
        if "host" in address:
            scheme = "https" if address.get("is_secure", True) else "http"
            port = f":{address['port']}" if "port" in address else ""
            given.setdefault("endpoint_url", f"{scheme}://{address['host']}{port}")
        if ("access_key" in given) != ("secret_key" in given):
            raise ConfigurationError(
                "kinto.attachment.aws.access_key and kinto.attachment.aws.secret_key belong"
                " together: write both, or none of them for boto3's own chain."
            )
        found = cls(**given)
        if not (found.endpoint_url or found._has_region()):
            logger.warning(
                "kinto.attachment.aws.region is not set: write the region of the bucket there, or"
                " in AWS_DEFAULT_REGION; without it, downloads from a bucket outside of us-east-1"
                " may fail."
            )
        return found

    def client(self) -> Any:
        """A client of its own session: boto3's default one is not safe among threads."""
        config = self._config()
        return self._session().client("s3", endpoint_url=self.endpoint_url, config=config)

    def _has_region(self) -> bool:
        try:
            return bool(self._session().region_name)
        except BotoCoreError:  # A profile that is missing, for example: its first use will tell.
            return True

    def _session(self) -> Any:
        return boto3.session.Session(
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
        )

    def _config(self) -> Config:
        # By its own choice ("auto") boto3 signs URLs of Amazon's for the global host.
        automatic = "auto" if self.endpoint_url else "virtual"
        styles = {None: automatic, True: "path", False: "virtual"}
        return Config(
            # With an endpoint of one's own, boto3 signs URLs by the outdated version 2.
            signature_version="s3v4",
            s3={
                "addressing_style": styles[self.use_path_style],
                "us_east_1_regional_endpoint": "regional",
            },
            connect_timeout=self.timeout,
            read_timeout=self.timeout,
            retries={"total_max_attempts": self.num_retries + 1, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            # Since 1.36 boto3 adds checksums that stores other than Amazon's may not know.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )


def _values(
    settings: Mapping[str, Any], prefix: str, names: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """Those that are set. An empty one counts as absent: an ini can't take a line away."""
    given = {name: settings.get(prefix + name) for name in names}
    return {n: names[n](value) for n, value in given.items() if value not in (None, "")}


@contextlib.contextmanager
def store_errors() -> Iterator[None]:
    """One vocabulary of errors for all stores, and no word of the store's own messages: they
    may repeat what was sent, credentials included."""
    try:
        yield
    except ClientError as error:
        raise _translated(error) from None
    except (ConnectTimeoutError, ReadTimeoutError) as error:
        raise StoreSilent(f"S3 did not answer: {type(error).__name__}") from None
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL.
        raise StoreUnavailable(f"S3 can't be used: {type(error).__name__}") from None


def code_of(error: ClientError) -> str:
    """S3's word for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The answer's HTTP status."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _translated(error: ClientError) -> Exception:
    code, status = code_of(error), status_of(error)
    said = f"S3 answered {status} {code} to {error.operation_name}"
    if code in MISSING:
        return FileNotFoundError(said)
    if code in _TAKEN:
        return FileExistsError(said)
    if code in _FULL or status == 507:
        return StoreFull(said)
    if code == "NoSuchUpload":  # Completed before, by a request whose answer was lost.
        return Unanswered(said)
    return StoreUnavailable(said)
