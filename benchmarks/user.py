"""A client that keeps its connection."""

import os
from typing import Any

import requests

from benchmarks.servers import Measured
from tests.support.parts import multipart

AUTH = ("user", "secret")
COLLECTION = "/v1/buckets/bench/collections/album"
SMALL = os.urandom(20 * 1024)
FORM, KIND = multipart([("attachment", "photo.jpg", "image/jpeg", SMALL)])


class User:
    """One client with a connection that is kept."""

    def __init__(self, server: Measured) -> None:
        self._session = requests.Session()
        self._session.auth = AUTH
        self._origin = server.origin

    def __call__(self, method: str, path: str, *accepted: int, **how: Any) -> int:
        answer = self._session.request(method, f"{self._origin}{path}", **how)
        assert not accepted or answer.status_code in accepted, answer.text
        return answer.status_code

    def upload(self, record: str, *accepted: int) -> int:
        headers = {"Content-Type": KIND}
        return self("POST", f"{record}/attachment", *accepted, data=FORM, headers=headers)

    def put(self, record: str) -> None:
        body = {"data": {"attachment_like": {"size": 1, "hash": "0" * 64, "filename": "x"}}}
        self("PUT", record, 200, 201, json=body)

    def make(self, collection: str = COLLECTION) -> None:
        self("PUT", collection.rpartition("/collections")[0], 200, 201)
        self("PUT", collection, 200, 201)
