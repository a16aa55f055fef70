"""Who may write a record's ``attachment``: judged by its value, and by nothing else."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    Server,
    every_backend,
    every_store,
)

pytestmark = every_store()

SECOND = f"{COLLECTION}/records/second"
FORGED = {
    "filename": "evil.jpg",
    "hash": "0" * 64,
    "location": "https://evil.example.org/x.jpg",
    "mimetype": "image/jpeg",
    "size": 1,
}


@pytest.mark.parametrize("value", [FORGED, {}, [], "text", 3, {"location": 3}])
@every_backend()
def test_forged_metadata_is_refused_on_creation_and_nothing_is_created(
    owner: Client, value: Any
) -> None:
    answer = owner.json("put", RECORD, {"data": {"attachment": value}}, 400)

    assert "'first'" in answer.json["message"]
    owner.get(RECORD, 404)
    owner.json("post", f"{COLLECTION}/records", {"data": {"attachment": value}}, 400)
    assert owner.get(f"{COLLECTION}/records").json["data"] == []


@every_backend()
def test_forged_metadata_is_refused_on_update_and_nothing_changes(owner: Client) -> None:
    owner.upload(content=b"kept")
    record = owner.get(RECORD).json["data"]
    altered = {**record["attachment"], "size": 999}

    for value in (FORGED, altered):
        owner.json("patch", RECORD, {"data": {"attachment": value}}, 400)
        owner.json("put", RECORD, {"data": {"attachment": value}}, 400)

    assert owner.get(RECORD).json["data"]["attachment"] == record["attachment"]
    assert owner.get(ATTACHMENT).body == b"kept"
    owner.server.assert_agreement()


@every_backend()
def test_a_removal_in_the_same_batch_does_not_let_forged_metadata_through(owner: Client) -> None:
    owner.upload()
    owner.json("put", SECOND, {"data": {"title": "second"}})
    requests = [
        {"method": "DELETE", "path": ATTACHMENT},
        {"method": "PATCH", "path": SECOND, "body": {"data": {"attachment": FORGED}}},
    ]

    owner.json("post", "/batch", {"requests": requests}, 400)

    assert owner.get(SECOND).json["data"].get("attachment") is None
    owner.server.assert_agreement()


@every_backend()
def test_a_copied_record_shares_the_file_which_goes_with_the_last_one(owner: Client) -> None:
    owner.upload(content=b"shared")
    attachment = owner.get(RECORD).json["data"]["attachment"]
    elsewhere = "/buckets/published/collections/album/records/copy"
    owner.make_collection("/buckets/published/collections/album")

    owner.json("put", SECOND, {"data": {"attachment": attachment}}, 201)
    owner.json("put", elsewhere, {"data": {"attachment": attachment}}, 201)
    owner.server.assert_agreement()

    owner.delete(RECORD)
    assert owner.get(f"{SECOND}/attachment").body == b"shared"
    owner.upload(f"{SECOND}/attachment", content=b"another")
    assert owner.get(f"{elsewhere}/attachment").body == b"shared"
    owner.server.assert_agreement()
    owner.delete("/buckets/published")
    assert len(owner.server.stored_keys()) == 1
    owner.server.assert_agreement()


def test_a_copys_location_goes_on_naming_its_own_file(owner: Client) -> None:
    owner.upload(content=b"first version")
    attachment = owner.get(RECORD).json["data"]["attachment"]
    owner.json("put", SECOND, {"data": {"attachment": attachment}})

    owner.upload(content=b"second version")

    assert owner.get(f"/{attachment['location']}").body == b"first version"
    owner.delete(RECORD)
    assert owner.get(f"/{attachment['location']}").body == b"first version"
    owner.delete(SECOND)
    owner.get(f"/{attachment['location']}", 404)


@every_backend()
def test_a_file_that_one_may_not_read_cannot_be_copied(owner: Client, other: Client) -> None:
    owner.upload(content=b"private")
    attachment = owner.get(RECORD).json["data"]["attachment"]
    mine = "/buckets/mine/collections/album"
    other.make_collection(mine)

    other.json("put", f"{mine}/records/stolen", {"data": {"attachment": attachment}}, 400)

    other.get(f"{mine}/records/stolen", 404)
    owner.json("patch", RECORD, {"permissions": {"read": [other.principal]}})
    other.json("put", f"{mine}/records/allowed", {"data": {"attachment": attachment}}, 201)
    assert other.get(f"{mine}/records/allowed/attachment").body == b"private"
    owner.server.assert_agreement()


@every_backend()
def test_a_plugin_that_copies_records_through_the_storage_shares_the_file(owner: Client) -> None:
    owner.upload(content=b"reviewed")
    published = "/buckets/published/collections/album"
    owner.make_collection(published)

    publish(owner.server, owner.get(RECORD).json["data"], published)

    owner.server.assert_agreement()
    owner.delete(RECORD)
    assert owner.get(f"{published}/records/first/attachment").body == b"reviewed"


def publish(server: Server, record: dict[str, Any], collection_uri: str) -> None:
    """What reviewing and signing plugins do: write to the storage, and notify."""
    import transaction
    from kinto.core.events import ACTIONS, ResourceChanged
    from pyramid.request import Request, apply_request_extensions

    request = Request.blank("/v1/")
    request.registry = server.registry
    apply_request_extensions(request)
    with transaction.manager:
        created = server.registry.storage.create(
            resource_name="record", parent_id=collection_uri, obj=record
        )
        _, _, bucket_id, _, collection_id = collection_uri.split("/")
        payload = {
            "action": ACTIONS.CREATE.value,
            "resource_name": "record",
            "user_id": "plugin:kinto-signer",
            "bucket_id": bucket_id,
            "collection_id": collection_id,
        }
        server.registry.notify(ResourceChanged(payload, [{"new": created}], request))


@every_backend()
def test_unknown_metadata_is_taken_where_the_operator_says_so(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({"kinto.attachment.accept_unknown_metadata": "true"})
    owner = server.as_user()
    owner.make_collection()

    owner.json("put", RECORD, {"data": {"attachment": FORGED}}, 201)
    owner.json("patch", RECORD, {"data": {"title": "edited"}}, 200)

    assert owner.get(RECORD).json["data"]["attachment"] == FORGED
    owner.get(ATTACHMENT, 404)
    owner.upload(content=b"real", status=200)
    server.assert_agreement()


def test_records_whose_unknown_metadata_is_older_stay_editable(
    make_server: Callable[..., Server],
) -> None:
    first = make_server({"kinto.attachment.accept_unknown_metadata": "true"})
    first.as_user().make_collection()
    first.as_user().json("put", RECORD, {"data": {"attachment": FORGED}})
    server = make_server()
    server.registry.storage._store = first.registry.storage._store
    server.registry.permission._store = first.registry.permission._store

    server.as_user().json("patch", RECORD, {"data": {"title": "edited"}}, 200)
