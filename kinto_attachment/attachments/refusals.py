"""The refusals: every reason for which a request is turned down, in one table.

The domain raises :class:`Refused` and knows nothing of HTTP; records/refusing.py turns it into
Kinto's error body and counts it.

Longer than others: the table stays in one piece.
"""

from typing import Any, NamedTuple

from kinto_attachment.printable import printable


class Row(NamedTuple):
    """One refusal: HTTP's status, the name of Kinto's errno, the sentence for the person, and when
    it comes about, for the reference page."""

    status: int
    errno: str
    sentence: str
    when: str


_INVALID = (400, "INVALID_PARAMETERS")
_POSTED = (400, "INVALID_POSTED_DATA")

REFUSALS = {
    "malformed_body": Row(
        *_POSTED,
        "The multipart body is broken or incomplete ({why}): send it again as a whole.",
        "The form is broken, or cut off.",
    ),
    "truncated_body": Row(
        *_POSTED,
        "The body ended after {received} of {expected} bytes: send it again as a whole.",
        "The body ends before its `Content-Length`.",
    ),
    "too_slow": Row(
        408,
        "INVALID_POSTED_DATA",
        "The body came more slowly than {least_rate} bytes a second: send it again, over a better"
        " connection.",
        "The body comes more slowly than the setting `least_rate` says, or not at all.",
    ),
    "cross_site_form": Row(
        403,
        "FORBIDDEN",
        "This form was sent by a page of {origin}, with a password that the browser has kept:"
        " name that site in kinto.cors_origins, or send the form by a script that gives the"
        " password.",
        "A page of another site makes the browser send a form with the user's password.",
    ),
    "cross_site_permissions": Row(
        403,
        "FORBIDDEN",
        "A form of another site, {origin}, never sets permissions: leave them out.",
        "A form of another site that `kinto.cors_origins` names sets `permissions`.",
    ),
    "bad_boundary": Row(
        *_POSTED,
        "The Content-Type has no usable boundary: let the HTTP client write that header itself.",
        "The form's `Content-Type` has no boundary, or one of more than 70 characters.",
    ),
    "missing_file": Row(
        *_INVALID,
        "No file came in a part named 'attachment': choose one, and send it under that name.",
        "No part of the form is called `attachment`, or nobody has filled that input.",
    ),
    "second_file": Row(
        *_POSTED,
        "There are two parts named '{name}': send it once.",
        "A part of the form comes twice.",
    ),
    "unknown_part": Row(
        *_POSTED,
        "The part '{name}' is a file, and one too many: send one, as 'attachment'.",
        "A part of the form is a file, and is not called `attachment`. Text parts of other names"
        " are passed over.",
    ),
    "coded_part": Row(
        *_POSTED,
        "A part has the {header} {coding}, which is not undone here: send its bytes as they are.",
        "A part of the form has a `Content-Transfer-Encoding`, like base64, or a"
        " `Content-Encoding`.",
    ),
    "undecodable_name": Row(
        *_POSTED,
        "The name of the file is not UTF-8: send it as UTF-8 or as filename*=UTF-8''…, or say in"
        " a part _charset_, before the file, in which encoding the form is.",
        "The file's name is not UTF-8, and nothing says in which encoding it is.",
    ),
    "bad_field": Row(
        *_POSTED,
        "The part '{name}' must be a JSON object ({why}).",
        "`data` or `permissions` is not a JSON object.",
    ),
    "field_too_large": Row(
        *_POSTED,
        "The part '{name}' is larger than {limit} bytes.",
        "`data` or `permissions` is larger than 1 MiB, or what is passed over is larger than"
        " 64 KiB.",
    ),
    "extension": Row(
        *_INVALID,
        "The extension of '{filename}' is not allowed here; allowed are: {allowed}.",
        "The setting `extensions` does not allow the file's extension here.",
    ),
    "content_differs": Row(
        *_POSTED,
        "The content of '{filename}' is {content}, not {mimetype}: send it under its own"
        " extension.",
        "HTML, XML or a script is called a picture, a sound, a film, a font or a PDF.",
    ),
    "bad_digest": Row(
        *_INVALID,
        "{header} is not understood: write sha-256=:<base64 of the digest>:.",
        "`Repr-Digest` or `Content-Digest` can't be read.",
    ),
    "digest_differs": Row(
        *_POSTED,
        "The bytes received have another SHA-256 than {header} says: send them again.",
        "The file's SHA-256 is not the one that the request gives.",
    ),
    "forged_metadata": Row(
        *_POSTED,
        "The 'attachment' of record '{record}' can't be written directly: upload the file to"
        " the record's /attachment, or copy the whole field of a record that you may read.",
        "A request to the record itself writes an `attachment` that no upload has made, and that"
        " is no copy of another record's.",
    ),
    "in_batch": Row(
        *_INVALID,
        "Files can't travel in a batch: send this request to /attachment on its own.",
        "An upload or a download comes in a batch, which is JSON.",
    ),
    "too_large": Row(
        413,
        "INVALID_PARAMETERS",
        "The file is larger than the {limit} bytes that are allowed here.",
        "The file has more bytes than `max_size_bytes` allows; the message has the limit.",
    ),
    "link_invalid": Row(
        403,
        "FORBIDDEN",
        "This link is not, or no longer, valid: its file may have been replaced or removed. Ask"
        " for a new one.",
        "A signed link was changed, or its file was replaced or removed.",
    ),
    "link_expired": Row(
        403,
        "FORBIDDEN",
        "This link has expired: ask for a new one.",
        "A signed link is older than it may be.",
    ),
    "links_off": Row(
        403,
        "FORBIDDEN",
        "Signed links are off: the server has no secret to sign them with. Its operator has to"
        " set kinto.attachment.link_secret.",
        "A signed link is ordered or opened, and neither `link_secret` nor Kinto's"
        " `userid_hmac_secret` is set.",
    ),
    "not_a_form": Row(
        415,
        "INVALID_PARAMETERS",
        "Content-Type header should be one of ['multipart/form-data']: send a form by POST, or the"
        " file itself by PUT.",
        "A `POST` sends something else than a form, or has no `Content-Type`.",
    ),
    "form_by_put": Row(
        415,
        "INVALID_PARAMETERS",
        "A PUT is the file itself, not a form ({content_type}): send the form by POST, as"
        " multipart/form-data, or the file with its own Content-Type.",
        "A `PUT` sends a form, which would be stored as it is.",
    ),
    "part_of_file": Row(
        *_INVALID,
        "Content-Range is not supported: send the whole file, and leave it out.",
        "`Content-Range`: the body is a part of a file.",
    ),
    "coded_body": Row(
        415,
        "INVALID_PARAMETERS",
        "The Content-Encoding {coding} is not undone here: send the file as it is.",
        "`Content-Encoding`: the body is not the file's own bytes.",
    ),
    "no_length": Row(
        411,
        "MISSING_CONTENT_LENGTH",
        "Content-Length is missing, and this server does not tell whether a body without it is"
        " complete: send it, or a Repr-Digest.",
        "There is no `Content-Length`, and nobody could tell whether the body is complete. A"
        " chunked body is taken where the WSGI server tells its end (gunicorn, waitress), in a"
        " form, and with a digest.",
    ),
    "uploads_off": Row(
        *_INVALID,
        "Uploads in several requests are off here ({why}): send the file whole, by POST or PUT to"
        " the record's /attachment.",
        "An upload in several requests is begun, and the setting `uploads` is off, or the store"
        " can't keep a part of a file.",
    ),
    "upload_version": Row(
        412,
        "INVALID_PARAMETERS",
        "This version of the protocol is not known here: send Tus-Resumable: 1.0.0, or"
        " Upload-Draft-Interop-Version: 8 or 6.",
        "`Tus-Resumable` is missing or another one than `1.0.0`, or `Upload-Draft-Interop-Version`"
        " is neither 6 nor 8.",
    ),
    "upload_header": Row(
        *_INVALID,
        "{header} is not understood: {why}.",
        "A header of an upload in several requests can't be read, or is too long.",
    ),
    "upload_length": Row(
        *_INVALID,
        "The upload has {length} bytes: no other Upload-Length can be given, and no more bytes.",
        "`Upload-Length` differs from the one before, or more bytes come than it says.",
    ),
    "upload_offset": Row(
        409,
        "CONSTRAINT_VIOLATED",
        "The upload goes on at byte {offset}: send the bytes from there.",
        "`Upload-Offset` is not where the upload goes on.",
    ),
    "upload_taken_over": Row(
        409,
        "CONSTRAINT_VIOLATED",
        "Another request has taken this upload over: ask by HEAD where it goes on.",
        "A later request for the same upload came while this one was under way.",
    ),
    "upload_finished": Row(
        409,
        "CONSTRAINT_VIOLATED",
        "The upload is finished, and its file is the record's: begin a new upload, or delete the"
        " attachment instead.",
        "A finished upload is deleted, or gets more bytes.",
    ),
    "upload_unknown": Row(
        404,
        "MISSING_RESOURCE",
        "There is no such upload for this user: begin a new one.",
        "There never was such an upload, somebody else began it, or it ended long ago.",
    ),
    "upload_gone": Row(
        410,
        "MISSING_RESOURCE",
        "This upload has expired, or was refused: begin a new one.",
        "The upload expired, or was refused for good.",
    ),
    "upload_empty": Row(
        *_INVALID,
        "The last {number} requests brought no bytes: send the next bytes, or say by Upload-Length"
        " (in the draft: Upload-Complete: ?1) that these are all.",
        "More than ten requests in a row brought an upload no bytes.",
    ),
    "upload_type": Row(
        415,
        "INVALID_PARAMETERS",
        "A part of an upload has the Content-Type {wanted}.",
        "A `PATCH` has another `Content-Type` than its protocol wants.",
    ),
    "upload_checksum": Row(
        460,
        "INVALID_POSTED_DATA",
        "The bytes have another checksum than Upload-Checksum says, and were dropped: send them"
        " again.",
        "`Upload-Checksum` differs.",
    ),
    "upload_differs": Row(
        *_POSTED,
        "The last byte is another one than was sent before: begin a new upload.",
        "The last byte of an upload is sent once more, and is another one.",
    ),
    "checked_part_too_large": Row(
        413,
        "INVALID_PARAMETERS",
        "A part that is sent with a checksum has at most {limit} bytes: send smaller ones.",
        "A part with a checksum, which is held back until it is checked, is too large.",
    ),
    "too_many_uploads": Row(
        429,
        "INVALID_PARAMETERS",
        "There are {limit} unfinished uploads already: finish or delete one, or wait.",
        "`max_uploads_per_user` is reached.",
    ),
    "no_space_unfinished": Row(
        507,
        "BACKEND",
        "Unfinished uploads take all the space that they may: retry later.",
        "`max_unfinished_bytes` is reached.",
    ),
    "no_attachment": Row(
        404,
        "MISSING_RESOURCE",
        "The record '{record}' has no attachment.",
        "The record has no attachment.",
    ),
    "file_missing": Row(
        404,
        "MISSING_RESOURCE",
        "The file of the record '{record}' can't be found in the store.",
        "The file is not in the store.",
    ),
    "replaced_meanwhile": Row(
        409,
        "CONSTRAINT_VIOLATED",
        "The attachment of record '{record}' was changed meanwhile: read the record and retry.",
        "Somebody else changed the attachment at the same moment.",
    ),
    "no_space": Row(
        507,
        "BACKEND",
        "The store has no space left for this file: retry later.",
        "The store is full. `Retry-After` says when to try again.",
    ),
    "collection_gone": Row(
        409,
        "CONSTRAINT_VIOLATED",
        "The collection of record '{record}' was deleted meanwhile: create it, and send this"
        " again.",
        "The collection was deleted while the record was being written.",
    ),
    "file_lost": Row(
        503,
        "BACKEND",
        "The file was removed from the store before record '{record}' could be written: send it"
        " again.",
        "`gc` removed the file as one that nothing names, before its record was written: the end"
        " of the form came later than `--grace` after its file.",
    ),
    "store_unavailable": Row(
        503,
        "BACKEND",
        "The store can't be reached or written: retry later.",
        "The store does not work. `Retry-After` says when to try again.",
    ),
}


class Refused(Exception):
    """A request is turned down for a reason of :data:`REFUSALS`.

    :param reason: a key of :data:`REFUSALS`.
    :param facts: what fills the sentence, and the error's ``details``.
    """

    def __init__(self, reason: str, **facts: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        # Clients put sentences on terminals: nothing that somebody has sent is to act there.
        self.facts = {k: printable(v) if isinstance(v, str) else v for k, v in facts.items()}

    def __str__(self) -> str:
        return REFUSALS[self.reason].sentence.format(**self.facts)
