"""File extensions: the groups that the setting ``extensions`` names, and the media type of each.

The table is our own, so that a file has the same type on every machine: Python's ``mimetypes``
knows what the machine's ``/etc/mime.types`` has, and slim containers have none. Where 9.x had a
word of its own, it is that; else IANA's, or what the web uses.
"""

import mimetypes
import re

GENERIC = "application/octet-stream"
"""What says nothing."""

_OFFICE = "application/vnd.openxmlformats-officedocument"
_OASIS = "application/vnd.oasis.opendocument"

TABLE = {
    "documents": {
        "pdf": "application/pdf",
        "rtf": "application/rtf",
        "doc": "application/msword",
        "docx": f"{_OFFICE}.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
        "ppt": "application/vnd.ms-powerpoint",
        "pptx": f"{_OFFICE}.presentationml.presentation",
        "odt": f"{_OASIS}.text",
        "ods": f"{_OASIS}.spreadsheet",
        "odp": f"{_OASIS}.presentation",
        "odg": f"{_OASIS}.graphics",
        "odf": f"{_OASIS}.formula",
        "epub": "application/epub+zip",
        "abw": "application/x-abiword",
        "gnumeric": "application/x-gnumeric",
    },
    "text": {
        "txt": "text/plain",
        "md": "text/markdown",
        "log": "text/plain",
        "vtt": "text/vtt",
        "srt": "text/plain",
    },
    "images": {
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "jpe": "image/jpeg",
        "png": "image/png",
        "apng": "image/apng",
        "gif": "image/gif",
        "svg": "image/svg+xml",
        "webp": "image/webp",
        "avif": "image/avif",
        "heic": "image/heic",
        "heif": "image/heif",
        "jxl": "image/jxl",
        "tiff": "image/tiff",
        "tif": "image/tiff",
        "bmp": "image/bmp",
        "ico": "image/vnd.microsoft.icon",
    },
    "audio": {
        "mp3": "audio/mpeg",
        "m4a": "audio/mp4",
        "aac": "audio/aac",
        "ogg": "audio/ogg",
        "oga": "audio/ogg",
        "opus": "audio/ogg",  # RFC 7845, section 9: audio/opus is not for files.
        "flac": "audio/flac",
        "wav": "audio/x-wav",
        "weba": "audio/webm",
    },
    "video": {
        "mp4": "video/mp4",
        "m4v": "video/mp4",
        "webm": "video/webm",
        "ogv": "video/ogg",
        "mov": "video/quicktime",
        "mkv": "video/x-matroska",
        "mpeg": "video/mpeg",
        "mpg": "video/mpeg",
        "3gp": "video/3gpp",
        "avi": "video/x-msvideo",
        "divx": "video/x-msvideo",
        "flv": "video/x-flv",
        "wmv": "video/x-ms-wmv",
        "dvr": "video/x-ms-dvr",
    },
    "data": {
        "csv": "text/csv",
        "tsv": "text/tab-separated-values",
        "json": "application/json",
        "geojson": "application/geojson",
        "jsonl": "application/jsonl",
        "ndjson": "application/x-ndjson",
        "xml": "application/xml",
        "gpx": "application/gpx+xml",
        "kml": "application/vnd.google-earth.kml+xml",
        "plist": "application/x-plist",
        "yaml": "application/yaml",
        "yml": "application/yaml",
        "toml": "application/toml",
        "ini": "text/plain",
    },
    "scripts": {
        "js": "text/javascript",
        "mjs": "text/javascript",
        "php": "application/x-httpd-php",
        "pl": "text/x-perl",
        "py": "text/x-python",
        "rb": "application/x-ruby",
        "sh": "application/x-sh",
    },
    "archives": {
        "zip": "application/zip",
        "gz": "application/gzip",
        "tgz": "application/gzip",
        "bz2": "application/x-bzip2",
        "xz": "application/x-xz",
        "txz": "application/x-xz",
        "zst": "application/zstd",
        "tar": "application/x-tar",
        "7z": "application/x-7z-compressed",
        "rar": "application/vnd.rar",
    },
    "executables": {
        "exe": "application/vnd.microsoft.portable-executable",
        "dll": "application/vnd.microsoft.portable-executable",
        "so": "application/x-sharedlib",
        "apk": "application/vnd.android.package-archive",
        "msi": "application/x-msi",
        "deb": "application/vnd.debian.binary-package",
        "rpm": "application/x-rpm",
        "dmg": "application/x-apple-diskimage",
    },
}
"""Extension and type, by group."""

UNGROUPED = {
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "css": "text/css",
    "wasm": "application/wasm",
    "pem": "application/x-pem-file",
}
"""In no group: they are allowed by their own names, or by ``any``."""

DEFAULT = ("documents", "text", "images", "data")
"""What the group ``default`` consists of."""

GROUPS = {
    **{group: tuple(rows) for group, rows in TABLE.items()},
    "default": tuple(extension for group in DEFAULT for extension in TABLE[group]),
    "any": (),
}
"""The extensions of each group; ``any`` stands for all that there are."""

TYPES = {f".{e}": kind for rows in (*TABLE.values(), UNGROUPED) for e, kind in rows.items()}
"""Media types by extension, with its dot."""

_EXTENSIONS = {kind: suffix for suffix, kind in reversed(TYPES.items())}


def of_extension(suffix: str) -> str | None:
    """The type of files with this extension (``.jpg``), by our table, then by the machine's; None
    where neither says anything."""
    found = TYPES.get(suffix)
    if found is None:
        found, coding = mimetypes.guess_type(f"x{suffix}")
        found = None if coding else found  # ``.svgz``: the bytes are not those of a picture.
    return None if found == GENERIC else found


def extension_of(mimetype: str) -> str:
    """The usual extension of a type (``.jpg``), or nothing."""
    return _EXTENSIONS.get(mimetype) or mimetypes.guess_extension(mimetype) or ""


def active_kind(mimetype: str) -> str | None:
    """What a browser would run of a file that has this type: ``html``, ``svg``, ``xml`` or
    ``script``; None where it only shows it."""
    subtype = mimetype.partition("/")[2]
    if mimetype in ("text/html", "application/xhtml+xml"):
        return "html"
    if mimetype == "image/svg+xml":
        return "svg"
    if subtype == "xsl" or subtype.startswith("xml") or subtype.endswith("+xml"):
        return "xml"
    code = _JAVASCRIPT.search(subtype) or mimetype in _SCRIPTS
    return "script" if code else None


_JAVASCRIPT = re.compile("(java|ecma|j|live|vb)script")
_SCRIPTS = {*TABLE["scripts"].values(), "application/x-php", "text/x-php", "text/x-sh"}
