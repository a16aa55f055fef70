"""How the endpoint looks in Kinto's ``/__api__`` (OpenAPI 2.0). Nothing is enforced here."""

from typing import Any

import colander
from kinto.core.cornice_swagger.converters.schema import TypeConverter
from kinto.core.errors import ErrorSchema
from kinto.core.openapi import OpenAPI
from pyramid.config import Configurator


class FormField(colander.SchemaType):
    """A part of a multipart form: the specification knows it, colander does not."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Binary(colander.SchemaType):
    """Bytes, as body or as response."""


class _FormFieldConverter(TypeConverter):
    def __call__(self, node: colander.SchemaNode) -> dict[str, Any]:
        return {"in": "formData", "type": node.typ.kind}


class _BinaryConverter(TypeConverter):
    def __call__(self, node: colander.SchemaNode) -> dict[str, Any]:
        return {"type": "string", "format": "binary"}


class AttachmentSchema(colander.MappingSchema):
    filename = colander.SchemaNode(colander.String())
    hash = colander.SchemaNode(colander.String(), description="SHA-256, 64 hex digits")
    location = colander.SchemaNode(colander.String())
    mimetype = colander.SchemaNode(colander.String())
    size = colander.SchemaNode(colander.Integer(), description="bytes")


class RecordHeaders(colander.MappingSchema):
    ETag = colander.SchemaNode(colander.String())
    Location = colander.SchemaNode(colander.String())


class StoredResponse(colander.MappingSchema):
    body = AttachmentSchema()
    header = RecordHeaders()


class FileResponse(colander.MappingSchema):
    body = colander.SchemaNode(Binary())


class EmptyResponse(colander.MappingSchema):
    pass


class ErrorResponse(colander.MappingSchema):
    body = ErrorSchema()


class Preconditions(colander.MappingSchema):
    if_match = colander.SchemaNode(colander.String(), name="If-Match", missing=colander.drop)
    if_none_match = colander.SchemaNode(
        colander.String(), name="If-None-Match", missing=colander.drop
    )


class FormParts(Preconditions):
    attachment = colander.SchemaNode(FormField("file"), description="the file")
    data = colander.SchemaNode(
        FormField("string"), missing=colander.drop, description="other fields, a JSON object"
    )
    permissions = colander.SchemaNode(
        FormField("string"), missing=colander.drop, description="permissions, a JSON object"
    )


class FormRequest(colander.MappingSchema):
    header = FormParts()


class FileName(colander.MappingSchema):
    filename = colander.SchemaNode(colander.String(), missing=colander.drop)


class RawRequest(colander.MappingSchema):
    header = Preconditions()
    querystring = FileName()
    body = colander.SchemaNode(Binary(), name="body")


class ConditionalRequest(colander.MappingSchema):
    header = Preconditions()


class LinkLife(colander.MappingSchema):
    expires_in = colander.SchemaNode(
        colander.Integer(), missing=colander.drop, description="seconds"
    )


class LinkOrder(colander.MappingSchema):
    data = LinkLife(missing=colander.drop)


class LinkRequest(colander.MappingSchema):
    body = LinkOrder(missing=colander.drop)


class SignedLink(LinkLife):
    url = colander.SchemaNode(colander.String())
    expires = colander.SchemaNode(colander.Integer(), description="seconds since 1970")


class LinkAnswer(colander.MappingSchema):
    data = SignedLink()


class LinkResponse(colander.MappingSchema):
    body = LinkAnswer()


_MEANINGS = {
    "200": (StoredResponse, "The file of an existing record was stored."),
    "201": (StoredResponse, "The record was created with its file."),
    "204": (EmptyResponse, "The attachment is gone."),
    "206": (FileResponse, "A range of the file."),
    "302": (EmptyResponse, "The file is at the store's own URL."),
    "303": (EmptyResponse, "Stored; see the record. For HTML forms, and with legacy_format."),
    "304": (EmptyResponse, "The file has not changed."),
    "400": (ErrorResponse, "The request can't be used; the message says why."),
    "401": (ErrorResponse, "Authentication is needed."),
    "403": (ErrorResponse, "Not allowed."),
    "404": (ErrorResponse, "Bucket, collection, record or attachment is missing."),
    "409": (ErrorResponse, "Changed by somebody else at the same time: retry."),
    "411": (ErrorResponse, "Content-Length is missing."),
    "412": (ErrorResponse, "The record was modified meanwhile."),
    "413": (ErrorResponse, "The file is too large; the message has the limit in bytes."),
    "415": (ErrorResponse, "Not multipart/form-data."),
    "416": (EmptyResponse, "The range lies outside of the file."),
    "503": (ErrorResponse, "The store can't be reached: retry later."),
    "507": (ErrorResponse, "The store has no space left: retry later."),
}


def responses(*statuses: str, **special: Any) -> dict[str, Any]:
    """``response_schemas`` for a view; ``default`` is Kinto's error body."""
    schemas = {code: _MEANINGS[code][0](description=_MEANINGS[code][1]) for code in statuses}
    schemas.update({code.lstrip("_"): schema for code, schema in special.items()})
    schemas["default"] = ErrorResponse(description="Another error, in Kinto's format.")
    return schemas


def whole_file() -> Any:
    """The 200 of a download."""
    return FileResponse(description="The file.")


def signed_link() -> Any:
    """The 200 of an order for a link."""
    return LinkResponse(description="The link.")


def includeme(config: Configurator) -> None:
    """Teach Kinto's generator our types, through its extension point."""
    OpenAPI.custom_type_converters[FormField] = _FormFieldConverter
    OpenAPI.custom_type_converters[Binary] = _BinaryConverter
