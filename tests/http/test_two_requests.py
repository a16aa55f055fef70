"""An upload is two requests to Kinto, and what lies between them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.harness import AnyStorage, Database
from tests.support.parts import (
    ATTACHMENT,
    COLLECTION,
    RECORD,
    Client,
    Server,
    every_backend,
    multipart,
)

BODY, FORM = multipart([("attachment", "a.txt", "text/plain", b"hello")])
LINE_BREAK = f"{ATTACHMENT}%0A"


class Watched(AnyStorage):
    """A store that looks at the database while it is asked for something."""

    look: Callable[[], int]
    seen: list[int]

    def mark(self) -> Any:
        self.seen.append(self.look())
        return super().mark()

    def open_writer(self, key: str, **how: Any) -> Any:
        self.seen.append(self.look())
        return super().open_writer(key, **how)


def test_a_small_upload_holds_no_connection_while_the_store_works(
    on_postgresql: Callable[..., Server], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = on_postgresql()
    monkeypatch.setattr(server.app, "lint", False)  # It would hide that the body is in memory.
    plugin = server.registry.attachments
    kind: Any = type("WatchedStore", (Watched, type(plugin.store)), {})
    store = kind.__new__(kind)
    vars(store).update(vars(plugin.store), seen=[], look=database.idle_in_transaction)
    server.registry.attachments = dataclasses.replace(plugin, store=store)

    server.as_user().make_collection()
    server.as_user().upload(status=201)

    assert store.seen
    assert set(store.seen) == {0}


@every_backend()
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_line_break_that_ends_the_url_is_passed_over_as_kinto_does(
    owner: Client, method: str
) -> None:
    kind = {"POST": FORM, "PUT": "text/plain"}[method]
    owner.request(method, LINE_BREAK, 201, body=BODY, headers={"Content-Type": kind})
    etag = owner.get(RECORD).headers["ETag"]

    owner.delete(LINE_BREAK, 204, If_Match=etag)
    owner.delete(LINE_BREAK, 404)

    owner.server.assert_agreement()
    assert owner.server.stored_keys() == set()


def test_a_line_break_that_ends_the_url_is_passed_over_in_the_default_bucket(
    make_server: Callable[..., Server],
) -> None:
    owner = make_server(
        {"kinto.includes": "kinto.plugins.default_bucket kinto_attachment"}
    ).as_user()
    path = "/buckets/default/collections/c/records/r/attachment%0A"

    owner.put(path, b"hello", 201, Content_Type="text/plain")

    assert owner.get(path, 200).body == b"hello"


def test_a_user_whom_a_middleware_names_may_upload_as_he_may_write(
    make_server: Callable[..., Server],
) -> None:
    policy = "pyramid.authentication.RepozeWho1AuthenticationPolicy"
    server = make_server({"multiauth.policies": "who", "multiauth.policy.who.use": policy})
    who = {"repoze.who.identity": {"repoze.who.userid": "zoe"}, "repoze.who.plugins": {}}
    zoe = server.as_user(None)

    def ask(method: str, path: str, **how: Any) -> None:
        zoe.request(method, path, 201, environ=who, **how)

    for path in ("/buckets/pictures", COLLECTION):
        ask("PUT", path)
    ask("POST", ATTACHMENT, body=BODY, headers={"Content-Type": FORM})

    server.assert_agreement()


@pytest.mark.parametrize("length", [200, 255, 300, 950])
@pytest.mark.parametrize("randomize", ["true", "false"])
def test_ids_of_any_length_in_a_folder_make_keys_that_stores_take(
    make_server: Callable[..., Server], length: int, randomize: str
) -> None:
    server = make_server(
        {
            "kinto.attachment.folder": "{bucket_id}/{collection_id}",
            "kinto.attachment.randomize": randomize,
        }
    )
    owner = server.as_user()
    for last in "ab":  # The ids differ in their last letter only.
        bucket, collection = "B" * length, "c" * (length - 1) + last
        uri = f"/buckets/{bucket}/collections/{collection}"
        owner.make_collection(uri)

        owner.upload(f"{uri}/records/r/attachment", filename="photo" * 40 + ".jpg", status=201)

    assert len({key.split("/")[1] for key in server.stored_keys()}) == 2
    server.assert_agreement()
