"""How a browser is to show a file, and under which name: ``Content-Disposition``."""

from urllib.parse import quote

INLINE = (
    {f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif", "bmp", "tiff")}
    | {f"audio/{kind}" for kind in ("mpeg", "ogg", "wav", "x-wav", "flac", "aac", "mp4", "webm")}
    | {f"video/{kind}" for kind in ("mp4", "webm", "ogg", "mpeg", "quicktime")}
    | {"text/plain"}
)
"""Types that no browser runs script from; all others go out as a download."""


def plays(mimetype: str) -> bool:
    """Whether a browser plays a file that is opened by itself.

    :param mimetype: a media type, or a whole ``Content-Type``.
    """
    return mimetype.startswith(("audio/", "video/")) and _is_inline(mimetype)


def _is_inline(mimetype: str) -> bool:
    return mimetype.split(";", 1)[0] in INLINE


def disposition(filename: str, mimetype: str) -> str:
    """``Content-Disposition`` (RFC 6266) with the original name in any alphabet.

    :param mimetype: a media type, or a whole ``Content-Type``.
    """
    kind = "inline" if _is_inline(mimetype) else "attachment"
    plain = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in filename
    )
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
