"""SHA-256 that goes on in another request, or in another process.

Python's hashlib can't hand out how far it has come. libcrypto, which hashlib computes with, keeps
that in a plain struct (``SHA256_CTX``), so the same functions are called by ctypes; they are as
fast. They are deprecated since OpenSSL 3.0 and may be missing: :func:`can_go_on` tries them with
a known message, once. Where it says no, a file is read once at its end.
"""

import base64
import ctypes
import ctypes.util
import functools
import hashlib
from typing import Any

BLOCK = 64
"""Bytes that SHA-256 takes in at once."""

_CHECK = 8


class _Context(ctypes.Structure):
    """``SHA256_CTX`` of OpenSSL's sha.h, 112 bytes."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("pending", ctypes.c_ubyte * BLOCK),
        ("pending_size", ctypes.c_uint),
        ("digest_size", ctypes.c_uint),
        ("spare", ctypes.c_ubyte * 128),  # For a library whose struct is larger than we know.
    )


class Sha256:
    """The SHA-256 of the first :attr:`size` bytes of something.

    :raises OSError: where libcrypto can't be used; :func:`can_go_on` tells.
    """

    def __init__(self) -> None:
        self._crypto = _libcrypto()
        self._context = _Context()
        self._crypto.SHA256_Init(ctypes.byref(self._context))
        self.size = 0

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._crypto.SHA256_Update(ctypes.byref(self._context), data, len(data))
        self.size += len(data)

    def digest(self) -> bytes:
        """The digest of what was taken in; it may go on afterwards."""
        context = _Context.from_buffer_copy(self._context)
        digest = ctypes.create_string_buffer(32)
        self._crypto.SHA256_Final(digest, ctypes.byref(context))
        return digest.raw

    def save(self) -> str:
        """All that is needed to go on, as ASCII of at most 160 characters."""
        rest = bytes(self._context.pending[: self.size % BLOCK])
        known = b"".join(value.to_bytes(4, "big") for value in self._context.h)
        body = self.size.to_bytes(8, "big") + known + rest
        return base64.b64encode(body + _check(body)).decode("ascii")

    @classmethod
    def restore(cls, saved: str) -> "Sha256 | None":
        """Go on from what :meth:`save` gave; None where this is not it, or where libcrypto can't
        be used.

        Every field that says where in memory to write is computed here, and none is taken over:
        what somebody has forged gives a wrong digest, and nothing worse.
        """
        try:
            whole = base64.b64decode(saved, validate=True)
        except ValueError:
            return None
        body, check = whole[:-_CHECK], whole[-_CHECK:]
        size = int.from_bytes(body[:8], "big")
        if len(body) != 40 + size % BLOCK or check != _check(body) or size >> 61:
            return None
        return cls._at(size, body[8:40], body[40:]) if can_go_on() else None

    @classmethod
    def _at(cls, size: int, known: bytes, rest: bytes) -> "Sha256":
        made = cls()
        made.size = size
        context = made._context
        context.h[:] = [int.from_bytes(known[n : n + 4], "big") for n in range(0, 32, 4)]
        context.bits_high, context.bits_low = divmod(size * 8, 1 << 32)
        context.pending[: len(rest)] = rest
        context.pending_size = len(rest)
        return made


@functools.cache
def can_go_on() -> bool:
    """Whether this Python can: a known message is hashed in two halves, with a break between."""
    message = bytes(range(256)) * 3
    try:
        first = Sha256()
        first.update(message[:333])
        second = Sha256._at(333, *_parts(first.save()))
        second.update(message[333:])
        return second.digest() == hashlib.sha256(message).digest()
    except (OSError, AttributeError):
        return False


def _parts(saved: str) -> tuple[bytes, bytes]:
    body = base64.b64decode(saved)[:-_CHECK]
    return body[8:40], body[40:]


def _check(body: bytes) -> bytes:
    """Notices what was cut or damaged, which a digest at the end would not."""
    return hashlib.sha256(b"kinto-attachment " + body).digest()[:_CHECK]


@functools.cache
def _libcrypto() -> Any:
    """The library with the three functions. Raises OSError or AttributeError."""
    import _hashlib

    try:
        # What hashlib itself is linked with is found through it.
        return _declared(ctypes.CDLL(_hashlib.__file__))
    except (OSError, AttributeError):
        return _declared(ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so"))


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    context = ctypes.POINTER(_Context)
    library.SHA256_Init.argtypes = (context,)
    library.SHA256_Update.argtypes = (context, ctypes.c_char_p, ctypes.c_size_t)
    library.SHA256_Final.argtypes = (ctypes.c_char_p, context)
    return library
