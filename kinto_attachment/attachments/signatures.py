"""Signed URLs: what opens one file of one record, without credentials, for some time.

The signature is an HMAC-SHA256 over the record, the file's id, its hash and the time of expiry.
A replaced file has another id and another hash, so the URL dies with its file.
"""

import hmac
import logging
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from kinto_attachment.rows.links import Link

_PURPOSE = b"kinto-attachment: signed links"
_TOKEN = re.compile(
    r"(?P<file_id>[0-9a-f-]{36})\.(?P<expires>[0-9]{1,12})\.(?P<code>[\w-]{43})", re.ASCII
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Token:
    """What a signed URL carries. ``expires``: seconds since 1970."""

    file_id: str
    expires: int
    code: str

    def __str__(self) -> str:
        return f"{self.file_id}.{self.expires}.{self.code}"

    @classmethod
    def read(cls, text: str) -> "Token | None":
        """The reverse of ``str``; None for anything else."""
        found = _TOKEN.fullmatch(text)
        return cls(found["file_id"], int(found["expires"]), found["code"]) if found else None


@dataclass(frozen=True)
class Signer:
    """Makes and checks tokens.

    :param secret: of the operator's; the key that signs is derived from it, so that no other
        use of the same secret can be made to sign a link.
    :raises ValueError: for an empty one, with which anybody could sign.
    """

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.secret:
            raise ValueError("a secret is needed to sign links")

    def sign(self, link: Link, expires: int) -> Token:
        """The token that opens the file of ``link`` until ``expires`` (seconds since 1970)."""
        key = hmac.digest(self.secret.encode("utf-8"), _PURPOSE, "sha256")
        said = "\n".join((link.record_uri, link.file_id, link.hash, str(expires)))
        code = urlsafe_b64encode(hmac.digest(key, said.encode("utf-8"), "sha256"))
        return Token(link.file_id, expires, code.decode("ascii").rstrip("="))

    def opens(self, token: Token, link: Link) -> bool:
        """Whether the token was made for this very file; whether it has expired is not looked
        at. Takes the same time for every wrong code."""
        wanted = self.sign(link, token.expires)
        return hmac.compare_digest(wanted.code, token.code) and token.file_id == link.file_id


def signer_of(own_secret: str | None, kintos: Any) -> Signer | None:
    """A signer by the plugin's own secret, or by Kinto's. Without any there is none, and a line in
    the log: Kinto does not need its secret where nobody signs in with Basic Auth."""
    secret = own_secret or str(kintos).strip()
    if secret:
        return Signer(secret)
    logger.warning(
        "Signed links are off: set kinto.attachment.link_secret, or kinto.userid_hmac_secret,"
        " to a long random text."
    )
    return None
