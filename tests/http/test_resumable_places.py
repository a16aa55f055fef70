"""Where uploads in several requests are on: on a whole server, in a bucket, in a collection."""

from collections.abc import Callable

import pytest

from kinto_attachment.rows import upload_rows_of
from tests.support.parts import ATTACHMENT, BUCKET, COLLECTION, Server

OTHER = f"{BUCKET}/collections/other"
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename YS5qcGc="}
DRAFT = {"Upload-Complete": "?0", "Content-Type": "image/jpeg"}


@pytest.mark.parametrize(
    ("server_wide", "places", "here", "there"),
    [
        ("true", {"pictures.album": "false"}, False, True),
        ("true", {"pictures": "false"}, False, False),
        ("false", {"pictures.album": "true"}, True, False),
        ("false", {"pictures": "true", "pictures.other": "false"}, True, False),
        ("false", {}, False, False),
    ],
    ids=str,
)
def test_the_most_specific_setting_decides(
    make_server: Callable[..., Server],
    server_wide: str,
    places: dict[str, str],
    here: bool,
    there: bool,
) -> None:
    prefix = "kinto.attachment"
    own = {f"{prefix}.resources.{place}.uploads": value for place, value in places.items()}
    server = make_server({f"{prefix}.uploads": server_wide, **own})
    owner = server.as_user()
    owner.make_collection()
    owner.make_collection(OTHER)
    told = owner.get("/", 200).json["capabilities"]["attachments"]
    anywhere = server_wide == "true" or "true" in places.values()

    assert ("uploads" in told) is anywhere
    for collection, on in ((COLLECTION, here), (OTHER, there)):
        attachment = ATTACHMENT.replace(COLLECTION, collection)
        asked = owner.request("OPTIONS", f"{attachment}/uploads", "*", headers={})
        begun = owner.request("POST", f"{attachment}/uploads", "*", headers=TUS)
        careful = owner.request(
            "PUT", f"{attachment}?filename=a.jpg", "*", headers=DRAFT, body=b""
        )
        if on:
            assert (asked.status_int, begun.status_int, careful.status_int) == (204, 201, 201)
            continue
        assert asked.status_int in (400, 404)
        assert "Tus-Version" not in asked.headers
        assert begun.status_int == (400 if anywhere else 404)
        if anywhere:
            assert begun.json["details"]["reason"] == "uploads_off"
            assert careful.json["details"]["reason"] == "uploads_off"
    rows = upload_rows_of(server.registry.storage)
    assert sum(len(page) for page in rows.everything()) == 2 * (here + there)
    # Whole files are taken everywhere.
    owner.upload(status=201)
