"""Uploads in several requests: every dialect, on each storage and store."""

import base64
import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from kinto_attachment.rows import upload_rows_of
from tests.support.parts import ATTACHMENT, BUCKET, COLLECTION, RECORD, Client, Server

UPLOADS = f"{ATTACHMENT}/uploads"
CONTENT = random.Random(1).randbytes(100_000)
ON = {"kinto.attachment.uploads": "true", "kinto.attachment.extensions": "any"}

pytestmark = [
    pytest.mark.parametrize(
        ("backend", "store"),
        [("memory", "local_store"), ("postgresql", "local_store"), ("postgresql", "s3_store")],
        indirect=True,
    )
]


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    made = make_server(ON)
    made.as_user().make_collection()
    return made


class Dialect:
    """One way to say the same."""

    def create(self, client: Client, length: int | None, status: Any = 201, **headers: str) -> Any:
        raise NotImplementedError

    def send(
        self,
        client: Client,
        url: str,
        offset: int,
        content: bytes,
        last: bool,
        status: Any = "2*",
        **more: str,
    ) -> Any:
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        return {}

    def head(self, client: Client, url: str, status: Any = None) -> Any:
        return client.request("HEAD", url, status, headers=self.headers())

    def stop(self, client: Client, url: str, status: Any = None) -> Any:
        return client.request("DELETE", url, status, headers=self.headers())


class Tus(Dialect):
    done = (204,)

    def headers(self) -> dict[str, str]:
        return {"Tus-Resumable": "1.0.0"}

    def create(self, client: Client, length: int | None, status: Any = 201, **headers: str) -> Any:
        said = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        named = {"Upload-Metadata": metadata(filename="a.jpg"), **said, **self.headers()}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        return client.request("POST", UPLOADS, status, headers=named)

    def send(
        self,
        client: Client,
        url: str,
        offset: int,
        content: bytes,
        last: bool,
        status: Any = "2*",
        **more: str,
    ) -> Any:
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        if last:
            headers["Upload-Length"] = str(offset + len(content))
        headers |= {**self.headers(), **{k.replace("_", "-"): v for k, v in more.items()}}
        return client.request("PATCH", url, status, headers=headers, body=content)


class Draft(Dialect):
    done = (200, 201)

    def __init__(self, version: str) -> None:
        self.version = version

    def headers(self) -> dict[str, str]:
        return {"Upload-Draft-Interop-Version": self.version}

    def create(self, client: Client, length: int | None, status: Any = 201, **headers: str) -> Any:
        named = {"Upload-Complete": "?0", "Content-Type": "application/octet-stream"}
        named["Content-Disposition"] = 'inline; filename="a.jpg"'
        if length is not None:
            named["Upload-Length"] = str(length)
        named |= {**self.headers(), **{k.replace("_", "-"): v for k, v in headers.items()}}
        return client.request("PUT", ATTACHMENT, status, headers=named)

    def send(
        self,
        client: Client,
        url: str,
        offset: int,
        content: bytes,
        last: bool,
        status: Any = "2*",
        **more: str,
    ) -> Any:
        headers = {
            "Upload-Offset": str(offset),
            "Content-Type": "application/partial-upload",
            "Upload-Complete": "?1" if last else "?0",
        }
        headers |= {**self.headers(), **{k.replace("_", "-"): v for k, v in more.items()}}
        return client.request("PATCH", url, status, headers=headers, body=content)


def metadata(**pairs: str) -> str:
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())


def path_of(answer: Any) -> str:
    location = answer.headers["Location"]
    assert location.startswith("https://localhost/v1/")
    return str(location.removeprefix("https://localhost/v1"))


every_dialect = pytest.mark.parametrize(
    "dialect", [Tus(), Draft("8"), Draft("6")], ids=["tus", "draft-8", "draft-6"]
)


def assert_nothing_left(server: Server) -> None:
    """No bytes of unfinished uploads, and record, link and file agree."""
    server.assert_agreement()
    if server.files is not None:
        folder = server.files / ".kinto-attachment-uploads"
        assert not folder.exists() or list(folder.iterdir()) == []


@every_dialect
@pytest.mark.parametrize("deferred", [False, True], ids=["announced", "deferred"])
def test_a_file_comes_in_pieces(
    owner: Client, server: Server, dialect: Any, deferred: bool
) -> None:
    url = path_of(dialect.create(owner, None if deferred else len(CONTENT)))
    assert dialect.head(owner, url).headers["Upload-Offset"] == "0"

    for start, stop in ((0, 1), (1, 40_000), (40_000, 99_999)):
        answer = dialect.send(owner, url, start, CONTENT[start:stop], False, 204)
        assert answer.headers["Upload-Offset"] == str(stop)
        found = dialect.head(owner, url)
        assert found.headers["Upload-Offset"] == str(stop)
        assert found.headers["Cache-Control"] == "no-store"
        owner.get(RECORD, 404)
    answer = dialect.send(owner, url, 99_999, CONTENT[99_999:], True)

    assert answer.status_code in dialect.done
    assert answer.headers["Upload-Offset"] == "100000"
    assert answer.headers["Location"] == f"https://localhost/v1{RECORD}"
    assert answer.headers["ETag"] == owner.get(RECORD).headers["ETag"]
    said = owner.get(RECORD).json["data"]["attachment"]
    assert said["hash"] == hashlib.sha256(CONTENT).hexdigest()
    assert said["filename"] == "a.jpg"
    assert owner.get(ATTACHMENT).body == CONTENT
    assert dialect.head(owner, url).headers["Upload-Offset"] == "100000"
    assert_nothing_left(server)


@every_dialect
def test_a_wrong_offset_changes_nothing_and_says_the_right_one(
    owner: Client, server: Server, dialect: Any
) -> None:
    url = path_of(dialect.create(owner, 10))
    dialect.send(owner, url, 0, b"01234", False, 204)

    for offset in (0, 4, 6, 9):
        answer = dialect.send(owner, url, offset, b"x", False, 409)
        assert answer.headers["Upload-Offset"] == "5"

    dialect.send(owner, url, 5, b"56789", True)
    assert owner.get(ATTACHMENT).body == b"0123456789"
    assert_nothing_left(server)


@every_dialect
def test_only_who_began_it_sees_an_upload(
    owner: Client, other: Client, server: Server, dialect: Any
) -> None:
    owner.json("patch", COLLECTION, {"permissions": {"write": [other.principal]}})
    url = path_of(dialect.create(owner, 10))

    dialect.head(other, url, 404)
    dialect.send(other, url, 0, b"0123456789", True, 404)
    dialect.stop(other, url, 404)
    dialect.head(server.as_user(None), url, 401)

    dialect.send(owner, url, 0, b"0123456789", True)
    assert owner.get(ATTACHMENT).body == b"0123456789"
    assert_nothing_left(server)


@every_dialect
@pytest.mark.parametrize("url", ["x", "..%2F..%2Fetc", "0" * 32, "0" * 31 + "%0A"])
def test_an_unknown_upload_is_not_found(owner: Client, dialect: Any, url: str) -> None:
    for answer in (
        dialect.head(owner, f"{UPLOADS}/{url}", 404),
        dialect.send(owner, f"{UPLOADS}/{url}", 0, b"x", False, 404),
        dialect.stop(owner, f"{UPLOADS}/{url}", 404),
    ):
        assert "Upload-Offset" not in answer.headers


@every_dialect
def test_an_upload_that_is_given_up_leaves_nothing(
    owner: Client, server: Server, dialect: Any
) -> None:
    url = path_of(dialect.create(owner, 10))
    dialect.send(owner, url, 0, b"01234", False, 204)

    dialect.stop(owner, url, 204)

    for status in (404,):
        dialect.head(owner, url, status)
        dialect.send(owner, url, 5, b"56789", True, status)
        dialect.stop(owner, url, status)
    owner.get(RECORD, 404)
    assert_nothing_left(server)
    assert server.stored_keys() == set()


@every_dialect
def test_a_finished_upload_is_not_deleted_but_forgotten_with_its_file(
    owner: Client, server: Server, dialect: Any
) -> None:
    url = path_of(dialect.create(owner, 3))
    dialect.send(owner, url, 0, b"abc", True)

    dialect.stop(owner, url, 409)
    assert owner.get(ATTACHMENT).body == b"abc"
    owner.upload(content=b"another", filename="b.jpg")

    dialect.head(owner, url, 404)
    assert owner.get(ATTACHMENT).body == b"another"
    assert_nothing_left(server)


@every_dialect
def test_a_record_that_is_refused_ends_the_upload(
    make_server: Callable[..., Server], dialect: Any
) -> None:
    server = make_server(ON)
    owner = server.as_user()
    schema = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
    owner.make_collection(data={"schema": schema})
    url = path_of(dialect.create(owner, 3))
    dialect.send(owner, url, 0, b"ab", False, 204)

    answer = dialect.send(owner, url, 2, b"c", True, 400)

    assert "title" in answer.json["message"]
    for answer in (dialect.head(owner, url, 410), dialect.send(owner, url, 2, b"c", True, 410)):
        assert "Upload-Offset" not in answer.headers
    owner.get(RECORD, 404)
    assert_nothing_left(server)
    assert server.stored_keys() == set()


@every_dialect
def test_preconditions_of_the_beginning_count_at_the_end(
    owner: Client, server: Server, dialect: Any
) -> None:
    url = path_of(dialect.create(owner, 3, If_None_Match="*"))
    owner.json("put", RECORD, {"data": {"title": "meanwhile"}})

    dialect.send(owner, url, 0, b"abc", True, 412)

    dialect.head(owner, url, 410)
    assert "attachment" not in owner.get(RECORD).json["data"]
    assert_nothing_left(server)
    dialect.create(owner, 3, 412, If_None_Match="*")


@every_dialect
def test_a_passing_fault_at_the_end_acknowledges_nothing(
    owner: Client, server: Server, dialect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinto_attachment.storage import StoreUnavailable

    def away(self: Any, key: str) -> Any:
        raise StoreUnavailable("away")

    url = path_of(dialect.create(owner, 6))
    dialect.send(owner, url, 0, b"abc", False, 204)
    with monkeypatch.context() as broken:
        broken.setattr(type(server.registry.attachments.store), "stat", away)
        dialect.send(owner, url, 3, b"def", True, 503)

    found = dialect.head(owner, url)
    assert found.headers["Upload-Offset"] == "5"
    assert found.headers.get("Upload-Complete", "?0") == "?0"
    owner.get(RECORD, 404)
    assert dialect.send(owner, url, 5, b"f", True).status_code in dialect.done
    assert owner.get(ATTACHMENT).body == b"abcdef"
    assert_nothing_left(server)


@every_dialect
def test_another_last_byte_ends_the_upload(
    owner: Client, server: Server, dialect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kinto_attachment.storage import StoreUnavailable

    def away(self: Any, key: str) -> Any:
        raise StoreUnavailable("away")

    url = path_of(dialect.create(owner, 3))
    with monkeypatch.context() as broken:
        broken.setattr(type(server.registry.attachments.store), "stat", away)
        dialect.send(owner, url, 0, b"abc", True, 503)

    dialect.send(owner, url, 2, b"x", True, 400)

    dialect.head(owner, url, 410)
    assert_nothing_left(server)
    assert server.stored_keys() == set()


@every_dialect
@pytest.mark.parametrize("size", [0, 1])
def test_a_small_file_has_no_special_rules(
    owner: Client, server: Server, dialect: Any, size: int
) -> None:
    answer = dialect.create(owner, size)
    url = path_of(answer)
    if size or not isinstance(dialect, Tus):
        assert dialect.head(owner, url).headers["Upload-Offset"] == "0"
        dialect.send(owner, url, 0, b"x" * size, True)

    assert owner.get(ATTACHMENT).body == b"x" * size
    assert dialect.head(owner, url).headers["Upload-Offset"] == str(size)
    assert_nothing_left(server)


@every_dialect
def test_limits_hold_at_the_beginning_and_while_bytes_come(
    make_server: Callable[..., Server], dialect: Any
) -> None:
    server = make_server({**ON, "kinto.attachment.max_size_bytes": "10"})
    owner = server.as_user()
    owner.make_collection()

    dialect.create(owner, 11, 413)
    url = path_of(dialect.create(owner, None))
    dialect.send(owner, url, 0, b"0123456789", False, 204)
    dialect.send(owner, url, 10, b"x", False, 413)

    dialect.head(owner, url, 410)
    assert_nothing_left(server)


@every_dialect
def test_one_user_has_only_so_many_uploads(
    make_server: Callable[..., Server], dialect: Any
) -> None:
    server = make_server({**ON, "kinto.attachment.max_uploads_per_user": "2"})
    owner = server.as_user()
    owner.make_collection()
    urls = [path_of(dialect.create(owner, 10)) for _ in range(2)]

    refused = dialect.create(owner, 10, 429)
    assert int(refused.headers["Retry-After"]) > 0
    dialect.stop(owner, urls[0], 204)

    dialect.create(owner, 10)


@every_dialect
def test_unfinished_bytes_have_a_bound(make_server: Callable[..., Server], dialect: Any) -> None:
    server = make_server({**ON, "kinto.attachment.max_unfinished_bytes": "15"})
    owner = server.as_user()
    owner.make_collection()
    dialect.create(owner, 10)

    dialect.create(owner, 10, 507)

    dialect.create(owner, 5)


@every_dialect
def test_rows_survive_their_bucket_and_gc_takes_them_when_they_expire(
    make_server: Callable[..., Server], dialect: Any
) -> None:
    server = make_server({**ON, "kinto.attachment.upload_max_age": "0"})
    owner = server.as_user()
    owner.make_collection()
    url = path_of(dialect.create(owner, 10))
    dialect.head(owner, url, 410)
    owner.delete(BUCKET, 200)
    dialect.head(owner, url, "40*")
    rows = upload_rows_of(server.registry.storage)
    assert len([upload for page in rows.everything() for upload in page]) == 1

    from kinto_attachment.maintenance.garbage import Collector, GarbageReport

    Collector(server.registry, 0).act(GarbageReport())

    assert [upload for page in rows.everything() for upload in page] == []
    assert_nothing_left(server)


def test_a_promised_digest_is_checked_at_the_end(owner: Client, server: Server) -> None:
    for digest, status in ((CONTENT, 204), (b"other", 400)):
        said = metadata(filename="a.jpg", sha256=hashlib.sha256(digest).hexdigest())
        url = path_of(Tus().create(owner, len(CONTENT), Upload_Metadata=said))
        Tus().send(owner, url, 0, CONTENT, False, status)
    Tus().head(owner, url, 410)
    assert_nothing_left(server)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_a_part_with_another_checksum_is_dropped(
    owner: Client, server: Server, algorithm: str
) -> None:
    url = path_of(Tus().create(owner, 10))
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    for content, value, status in (
        (b"01234", base64.b64encode(hashlib.new(algorithm, b"x").digest()).decode(), 460),
        (b"01234", "?", 400),
        (b"01234", base64.b64encode(hashlib.new(algorithm, b"01234").digest()).decode(), 204),
    ):
        headers["Upload-Checksum"] = f"{algorithm} {value}"
        owner.request("PATCH", url, status, headers=headers, body=content)
    assert Tus().head(owner, url).headers["Upload-Offset"] == "5"


def test_metadata_come_back_as_they_were_sent(owner: Client) -> None:
    for sent in ("", "flag,filename YS5qcGc=", metadata(filename="ä.jpg", name="x")):
        url = path_of(Tus().create(owner, 10, Upload_Metadata=sent))
        assert Tus().head(owner, url).headers["Upload-Metadata"] == sent
    for sent in ("filename ###", "a YQ==,a YQ==", "a " + "A" * 5000):
        Tus().create(owner, 10, 400, Upload_Metadata=sent)


def test_fields_and_permissions_travel_in_the_metadata(owner: Client, server: Server) -> None:
    said = metadata(
        filename="a.jpg", data='{"title": "x"}', permissions='{"read": ["system.Everyone"]}'
    )
    url = path_of(Tus().create(owner, 3, Upload_Metadata=said))
    Tus().send(owner, url, 0, b"abc", False, 204)

    record = owner.get(RECORD).json
    assert record["data"]["title"] == "x"
    assert record["permissions"]["read"] == ["system.Everyone"]


@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0"])
def test_tus_of_another_version_is_refused(owner: Client, version: str | None) -> None:
    headers = {"Upload-Length": "3"} | ({"Tus-Resumable": version} if version else {})
    answer = owner.request("POST", UPLOADS, 412, headers=headers)
    assert answer.headers["Tus-Version"] == "1.0.0"


def test_what_is_offered_is_told_without_an_origin(owner: Client) -> None:
    answer = owner.request("OPTIONS", UPLOADS, 204)
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert "creation-with-upload" in answer.headers["Tus-Extension"].split(",")
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"
    assert "max-age=86400" in answer.headers["Upload-Limit"]
    assert "Upload-Limit" in owner.request("OPTIONS", ATTACHMENT, 204).headers


def test_pages_of_other_origins_may_use_it(owner: Client) -> None:
    url = path_of(Tus().create(owner, 3))
    for method in ("HEAD", "PATCH", "DELETE", "POST"):
        answer = owner.request(
            "OPTIONS",
            url,
            200,
            headers={
                "Origin": "https://example.org",
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": "tus-resumable,upload-offset",
            },
        )
        assert method in answer.headers["Access-Control-Allow-Methods"]
    answer = owner.request(
        "HEAD", url, 200, headers={"Origin": "https://example.org", **Tus().headers()}
    )
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    assert {"upload-offset", "upload-length", "location"} <= set(exposed.split(", "))


def test_a_file_may_come_with_its_creation(owner: Client, server: Server) -> None:
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "6",
        "Content-Type": "application/offset+octet-stream",
    }
    part = owner.request("POST", UPLOADS, 201, headers=headers, body=b"abc")
    assert part.headers["Upload-Offset"] == "3"
    Tus().send(owner, path_of(part), 3, b"def", False, 204)
    assert owner.get(ATTACHMENT).body == b"abcdef"

    whole = owner.request("POST", UPLOADS, 201, headers=headers, body=b"ghijkl")
    assert whole.headers["Upload-Offset"] == "6"
    assert path_of(whole).startswith(UPLOADS)
    assert owner.get(ATTACHMENT).body == b"ghijkl"
    assert_nothing_left(server)


def test_who_can_only_post_says_the_method_in_a_header(owner: Client) -> None:
    url = path_of(Tus().create(owner, 3))
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "X-HTTP-Method-Override": "PATCH",
    }
    owner.request("POST", url, 204, headers=headers, body=b"abc")
    assert owner.get(ATTACHMENT).body == b"abc"
    owner.request("POST", url, 405, headers={"Tus-Resumable": "1.0.0"})


def test_a_whole_upload_of_the_draft_stays_a_plain_one(owner: Client, server: Server) -> None:
    headers = {"Upload-Complete": "?1", "Content-Type": "image/jpeg"}
    answer = owner.request("PUT", ATTACHMENT, 201, headers=headers, body=b"abc")
    assert answer.headers["Upload-Complete"] == "?1"
    assert answer.headers["Location"] == f"https://localhost/v1{RECORD}"
    assert (
        "Upload-Complete" not in owner.put(ATTACHMENT, b"abc", Content_Type="image/jpeg").headers
    )


def test_a_lost_last_answer_is_given_again(owner: Client) -> None:
    draft = Draft("8")
    url = path_of(draft.create(owner, 3))
    first = draft.send(owner, url, 0, b"abc", True)

    again = draft.send(owner, url, 0, b"abc", True)

    assert (again.status_code, again.json) == (first.status_code, first.json)
    assert again.headers["Upload-Complete"] == "?1"


def test_all_bytes_of_the_draft_may_come_before_its_end(owner: Client, server: Server) -> None:
    draft = Draft("8")
    url = path_of(draft.create(owner, 3))
    draft.send(owner, url, 0, b"abc", False, 204)
    assert draft.head(owner, url).headers["Upload-Offset"] == "3"

    answer = draft.send(owner, url, 3, b"", True)

    assert answer.json["size"] == 3
    assert_nothing_left(server)


def test_problems_of_the_draft_have_their_type(owner: Client) -> None:
    draft = Draft("8")
    url = path_of(draft.create(owner, 3))
    answer = draft.send(owner, url, 2, b"c", True, 409)
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"].endswith("#mismatching-upload-offset")
    assert (answer.json["expected-offset"], answer.json["provided-offset"]) == (0, 2)

    answer = draft.send(owner, url, 0, b"too long", True, 400)
    assert answer.json["type"].endswith("#inconsistent-upload-length")
    draft.head(owner, url, 410)


def test_without_the_setting_a_part_is_never_taken_for_the_whole(
    make_server: Callable[..., Server],
) -> None:
    server = make_server({"kinto.attachment.uploads": "false"})
    owner = server.as_user()
    owner.make_collection()

    answer = Draft("8").create(owner, 3, 400)

    assert answer.json["details"]["reason"] == "uploads_off"
    owner.request("POST", UPLOADS, 404, headers=Tus().headers())
    server.assert_agreement()


@every_dialect
def test_html_that_is_called_a_picture_is_refused_at_its_first_bytes(
    owner: Client, server: Server, dialect: Any
) -> None:
    named = {"Upload_Metadata": metadata(filename="a.png")}
    if not isinstance(dialect, Tus):
        named = {"Content_Disposition": 'inline; filename="a.png"', "Content_Type": "image/png"}
    url = path_of(dialect.create(owner, 100, **named))

    dialect.send(owner, url, 0, b"<html><script>", False, 400)

    dialect.head(owner, url, 410)
    assert_nothing_left(server)


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_requests_keeps_what_was_acknowledged(
    owner: Client, server: Server, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(3):
        dialect: Any = chance.choice([Tus(), Draft("8")])
        length = chance.randrange(1, 50_000)
        content, acknowledged = CONTENT[:length], 0
        url = path_of(dialect.create(owner, chance.choice([length, None])))
        while acknowledged < length:
            begin = chance.choice([acknowledged, acknowledged, 0, length])
            end = chance.randrange(begin, length) + 1 if begin < length else length
            last = end == length
            answer = dialect.send(owner, url, begin, content[begin:end], last, "*")
            told = int(answer.headers["Upload-Offset"])
            if begin == acknowledged:
                assert answer.status_code in (200, 201, 204)
                assert told == end
                acknowledged = end
            else:
                assert (answer.status_code, told) == (409, acknowledged)
            assert dialect.head(owner, url).headers["Upload-Offset"] == str(acknowledged)
        assert owner.get(ATTACHMENT).body == content
        server.assert_agreement()


@every_dialect
@pytest.mark.parametrize(
    ("offset", "body"),
    [(0, b"xyz"), (3, b"more"), (99, b""), (0, b"ab"), (2, b"d"), (2, b"cd")],
    ids=str,
)
def test_no_success_is_told_for_bytes_that_come_after_the_end(
    owner: Client, dialect: Dialect, offset: int, body: bytes
) -> None:
    url = path_of(dialect.create(owner, 3))
    dialect.send(owner, url, 0, b"abc", True)

    dialect.send(owner, url, offset, body, True, 409)

    assert owner.get(ATTACHMENT).body == b"abc"


@every_dialect
@pytest.mark.parametrize("offset", [0, 2, 3])
def test_the_end_may_be_sent_once_more_where_its_answer_was_lost(
    owner: Client, dialect: Dialect, offset: int
) -> None:
    url = path_of(dialect.create(owner, 3))
    dialect.send(owner, url, 0, b"abc", True)

    answer = dialect.send(owner, url, offset, b"abc"[offset:], True)

    assert answer.headers["Upload-Offset"] == "3"


@every_dialect
def test_coded_bytes_are_refused_and_the_upload_goes_on(owner: Client, dialect: Dialect) -> None:
    url = path_of(dialect.create(owner, 3))

    dialect.send(owner, url, 0, b"abc", True, 415, Content_Encoding="gzip")

    assert dialect.head(owner, url).headers["Upload-Offset"] == "0"
    dialect.send(owner, url, 0, b"abc", True)
    assert owner.get(ATTACHMENT).body == b"abc"
