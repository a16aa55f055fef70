"""Our operations in Kinto's ``/__api__`` (OpenAPI 2.0). Nothing is enforced here.

Kinto's generator knows neither forms nor files, nor any media type but JSON; and it repeats a
schema wherever that is used, of which client generators make as many classes. So our part is
written out here, and joined to what it made of the views.

Longer than others: it is a table, read from top to bottom.
"""

from typing import Any

from pyramid.config import Configurator
from pyramid.events import BeforeRender

_ERROR = {"$ref": "#/definitions/AttachmentError"}
_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [*required],
        "properties": {**required, **optional},
    }


DEFINITIONS = {
    "Attachment": _object(
        {
            "filename": _TEXT,
            "hash": {**_TEXT, "description": "SHA-256, 64 hex digits"},
            "location": _TEXT,
            "mimetype": _TEXT,
            "size": {**_NUMBER, "description": "bytes"},
        }
    ),
    "AttachmentLink": _object(
        {
            "data": _object(
                {
                    "url": _TEXT,
                    "expires_in": {**_NUMBER, "description": "seconds"},
                    "expires": {**_NUMBER, "description": "seconds since 1970"},
                }
            )
        }
    ),
    "AttachmentLinkOrder": {
        "type": "object",
        "properties": {
            "data": {
                "type": "object",
                "properties": {"expires_in": {**_NUMBER, "minimum": 1, "description": "seconds"}},
            }
        },
    },
    "AttachmentError": _object(
        {"code": _NUMBER, "errno": _NUMBER, "error": _TEXT},
        message=_TEXT,
        info=_TEXT,
        details={"description": "of a refusal of ours, an object: its `reason`, and the facts"},
    ),
}


def _parameter(name: str, place: str, description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "description": description, "type": "string", **more}


def _headers(**meanings: str) -> dict[str, Any]:
    return {
        name.replace("_", "-"): {**_TEXT, "description": meaning}
        for name, meaning in meanings.items()
    }


_VERSION = r'^(\*|"[0-9]+")$'
_PRECONDITIONS = [
    _parameter("If-Match", "header", "the record's ETag", pattern=_VERSION),
    _parameter("If-None-Match", "header", "* where the record must be new", pattern=_VERSION),
]
_DIGEST = _parameter("Repr-Digest", "header", "sha-256=:<base64>: of the file, to be checked")
_CONDITIONS = [
    _parameter("If-Match", "header", "ETag of the file, or of the record, that is meant"),
    _parameter("If-Unmodified-Since", "header", "an HTTP date"),
    _parameter("If-None-Match", "header", "ETag of the file that is there already"),
    _parameter("If-Modified-Since", "header", "an HTTP date"),
    _parameter("Range", "header", "bytes=<first>-<last>"),
    _parameter("If-Range", "header", "ETag of the file that the range is of, or its HTTP date"),
]

_VERSIONS = _headers(ETag="version of the record", Last_Modified="of the record")
_STORED = {
    "schema": {"$ref": "#/definitions/Attachment"},
    "headers": {**_VERSIONS, **_headers(Location="URL of the record")},
}
_OF_FILE = {
    "headers": _headers(
        ETag="hash of the file",
        Last_Modified="of the file",
        Repr_Digest="sha-256=:<base64>:",
        Content_Disposition="name of the file",
        Content_Range="where a range was asked for",
    )
}
_FILE = {"schema": {"type": "file"}, **_OF_FILE}
_ELSEWHERE = {"headers": _headers(Location="where to go on")}
_REFUSED = {"schema": _ERROR}
_LATER = {"schema": _ERROR, "headers": _headers(Retry_After="seconds")}
_MEANINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "200": ("The file of an existing record was stored.", _STORED),
    "201": ("The record was created with its file.", _STORED),
    "204": ("The attachment is gone.", {"headers": _VERSIONS}),
    "206": ("A range of the file.", _FILE),
    "302": ("The file is at the store's own URL.", _ELSEWHERE),
    "303": ("Stored; see the record. For HTML forms, and with legacy_format.", _ELSEWHERE),
    "304": ("The file has not changed.", _OF_FILE),
    "400": ("The request can't be used; the message says why.", _REFUSED),
    "401": ("Authentication is needed.", _REFUSED),
    "403": ("Not allowed.", _REFUSED),
    "404": ("Bucket, collection, record or attachment is missing.", _REFUSED),
    "405": ("The server is read-only.", _REFUSED),
    "408": ("The body came too slowly: send it again.", _REFUSED),
    "409": ("Changed by somebody else at the same time: retry.", _REFUSED),
    "411": ("Content-Length is missing.", _REFUSED),
    "410": ("The upload has expired, or was refused: begin a new one.", _REFUSED),
    "412": ("The record was modified meanwhile.", _REFUSED),
    "413": ("The file is too large; the message has the limit in bytes.", _REFUSED),
    "415": ("Not multipart/form-data, or with a Content-Encoding.", _REFUSED),
    "416": ("The range lies outside of the file.", {**_OF_FILE, **_REFUSED}),
    "429": ("There are too many unfinished uploads.", _LATER),
    "460": ("The bytes have another checksum: send them again.", _REFUSED),
    "503": ("Records or files can't be reached: retry later.", _LATER),
    "507": ("The store has no space left: retry later.", _LATER),
    "default": ("Another error, in Kinto's format.", _REFUSED),
}


def _responses(statuses: str, **special: Any) -> dict[str, Any]:
    found = {code: _MEANINGS[code] for code in [*statuses.split(), "default"]}
    described = {code: {"description": text, **more} for code, (text, more) in found.items()}
    return {**described, **{code.lstrip("_"): answer for code, answer in special.items()}}


_UPLOAD = "200 201 303 400 401 403 404 405 408 409 411 412 413 429 503 507"
_IN_PARTS = "400 401 403 404 405 408 409 411 412 413 415 429 460 503 507"
_DOWNLOAD = {
    # Files of any type, and errors. Some generators know no "*/*", and take what comes first.
    "produces": ["application/octet-stream", "application/json", "*/*"],
    "parameters": _CONDITIONS,
}
_TUS = _parameter("Tus-Resumable", "header", "1.0.0; without it the IETF's draft is spoken")
_PART: dict[str, Any] = {
    "consumes": ["application/offset+octet-stream", "application/partial-upload"],
    "parameters": [
        _TUS,
        _parameter("Upload-Offset", "header", "where the bytes begin", required=True),
        _parameter("Upload-Complete", "header", "of the draft: ?1 with the last bytes, else ?0"),
        _parameter("Upload-Length", "header", "bytes of the whole file, where it was not told"),
        _parameter("Upload-Checksum", "header", "of tus: sha1 or sha256, and Base64"),
        _parameter("Content-Digest", "header", "of the draft: sha-256=:<base64>:"),
        {
            "name": "bytes",
            "in": "body",
            "required": True,
            "schema": {"type": "string", "format": "binary"},
        },
    ],
    "responses": _responses(
        f"200 201 410 {_IN_PARTS}",
        _204={
            "description": "The bytes are stored.",
            "headers": _headers(Upload_Offset="how far it has come", Upload_Expires="a date"),
        },
    ),
}
_STANDING = {
    "headers": _headers(
        Upload_Offset="how far it has come",
        Upload_Length="bytes of the whole file, where it is known",
        Upload_Limit="of the draft",
        Upload_Expires="of tus",
        Upload_Metadata="of tus, as they were sent",
    )
}
OPERATIONS: dict[str, dict[str, Any]] = {
    "create_upload": {
        "consumes": ["application/offset+octet-stream"],
        "parameters": [
            *_PRECONDITIONS,
            _DIGEST,
            _parameter("Tus-Resumable", "header", "1.0.0", required=True),
            _parameter("Upload-Length", "header", "bytes of the whole file"),
            _parameter("Upload-Defer-Length", "header", "1 where they are told later"),
            _parameter("Upload-Metadata", "header", "filename <base64>,filetype <base64>"),
        ],
        "responses": _responses(
            _IN_PARTS,
            _201={
                "description": "The upload has begun.",
                "headers": _headers(Location="URL of the upload", Upload_Expires="a date"),
            },
        ),
    },
    "head_upload": {
        "parameters": [_TUS],
        "responses": _responses(
            "400 401 403 404 410 412 503",
            _200={"description": "How far it has come.", **_STANDING},
            _204={"description": "The same, by the draft.", **_STANDING},
        ),
    },
    "append_upload": _PART,
    "override_upload": {
        **_PART,
        "parameters": [
            _parameter("X-HTTP-Method-Override", "header", "PATCH or DELETE", required=True),
            *_PART["parameters"],
        ],
    },
    "delete_upload": {
        "parameters": [_TUS],
        "responses": _responses(
            "400 401 403 404 405 409 410 412 503",
            _204={"description": "The upload is given up."},
        ),
    },
    "upload_attachment": {
        "consumes": ["multipart/form-data"],
        "parameters": [
            *_PRECONDITIONS,
            _DIGEST,
            _parameter("attachment", "formData", "the file", type="file", required=True),
            _parameter("data", "formData", "other fields of the record, a JSON object"),
            _parameter("permissions", "formData", "of the record, a JSON object"),
        ],
        "responses": _responses(f"{_UPLOAD} 415"),
    },
    "put_attachment": {
        # Any type will do; some generators leave out an operation with "*/*" here.
        "consumes": ["application/octet-stream"],
        "parameters": [
            *_PRECONDITIONS,
            _DIGEST,
            _parameter("filename", "query", "name of the file, with its extension"),
            {
                "name": "file",
                "in": "body",
                "required": True,
                "schema": {"type": "string", "format": "binary"},
            },
        ],
        "responses": _responses(
            _UPLOAD,
            _415={"description": "A form, or a body with a Content-Encoding.", **_REFUSED},
        ),
    },
    "get_attachment": {
        **_DOWNLOAD,
        "responses": _responses(
            "206 302 304 400 401 403 404 412 416 503", _200={"description": "The file.", **_FILE}
        ),
    },
    "delete_attachment": {
        "parameters": _PRECONDITIONS,
        "responses": _responses("204 400 401 403 404 405 409 412 503"),
    },
    "link_attachment": {
        "consumes": ["application/json"],
        "parameters": [
            {
                "name": "order",
                "in": "body",
                "schema": {"$ref": "#/definitions/AttachmentLinkOrder"},
            }
        ],
        "responses": _responses(
            "400 401 403 404 503",
            _200={
                "description": "The link.",
                "schema": {"$ref": "#/definitions/AttachmentLink"},
            },
        ),
    },
    "get_linked_attachment": {
        **_DOWNLOAD,
        "responses": _responses(
            "206 302 304 400 403 404 412 416 503", _200={"description": "The file.", **_FILE}
        ),
    },
}
"""By name: what Kinto's generator does not find out from the views."""


def includeme(config: Configurator) -> None:
    """Complete the document whenever it is asked for."""
    config.add_subscriber(_complete, BeforeRender)


def _complete(event: BeforeRender) -> None:
    route = getattr(event.get("request"), "matched_route", None)
    if route is None or route.name != "openapi":
        return
    document = event.rendering_val
    document.setdefault("definitions", {}).update(DEFINITIONS)
    for path in document["paths"].values():
        for described in path.values():
            if isinstance(described, dict):
                described.update(OPERATIONS.get(described["operationId"], {}))
