"""Every ``kinto.attachment.*`` setting, once: type, default, meaning.

Longer than others: it is the table, which stays in one piece.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kinto_attachment.media_types import GROUPS
from kinto_attachment.settings.parsers import (
    PUBLISHED_TYPES,
    accel_redirect,
    at_least_1,
    base_url,
    boolean,
    canned_acl,
    directory,
    download,
    endpoint_url,
    extensions,
    filename_pattern,
    folder,
    mimetypes,
    port,
    retention,
    seconds,
    text,
    whole_number,
)


class Setting(NamedTuple):
    """One line of the table, from which the reference page is made: ``meaning`` is for readers,
    with one backquote around what is typed."""

    key: str
    parse: Callable[[Any], Any]
    default: Any
    meaning: str
    per_resource: bool = False
    secret: bool = False


SETTINGS = (
    Setting("base_path", directory, None, "Directory that the files go to: the local store."),
    Setting(
        "base_url",
        base_url,
        None,
        "URL under which a web server or CDN of yours serves the files: `location` is made of it"
        " and the file's key. Absent: the plugin serves the files. Empty: `location` is the key"
        " alone, and so it is where only `extra.base_url` is given.",
    ),
    Setting(
        "extra.base_url",
        base_url,
        None,
        "URL that the capability announces as `base_url`, where records are not to have it in"
        " them.",
    ),
    Setting(
        "folder",
        folder,
        "",
        "Folder that files go to in the store; `{bucket_id}` and `{collection_id}` are filled in.",
        True,
    ),
    Setting(
        "keep_old_files",
        retention,
        False,
        "Keep replaced and removed files: always, or until `gc` finds them older than `90d`.",
        True,
    ),
    Setting(
        "randomize",
        boolean,
        True,
        "Name files in the store by a UUID alone. With `false` the client's name comes behind it:"
        " `<UUID>/photo.jpg`.",
        True,
    ),
    Setting(
        "filename_pattern",
        filename_pattern,
        "",
        "Name of files in the store, made of `{filename}`, `{datetime}` (14 digits, in UTC) and"
        " `{rid}`, which is the record's id. Where `randomize` is on, `{filename}` is a UUID with"
        " the extension, else the client's name. A name that has no UUID in it gets a folder"
        " that is called by one.",
        True,
    ),
    Setting(
        "extensions",
        extensions,
        extensions("default"),
        f"Allowed extensions and groups joined by `+`: {', '.join(GROUPS)}.",
        True,
    ),
    Setting(
        "mimetypes",
        mimetypes,
        PUBLISHED_TYPES,
        "Media types by extension that count whatever the client says. Yours are added to those"
        " of the default, or take their places.",
        True,
    ),
    Setting(
        "max_size_bytes",
        whole_number,
        0,
        "Largest file in bytes; 0 is no limit. The name `max_size` works, too.",
        True,
    ),
    Setting(
        "least_rate",
        whole_number,
        4096,
        "Bytes a second that an upload has to bring: a slower one is ended, with 408, so that it"
        " does not hold a thread of the server. 0 is no limit.",
    ),
    Setting(
        "least_rate_grace",
        seconds,
        30.0,
        "Seconds that each 256 KiB of an upload may take beside what `least_rate` gives them.",
    ),
    Setting(
        "uploads",
        boolean,
        True,
        "Take files in several requests, which go on where they broke off: by tus 1.0, and by the"
        " IETF's draft.",
        True,
    ),
    Setting(
        "upload_max_age",
        whole_number,
        86400,
        "Seconds after which an upload in several requests expires that nobody goes on with.",
    ),
    Setting(
        "max_uploads_per_user",
        whole_number,
        20,
        "Unfinished uploads that one user may have; of users who are not known, one collection.",
    ),
    Setting(
        "max_unfinished_bytes",
        whole_number,
        0,
        "Bytes that all unfinished uploads may have together; 0 is no limit. What was announced"
        " counts for five minutes, after that what has come.",
    ),
    Setting(
        "interim_responses",
        boolean,
        False,
        "Name the URL of an upload by the IETF's draft in an interim response (104), before its"
        " bytes have come, so that clients go on with it that send a file as a whole. It works on"
        " gunicorn only, and needs a proxy in front that hands interim responses on, or none.",
    ),
    Setting(
        "legacy_format",
        boolean,
        False,
        "Answer and store as the first API of 2015 did: 303, `filesize`, base64 `hash`.",
    ),
    Setting(
        "accept_unknown_metadata",
        boolean,
        False,
        "Let clients write `attachment` values that this server did not make: for imports only.",
    ),
    Setting(
        "private",
        boolean,
        False,
        "Only the plugin hands the files out: no public ACL, no URL of the store in `location`.",
        True,
    ),
    Setting(
        "sniff",
        boolean,
        True,
        "Look at the first bytes of files: for their type, and to refuse HTML or a script that"
        " is called a picture.",
    ),
    Setting(
        "download",
        download,
        "redirect",
        "How files in S3 and at Google are read: `redirect` to a URL of the store that is valid"
        " for five minutes, or `proxy` through Kinto.",
    ),
    Setting(
        "verified_in_heartbeat",
        boolean,
        False,
        "Let `/__heartbeat__` fail where the last `kinto-attachment verify` found damage.",
    ),
    Setting(
        "accel_redirect",
        accel_redirect,
        None,
        "Path of an internal location of nginx that serves `base_path`: nginx sends the files.",
    ),
    Setting(
        "public_max_age",
        whole_number,
        0,
        "Seconds for which caches may keep files that everyone may read.",
    ),
    Setting("link_max_age", at_least_1, 86400, "Longest life of a signed link, in seconds."),
    Setting(
        "link_secret",
        text,
        None,
        "Secret that signed links are made with. Absent: one is derived from Kinto's"
        " `userid_hmac_secret`. Without either there are no signed links.",
        secret=True,
    ),
    Setting(
        "demo",
        boolean,
        False,
        "Serve a page at `/v1/attachments/` to try attachments on: not for production.",
    ),
    Setting("fsync", boolean, True, "Force files to disk before they count (local store)."),
    Setting(
        "backend",
        text,
        None,
        "Dotted name of any pyramid_storage backend: a class or a module. By default the store"
        " follows from `base_path`, `aws.bucket_name` or `gcloud.bucket_name`.",
    ),
    Setting(
        "store_timeout",
        seconds,
        2.5,
        "Seconds for the whole of an operation of the store that carries no file, all attempts"
        " included: to delete, to look, to check. The heartbeat waits as long for any store, and"
        " commands twelve times as long.",
    ),
    Setting(
        "aws.bucket_name", text, None, "Bucket of the S3 store. The name `aws.bucket` works, too."
    ),
    Setting(
        "aws.access_key",
        text,
        None,
        "Access key. Absent: boto3's own chain (environment, profile, the machine's role).",
        secret=True,
    ),
    Setting("aws.secret_key", text, None, "Secret key, with `aws.access_key`.", secret=True),
    Setting(
        "aws.region",
        text,
        None,
        "Region of the bucket. Absent: boto3's own chain. URLs are signed for this region's host.",
    ),
    Setting(
        "aws.endpoint_url",
        endpoint_url,
        None,
        "URL of a store that is not Amazon's: MinIO, Ceph, R2, Garage…",
        secret=True,
    ),
    Setting("aws.host", text, None, "Host of such a store, as pyramid_storage names it."),
    Setting("aws.port", port, None, "Port at `aws.host`."),
    Setting("aws.is_secure", boolean, True, "Reach `aws.host` by https."),
    Setting(
        "aws.use_path_style",
        boolean,
        None,
        "Put the bucket in the path, not in the host name. By default only where the store is"
        " not Amazon's.",
    ),
    Setting("aws.acl", canned_acl, None, "Canned ACL of new files. Absent: none is sent."),
    Setting(
        "aws.cache_control",
        text,
        "public, max-age=31536000, immutable",
        "`Cache-Control` that S3 sends with files that are read there by `base_url`. A key is"
        " never used twice, so caches may keep what they have. Private files have none. Empty:"
        " none is sent.",
    ),
    Setting("aws.timeout", seconds, 10.0, "Seconds that S3 may take to answer one request."),
    Setting("aws.num_retries", whole_number, 1, "How often a request to S3 is repeated."),
    Setting(
        "aws.upload_concurrency",
        at_least_1,
        6,
        "Parts of one large file that are sent to S3 at once, at the most: fewer on a slow line."
        " They take up to 36 MiB of memory.",
    ),
    Setting("gcloud.bucket_name", text, None, "Bucket of the Google Cloud Storage store."),
    Setting(
        "gcloud.credentials",
        text,
        None,
        "Path of a service account's JSON file. Absent: application default credentials.",
        secret=True,
    ),
    Setting("gcloud.project", text, None, "Google's project; files do not need it."),
    Setting("gcloud.acl", canned_acl, None, "Predefined ACL of new files. Absent: none is sent."),
    Setting(
        "gcloud.uniform_bucket_level_access",
        boolean,
        False,
        "The bucket takes no ACLs: `gcloud.acl` is refused.",
    ),
    Setting(
        "gcloud.cache_control",
        text,
        None,
        "`Cache-Control` that Google sends with files that are read there.",
    ),
    Setting("gcloud.timeout", seconds, 10.0, "Seconds that Google may take to answer."),
)

_MAKE_THE_BUCKET = "the plugin makes no bucket; make it yourself, and remove this"
DROPPED = {
    "gcloud.auto_create_bucket": _MAKE_THE_BUCKET,
    "gcloud.auto_create_acl": _MAKE_THE_BUCKET,
}
"""Settings of 8.x and 9.x that are gone, and what to do about them."""

ALIASES = {"max_size": "max_size_bytes", "aws.bucket": "aws.bucket_name"}
BY_KEY = {setting.key: setting for setting in SETTINGS}
