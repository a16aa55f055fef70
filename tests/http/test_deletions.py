"""Everything that takes files away: they go with the commit, and no others go."""

from collections.abc import Callable

import pytest

from tests.support.parts import (
    ATTACHMENT,
    BUCKET,
    COLLECTION,
    RECORD,
    Client,
    Server,
    every_backend,
    every_store,
)

pytestmark = every_store()


@every_backend()
def test_delete_takes_the_field_out_of_the_record_and_the_file_away(owner: Client) -> None:
    owner.upload(fields={"data": '{"title": "kept"}'})
    etag = owner.get(RECORD).headers["ETag"]

    answer = owner.delete(ATTACHMENT, 204, If_Match=etag)

    assert answer.body == b""
    record = owner.get(RECORD)
    assert "attachment" not in record.json["data"]
    assert record.json["data"]["title"] == "kept"
    assert answer.headers["ETag"] == record.headers["ETag"]
    assert owner.server.stored_keys() == set()
    owner.server.assert_agreement()


def test_delete_passes_a_schema_that_wants_an_object(owner: Client) -> None:
    schema = {"type": "object", "properties": {"attachment": {"type": "object"}}}
    owner.json("patch", COLLECTION, {"data": {"schema": schema}})
    owner.upload()

    owner.delete(ATTACHMENT, 204)

    assert owner.server.stored_keys() == set()


@every_backend()
def test_delete_works_in_a_batch(owner: Client) -> None:
    for name in ("a", "b"):
        owner.upload(f"{COLLECTION}/records/{name}/attachment")
    requests = [
        {"method": "DELETE", "path": f"{COLLECTION}/records/{name}/attachment"} for name in "ab"
    ]

    answer = owner.json("post", "/batch", {"requests": requests})

    assert [inner["status"] for inner in answer.json["responses"]] == [204, 204]
    assert owner.server.stored_keys() == set()
    owner.server.assert_agreement()


DELETIONS = {
    "the record": RECORD,
    "all records": f"{COLLECTION}/records",
    "filtered records": f"{COLLECTION}/records?wanted=true",
    "the collection": COLLECTION,
    "all collections": f"{BUCKET}/collections",
    "the bucket": BUCKET,
    "all buckets": "/buckets",
}


@pytest.mark.parametrize("what", DELETIONS)
@every_backend()
def test_files_go_with_their_records_however_they_are_deleted(owner: Client, what: str) -> None:
    owner.upload(fields={"data": '{"wanted": true}'})
    # More than 25 at once are looked up in another way; the store makes no difference there.
    more = 30 if owner.server.files and what != "the record" else 3
    for number in range(more):
        path = f"{COLLECTION}/records/r{number}/attachment"
        owner.upload(path, fields={"data": '{"wanted": true}'})
    neighbour = "/buckets/pictures_2/collections/album/records/first"
    owner.server.as_user("other").make_collection("/buckets/pictures_2/collections/album")
    owner.server.as_user("other").upload(f"{neighbour}/attachment")

    owner.delete(DELETIONS[what])

    left = more + 1 if what == "the record" else 1
    assert len(owner.server.stored_keys()) == left
    owner.server.assert_agreement()


def test_a_bucket_with_an_underscore_takes_no_neighbours_files(owner: Client) -> None:
    # Kinto's PostgreSQL backend takes "_" for any character; ours must not follow it there.
    for bucket in ("my_pics", "my-pics"):
        owner.make_collection(f"/buckets/{bucket}/collections/album")
    owner.upload("/buckets/my-pics/collections/album/records/r/attachment", content=b"stays")
    owner.upload("/buckets/my_pics/collections/album/records/r/attachment", content=b"goes")

    owner.delete("/buckets/my_pics")

    path = "/buckets/my-pics/collections/album/records/r/attachment"
    assert owner.get(path).body == b"stays"
    owner.server.assert_agreement()


@pytest.mark.parametrize("how", ["PUT without it", "PATCH to null", "merge-patch", "JSON patch"])
@every_backend()
def test_dropping_the_field_takes_the_file_away(owner: Client, how: str) -> None:
    owner.upload(fields={"data": '{"title": "x"}'})

    if how == "PUT without it":
        owner.json("put", RECORD, {"data": {"title": "y"}})
    elif how == "PATCH to null":
        owner.json("patch", RECORD, {"data": {"attachment": None}})
    else:
        kind = "merge-patch" if how == "merge-patch" else "json-patch"
        body = {"merge-patch": b'{"data": {"attachment": null}}'}.get(
            kind, b'[{"op": "remove", "path": "/data/attachment"}]'
        )
        headers = {"Content-Type": f"application/{kind}+json"}
        owner.request("PATCH", RECORD, 200, body=body, headers=headers)

    assert owner.get(RECORD).json["data"].get("attachment") is None
    assert owner.server.stored_keys() == set()
    owner.server.assert_agreement()


@pytest.mark.parametrize("what", ["replaced", "removed", "the record", "the bucket"])
@every_backend()
def test_keep_old_files_keeps_them(make_server: Callable[..., Server], what: str) -> None:
    server = make_server({"kinto.attachment.resources.pictures.keep_old_files": "true"})
    owner = server.as_user()
    owner.make_collection()
    owner.upload(content=b"old")
    (old,) = server.stored_keys()

    if what == "replaced":
        owner.upload(content=b"new")
    else:
        paths = {"removed": ATTACHMENT, "the record": RECORD, "the bucket": BUCKET}
        owner.delete(paths[what])

    assert old in server.stored_keys()
    server.assert_agreement()


@every_backend()
def test_an_unrelated_change_leaves_the_file_alone(owner: Client) -> None:
    owner.upload()
    attachment = owner.get(RECORD).json["data"]["attachment"]

    owner.json("patch", RECORD, {"data": {"title": "new"}})
    owner.json("put", RECORD, {"data": {"title": "newer", "attachment": attachment}})

    assert owner.get(ATTACHMENT).body == b"hello"
    owner.server.assert_agreement()


@pytest.mark.parametrize("base_url", [None, "https://cdn.example.org/"])
@every_backend()
def test_a_flush_takes_our_files_and_nobody_elses(
    make_server: Callable[..., Server], base_url: str | None
) -> None:
    includes = "kinto_attachment kinto.plugins.flush"
    server = make_server(
        {
            "kinto.includes": includes,
            "kinto.attachment.resources.pictures.randomize": "false",
            "kinto.attachment.base_url": base_url,
        }
    )
    owner = server.as_user()
    owner.make_collection()
    owner.make_collection("/buckets/others/collections/album")
    owner.upload()
    owner.upload("/buckets/others/collections/album/records/r/attachment")
    foreign = {"readme.txt", "4f5d8f7c-93a5-4b63-9f0e-2f4d3a5b6c7d.jpg", "a/photo.jpg"}
    for key in foreign:
        server.store_file(key, b"not ours")

    owner.json("post", "/__flush__", status=202)

    assert server.stored_keys() == foreign


@every_backend()
def test_a_batch_that_fails_as_a_whole_keeps_record_and_file(owner: Client) -> None:
    owner.upload(f"{COLLECTION}/records/a/attachment", content=b"a")
    owner.upload(f"{COLLECTION}/records/b/attachment", content=b"b")
    forged = {**owner.get(f"{COLLECTION}/records/b").json["data"]["attachment"], "size": 999}
    requests = [
        {"method": "DELETE", "path": f"{COLLECTION}/records/a"},
        {
            "method": "PATCH",
            "path": f"{COLLECTION}/records/b",
            "body": {"data": {"attachment": forged}},
        },
    ]

    owner.json("post", "/batch", {"requests": requests}, 400)

    assert owner.get(f"{COLLECTION}/records/b/attachment").body == b"b"
    owner.server.assert_agreement()


@every_backend()
def test_a_record_deleted_and_created_again_in_one_batch_agrees(owner: Client) -> None:
    owner.upload(content=b"shared")
    copied = owner.get(RECORD).json["data"]["attachment"]
    again = f"{COLLECTION}/records/again"
    requests = [
        {"method": "PUT", "path": again, "body": {"data": {"title": "plain"}}},
        {"method": "DELETE", "path": again},
        {"method": "PUT", "path": again, "body": {"data": {"attachment": copied}}},
    ]

    owner.json("post", "/batch", {"requests": requests}, 200)
    owner.delete(RECORD)

    assert owner.get(f"/{copied['location']}").body == b"shared"
    owner.server.assert_agreement()
