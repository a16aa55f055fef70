"""The request's body, read once: any form that is none is refused, and nothing else happens."""

import base64
import contextlib
import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyramid.request import Request

from kinto_attachment import settings
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import (
    Attachment,
    ExpectedDigest,
    FilePart,
    StoredAttachment,
)
from kinto_attachment.http.received import bodies, forms, raw_files
from kinto_attachment.http.received.bodies import Body
from kinto_attachment.storage import CHUNK_SIZE
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.targets import Target
from tests.support.parts import multipart, take_in

TARGET = Target("pictures", "album", "first")
TYPE = "multipart/form-data; boundary=frontier"
CONTENT = b"\r\n--frontie\r\n\r--\0\xff\n--frontier\r\r\n-"
"""What a parser could take for a boundary, and is none."""

DATA = ("data", None, None, '{"title": "日本"}'.encode())
PERMISSIONS = ("permissions", None, "application/json", b'{"read": ["system.Everyone"]}')
FILE = ("attachment", "photo.jpg", "image/jpeg", CONTENT)
FIELDS = {"data": {"title": "日本"}, "permissions": {"read": ["system.Everyone"]}}
SMALL, _ = multipart([DATA, FILE, PERMISSIONS])


class Trickle:
    """A body that arrives in pieces of at most ``step`` bytes, and then ends or breaks."""

    def __init__(self, body: bytes, step: int, broken: BaseException | None = None) -> None:
        self._body, self._step, self._broken = body, step, broken
        self.at = 0

    def read(self, size: int) -> bytes:
        if self._broken and self.at == len(self._body):
            raise self._broken
        piece = self._body[self.at : self.at + min(size, self._step)]
        self.at += len(piece)
        return piece


def request(stream: Any, length: Any = None, **headers: str) -> Request:
    """A request with a body of ``length`` bytes; chunked where it is None."""
    made = Request.blank("/", method="POST")
    made.environ["wsgi.input"] = stream
    made.environ.pop("CONTENT_LENGTH", None)
    if length is None:
        made.environ["wsgi.input_terminated"] = True
        made.headers["Transfer-Encoding"] = "chunked"
    else:
        made.environ["CONTENT_LENGTH"] = str(length)
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    return made


@dataclass
class Form:
    """What a view makes of a form's parts."""

    stored: StoredAttachment
    fields: dict[str, Any]


def read_form(body: Body, store: Callable[[FilePart], StoredAttachment], kind: str = TYPE) -> Form:
    stored, fields = None, {}
    for part in forms.parts(body, kind):
        if isinstance(part, forms.Field):
            fields[part.name] = part.value
        else:
            stored = store(part)
    if stored is None:
        raise Refused("missing_file")
    return Form(stored, fields)


class Receiver:
    """A real store in a directory, and what was put there."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings.parse({"attachment.extensions": "any"})
        self.storage = LocalFileStorage(str(folder), fsync=False)
        self.folder = folder
        self.stored: list[StoredAttachment] = []

    def __call__(self, part: FilePart) -> StoredAttachment:
        self.stored.append(take_in(part, TARGET, self.settings, self.storage))
        return self.stored[-1]

    def read(
        self,
        body: bytes,
        content_type: str = TYPE,
        step: int = CHUNK_SIZE,
        length: int | None = None,
        broken: BaseException | None = None,
    ) -> Form:
        stream = Trickle(body, step, broken)
        return read_form(Body(request(stream, length)), self, content_type)

    def refusal(self, *what: Any, **how: Any) -> Refused:
        with pytest.raises(Refused) as caught:
            self.read(*what, **how)
        self.assert_only_stored()
        assert str(caught.value)
        return caught.value

    def content(self, form: Form) -> bytes:
        return b"".join(self.storage.open(form.stored.key))

    def assert_only_stored(self) -> None:
        """On the disk is what ``store`` answered, and nothing half-written."""
        found = {path.name for path in self.folder.rglob("*") if path.is_file()}
        assert found == {stored.key for stored in self.stored}

    def forget(self) -> None:
        for stored in self.stored:
            self.storage.delete(stored.key)
        self.stored.clear()


@pytest.fixture
def receiver(tmp_path: Path) -> Receiver:
    return Receiver(tmp_path / "files")


def filename_of(receiver: Receiver, options: bytes) -> str:
    """The file's name, from the options of its Content-Disposition."""
    head = b'--frontier\r\nContent-Disposition: form-data; name="attachment"'
    form = receiver.read(head + options + b"\r\n\r\nx\r\n--frontier--\r\n")
    return form.stored.attachment.filename


# What a form may be


@pytest.mark.parametrize("order", list(itertools.permutations([DATA, FILE, PERMISSIONS])))
def test_the_parts_may_come_in_any_order(order: Any, receiver: Receiver) -> None:
    form = receiver.read(multipart(list(order))[0])

    assert form.fields == FIELDS
    assert receiver.content(form) == CONTENT
    assert form.stored.attachment.hash == hashlib.sha256(CONTENT).hexdigest()
    assert (form.stored.attachment.filename, form.stored.attachment.mimetype) == (
        "photo.jpg",
        "image/jpeg",
    )


def test_a_file_is_enough(receiver: Receiver) -> None:
    form = receiver.read(multipart([FILE])[0])

    assert form.fields == {}
    assert receiver.content(form) == CONTENT


def test_an_empty_file_is_a_file(receiver: Receiver) -> None:
    form = receiver.read(multipart([("attachment", "a.txt", None, b"")])[0])

    assert form.stored.attachment.size == 0
    assert form.stored.attachment.hash == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("step", [*range(1, 70), len(SMALL) - 1, len(SMALL)])
@pytest.mark.parametrize("length", [len(SMALL), None], ids=["length", "chunked"])
def test_a_form_may_arrive_in_pieces_of_any_size(
    step: int, length: int | None, receiver: Receiver
) -> None:
    form = receiver.read(SMALL, step=step, length=length)

    assert form.fields == FIELDS
    assert receiver.content(form) == CONTENT


def test_a_form_may_be_cut_in_two_pieces_anywhere(receiver: Receiver) -> None:
    for cut in range(1, len(SMALL)):
        pieces = iter([SMALL[:cut], SMALL[cut:], b""])

        class Two:
            def read(self, size: int, pieces: Iterator[bytes] = pieces) -> bytes:
                return next(pieces)

        form = read_form(Body(request(Two(), len(SMALL))), receiver)

        assert form.fields == FIELDS, cut
        assert receiver.content(form) == CONTENT, cut


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, CHUNK_SIZE])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is MIME.\r\n", b"--fron\r\n\r\r\n"])
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"\r\nThe end\r\n--frontier\r\n"])
def test_what_is_before_and_after_the_form_is_passed_over(
    preamble: bytes, epilogue: bytes, step: int, receiver: Receiver
) -> None:
    body = preamble + SMALL.removesuffix(b"\r\n") + epilogue

    form = receiver.read(body, step=step, length=len(body))

    assert form.fields == FIELDS
    assert receiver.content(form) == CONTENT


def test_a_body_is_never_read_beyond_its_length(receiver: Receiver) -> None:
    stream = Trickle(SMALL + b"GET / HTTP/1.1\r\n", 64)

    read_form(Body(request(stream, len(SMALL))), receiver)

    assert stream.at <= len(SMALL)


def test_the_stream_is_taken_from_the_request() -> None:
    """An error reporter that reads the body later finds an empty one."""
    made = request(Trickle(SMALL, 64), len(SMALL))

    body = Body(made)

    assert made.body == b""
    assert made.environ["wsgi.input"].read() == b""
    assert b"".join(body.chunks()) == SMALL


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=frontier",
        'multipart/form-data; boundary="frontier"',
        "Multipart/Form-Data;boundary=frontier",
        "multipart/form-data; charset=utf-8; BOUNDARY=frontier",
    ],
)
def test_the_boundary_may_be_written_in_every_usual_way(
    content_type: str, receiver: Receiver
) -> None:
    assert receiver.content(receiver.read(SMALL, content_type)) == CONTENT


@pytest.mark.parametrize("boundary", ["b", "-" * 27 + "735323031399963166993862150", "x" * 70])
def test_a_boundary_has_up_to_70_characters(boundary: str, receiver: Receiver) -> None:
    form = receiver.read(*multipart([FILE], boundary))

    assert receiver.content(form) == CONTENT


# The file's name


@pytest.mark.parametrize(
    ("options", "filename"),
    [
        ('; filename="photo.jpg"', "photo.jpg"),
        ("; filename=photo.jpg", "photo.jpg"),
        (';filename="photo.jpg"', "photo.jpg"),
        ('; FileName="photo.jpg"', "photo.jpg"),
        ('; filename="日本.txt"', "日本.txt"),
        ('; filename="e\u0301 😀.txt"', "e\u0301 😀.txt"),
        ('; filename="a b; c.txt"', "a b; c.txt"),
        ('; filename="a=b.txt"', "a=b.txt"),
        ('; filename="say %22hi%22.txt"', 'say "hi".txt'),
        ('; filename="say \\"hi\\".txt"', 'say "hi".txt'),
        ('; filename="100%.txt"', "100%.txt"),
        ('; filename="a%20b.txt"', "a%20b.txt"),
        ('; filename="a%0D%0Ab.txt"', "ab.txt"),
        ('; filename="C:\\Pictures\\photo.jpg"', "photo.jpg"),
        ('; filename="../../photo.jpg"', "photo.jpg"),
        ('; filename="a/b\\photo.jpg"', "photo.jpg"),
        ('; filename=""', "first"),
        ('; filename=".."', "first"),
        ("", "first"),
        ('; filename="x; filename=evil.exe"', "x; filename=evil.exe"),
    ],
)
def test_the_name_of_the_file_is_read(options: str, filename: str, receiver: Receiver) -> None:
    assert filename_of(receiver, options.encode()) == filename


@pytest.mark.parametrize(
    ("options", "filename"),
    [
        ("; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt", "日本.txt"),
        ("; filename*=utf-8'ja'%E6%97%A5.txt", "日.txt"),
        ("; filename=plain.txt; filename*=UTF-8''%E6%97%A5.txt", "日.txt"),
        ("; filename*=UTF-8''%E6%97%A5.txt; filename=plain.txt", "日.txt"),
        ("; filename*=ISO-8859-1''%E9t%E9.txt", "été.txt"),
        ("; filename*=UTF-8''it%27s.txt", "it's.txt"),
        ("; filename*=UTF-8''..%2F..%2Fa%00.txt", "a.txt"),
    ],
)
def test_an_encoded_name_comes_before_the_plain_one(
    options: str, filename: str, receiver: Receiver
) -> None:
    assert filename_of(receiver, options.encode()) == filename


@pytest.mark.parametrize(
    "encoded",
    ["UTF-8''%FF%FE.txt", "nonsense''a.txt", "hex''41.txt", "UTF-8", "UTF-8'", "%", "''"],
)
def test_an_encoded_name_that_cannot_be_read_leaves_the_plain_one(
    encoded: str, receiver: Receiver
) -> None:
    options = f"; filename=plain.txt; filename*={encoded}"

    assert filename_of(receiver, options.encode()) == "plain.txt"


@pytest.mark.parametrize(
    "options",
    [
        "; filename*=undefined''%41.txt",
        "; filename*=idna''xn--%80.txt",
        "; filename*=punycode''%FF.txt",
        "; filename*=unicode_escape''%5Cq.txt",
        "; filename*=rot13''%41.txt",
        "; filename*=\0''%41.txt",
        "; filename*=%00''%41.txt",
        "; filename*=utf-8''a; filename*0=b",
        "; filename*0=a; filename*=b",
        "; filename*0*=utf-8''a; filename*2*=b",
        "; filename*x=a",
        "; filename*1*",
        "; filename*=",
        "; filename*" + "9" * 3000 + "=a",
        '; filename*="',
    ],
    ids=ascii,
)
def test_no_encoded_name_breaks_the_reader(options: str, receiver: Receiver) -> None:
    """Each of Python's codecs has errors of its own."""
    assert filename_of(receiver, options.encode())
    raw(Content_Disposition=f"attachment{options}")


def test_an_endless_number_in_a_raw_name_does_not_break_the_reader() -> None:
    assert raw(Content_Disposition="attachment; filename*" + "9" * 5000 + "=a").mimetype is None


@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_name_is_read_or_none(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    names = b'attachment; filename="a\\"b.txt"; filename*=UTF-8\'de\'%E6%97%A5; filename*1*=%41'
    for _ in range(1500):
        changed = "".join(c for c in mutated(dice, names).decode("latin-1") if c.isprintable())
        with contextlib.suppress(Refused):
            name = raw(Content_Disposition=changed).filename
            assert name is None or isinstance(name, str), changed


def raw(query: str = "", **headers: str) -> FilePart:
    made = request(Trickle(b"content", 3), 7, **headers)
    made.environ["QUERY_STRING"] = query
    return raw_files.part(made, Body(made))


@pytest.mark.parametrize(
    ("disposition", "query", "filename"),
    [
        ("", "filename=photo.jpg", "photo.jpg"),
        ("", "filename=%E6%97%A5%E6%9C%AC.txt", "日本.txt"),
        ("", "", None),
        ("attachment", "", None),
        ("attachment", "filename=photo.jpg", "photo.jpg"),
        ('attachment; filename="photo.jpg"', "", "photo.jpg"),
        ('attachment; filename="photo.jpg"', "filename=other.jpg", "photo.jpg"),
        ("attachment; filename*=UTF-8''%E6%97%A5%E6%9C%AC.txt", "", "日本.txt"),
        ("attachment; filename*=UTF-8''%E6%97%A5.txt", "filename=other.jpg", "日.txt"),
        ("attachment; filename=\"x.txt\"; filename*=UTF-8''%E6%97%A5.txt", "", "日.txt"),
    ],
)
def test_the_name_of_a_raw_body_is_read(
    disposition: str, query: str, filename: str | None
) -> None:
    headers = {"Content_Disposition": disposition} if disposition else {}

    assert raw(query, **headers).filename == filename


def test_a_raw_body_is_the_file() -> None:
    part = raw(Content_Type="image/png")

    assert part.mimetype == "image/png"
    assert b"".join(part.chunks) == b"content"


# What is refused


@pytest.mark.parametrize(
    ("parts", "reason", "named"),
    [
        ([], "missing_file", "attachment"),
        ([DATA, PERMISSIONS], "missing_file", "attachment"),
        ([FILE, FILE], "second_file", "attachment"),
        ([DATA, FILE, DATA], "second_file", "data"),
        ([PERMISSIONS, PERMISSIONS, FILE], "second_file", "permissions"),
        ([FILE, ("comment", "c.txt", "text/plain", b"x")], "unknown_part", "comment"),
        ([("", "", None, b""), FILE], "unknown_part", ""),
        ([("Attachment", "a.jpg", None, b"x")], "unknown_part", "Attachment"),
        ([FILE, ("{0.x}", "x", None, b"x")], "unknown_part", "{0.x}"),
        ([FILE, ("data", None, None, b"")], "bad_field", "data"),
        ([FILE, ("data", None, None, b"{")], "bad_field", "data"),
        ([FILE, ("data", None, None, b"[]")], "bad_field", "data"),
        ([FILE, ("data", None, None, b'"text"')], "bad_field", "data"),
        ([FILE, ("data", None, None, b"null")], "bad_field", "data"),
        ([FILE, ("data", None, None, b"{} {}")], "bad_field", "data"),
        ([FILE, ("data", None, None, b'{"a": NaN}')], "bad_field", "data"),
        ([FILE, ("data", None, None, b'{"a": "\\ud800"}')], "bad_field", "data"),
        ([FILE, ("data", None, None, b'{"a": "\xff"}')], "bad_field", "data"),
        ([FILE, ("permissions", None, None, b"3")], "bad_field", "permissions"),
        ([FILE, ("data", None, None, b'{"a":' + b"[" * 5000)], "bad_field", "data"),
        (
            [FILE, ("data", None, None, b'{"a":' * 5000 + b"1" + b"}" * 5000)],
            "bad_field",
            "data",
        ),
        ([FILE, *[(str(n), None, None, b"x") for n in range(64)]], "malformed_body", "count"),
    ],
    ids=lambda value: value if isinstance(value, str) else "parts",
)
def test_a_form_with_other_parts_is_refused(
    parts: Any, reason: str, named: str, receiver: Receiver
) -> None:
    refused = receiver.refusal(multipart(parts)[0] if parts else b"--frontier--\r\n")

    assert refused.reason == reason
    assert named in str(refused)


@pytest.mark.parametrize("name", ["data", "permissions"])
def test_a_field_has_its_limit(name: str, receiver: Receiver) -> None:
    def field(size: int) -> bytes:
        return b'{"a": "' + b"x" * (size - 9) + b'"}'

    fits = receiver.read(multipart([FILE, (name, None, None, field(forms.MAX_FIELD_BYTES))])[0])
    refused = receiver.refusal(
        multipart([FILE, (name, None, None, field(forms.MAX_FIELD_BYTES + 1))])[0]
    )

    assert len(fits.fields[name]["a"]) == forms.MAX_FIELD_BYTES - 9
    assert refused.reason == "field_too_large"
    assert name in str(refused)


def test_a_field_that_is_far_too_large_is_not_read_to_its_end(receiver: Receiver) -> None:
    body = multipart([("data", None, None, b" " * 16 * 1024 * 1024), FILE])[0]
    stream = Trickle(body, CHUNK_SIZE)

    with pytest.raises(Refused):
        read_form(Body(request(stream, len(body))), receiver)

    assert stream.at <= forms.MAX_FIELD_BYTES + 2 * CHUNK_SIZE


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data;",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a\nb"',
    ],
)
def test_a_content_type_without_a_usable_boundary_is_refused(
    content_type: str, receiver: Receiver
) -> None:
    assert receiver.refusal(SMALL, content_type).reason in ("bad_boundary", "malformed_body")
    assert receiver.stored == []


@pytest.mark.parametrize("boundary", ["x" * 71, "x" * 5000, '"é"', '"日本"'], ids=ascii)
def test_a_boundary_that_rfc_2046_does_not_know_is_refused(
    boundary: str, receiver: Receiver
) -> None:
    body, _ = multipart([FILE], boundary.strip('"'))

    refused = receiver.refusal(body, f"multipart/form-data; boundary={boundary}")

    assert refused.reason == "bad_boundary"


DISPOSITION = b'Content-Disposition: form-data; name="attachment"'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\r\n",
        b"no form at all",
        b"--other\r\n\r\n\r\n--other--\r\n",
        b"--frontier",
        b"--frontier\n" + DISPOSITION + b"\n\nx\n--frontier--\n",
        b"x--frontier\r\n" + DISPOSITION + b"\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontierX\r\n" + DISPOSITION + b"\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\nContent-Type: text/plain\r\n\r\nx\r\n--frontier--\r\n",
        b'--frontier\r\nContent-Disposition: file; name="attachment"\r\n\r\nx\r\n--frontier--',
        b"--frontier\r\nContent-Disposition: form-data\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + DISPOSITION + b"\r\nno colon\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + DISPOSITION + b"\r\nA\xff: b\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n folded\r\n" + DISPOSITION + b"\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + DISPOSITION + b"\r\nContent-Length: 5\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + DISPOSITION + b"\r\nContent-Length: x\r\n\r\nx\r\n--frontier--\r\n",
        b"--frontier\r\n" + DISPOSITION + b"\r\n\r\nx\r\n--frontierX\r\n",
        b"--frontier\r\n" + DISPOSITION + b"\r\n" + b"A: b\r\n" * 20 + b"\r\nx\r\n--frontier--",
        b"--frontier\r\n" + DISPOSITION + b"\r\nA: " + b"b" * 19999 + b"\r\n\r\nx\r\n--frontier--",
        b"--frontier\r\n" + b"A" * 19999,
    ],
    ids=range(21),
)
@pytest.mark.parametrize("step", [1, CHUNK_SIZE])
def test_a_body_that_is_no_form_is_refused(body: bytes, step: int, receiver: Receiver) -> None:
    receiver.refusal(body, step=step, length=len(body))
    receiver.refusal(body, step=step)
    assert receiver.stored == []


@pytest.mark.parametrize("how", ["ends", "ends early", "chunked"])
def test_a_form_cut_off_at_any_byte_is_refused(how: str, receiver: Receiver) -> None:
    lengths: dict[str, Callable[[int], int]] = {
        "ends": lambda cut: cut,
        "ends early": lambda _: len(SMALL),
    }
    length = lengths.get(how)
    for step in (7, CHUNK_SIZE):
        for cut in range(len(SMALL) - len(b"\r\n")):  # The last line break need not be there.
            receiver.refusal(SMALL[:cut], step=step, length=length(cut) if length else None)


@pytest.mark.parametrize("error", [OSError("gone"), EOFError(), ValueError("chunk"), KeyError()])
@pytest.mark.parametrize("length", [len(SMALL), None])
def test_a_client_that_is_gone_is_a_refusal_too(
    error: BaseException, length: int | None, receiver: Receiver
) -> None:
    for cut in range(0, len(SMALL) - 2, 5):
        refused = receiver.refusal(SMALL[:cut], step=16, length=length, broken=error)
        assert refused.reason == "truncated_body"


def test_a_truncated_body_says_how_much_came() -> None:
    body = Body(request(Trickle(b"12345", 2), 9))

    with pytest.raises(Refused, match="5 of 9 bytes"):
        list(body.chunks())


@pytest.mark.parametrize(
    "announced", ["", "-1", "+5", "5.0", "0x5", "five", "²", "1_0", "9" * 5000, " "]
)
def test_a_length_that_is_no_number_is_refused(announced: str) -> None:
    made = request(Trickle(b"12345", 2), announced)

    with pytest.raises(Refused):
        list(Body(made).chunks())


def test_a_chunked_body_needs_no_length() -> None:
    made = request(Trickle(b"12345", 2), Transfer_Encoding="Chunked")

    assert b"".join(Body(made).chunks()) == b"12345"


DIGEST = {"Repr_Digest": "sha-256=:AAAA:"}
BEHAVIOURS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, bool]]] = {
    # What a server says of itself; headers; which method's chunked body is taken.
    "gunicorn": ({"SERVER_SOFTWARE": "gunicorn/27"}, {}, {"PUT": True, "POST": True}),
    "waitress": ({"SERVER_SOFTWARE": "waitress"}, {}, {"PUT": True, "POST": True}),
    "granian": ({"SERVER_SOFTWARE": "Granian"}, {}, {"PUT": False, "POST": True}),
    "granian and a digest": ({"SERVER_SOFTWARE": "Granian"}, DIGEST, {"PUT": True, "POST": True}),
    # It says nothing of an end, and hands on nothing of such a body.
    "uWSGI": ({"wsgi.input_terminated": None}, {}, {"PUT": False, "POST": False}),
    "uWSGI and a digest": ({"wsgi.input_terminated": None}, DIGEST, {"PUT": False, "POST": False}),
}


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("server", BEHAVIOURS)
def test_a_chunked_body_is_taken_where_its_end_is_known(server: str, method: str) -> None:
    environ, headers, taken = BEHAVIOURS[server]
    made = request(Trickle(b"12345", 2), **headers)
    made.method = method
    made.environ.update(environ)

    if taken[method]:
        assert bodies.content_length(made) is None
    else:
        with pytest.raises(Refused) as caught:
            Body(made)
        assert caught.value.reason == "no_length"


# Random mutations


def _flip(dice: random.Random, body: bytearray) -> None:
    body[dice.randrange(len(body))] = dice.randrange(256)


def _cut(dice: random.Random, body: bytearray) -> None:
    at = dice.randrange(len(body))
    del body[at : at + dice.randint(1, 12)]


def _repeat(dice: random.Random, body: bytearray) -> None:
    at = dice.randrange(len(body))
    body[at:at] = body[dice.randrange(len(body)) :][: dice.randint(1, 60)]


def _insert(dice: random.Random, body: bytearray) -> None:
    words = [b"\r\n", b"\n", b"\r", b"--frontier", b"--", b"\r\n--frontier--", b"\0", b"\xff"]
    words += [b";", b'"', b"'", b"\\", b"%", b"=", b"filename*=UTF-8''%FF", b"{", b"[" * 2000]
    words += [b"Content-Length: 3\r\n", b"Content-Disposition: ", b'; name="data"', b": "]
    at = dice.randrange(len(body))
    body[at:at] = dice.choice(words)


def mutated(dice: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(dice.randint(1, 4)):
        dice.choice([_flip, _cut, _repeat, _insert])(dice, changed)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(5))
def test_a_mutated_form_is_a_form_or_refused(seed: int, receiver: Receiver) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    read, sentences = 0, []
    for _ in range(800):
        body, step = mutated(dice, SMALL), dice.choice([1, 3, 17, CHUNK_SIZE])
        length = dice.choice([None, len(body)])
        try:
            form = receiver.read(body, step=step, length=length)
        except Refused as error:
            sentences.append(str(error))
        else:
            assert isinstance(form, Form)
            assert all(isinstance(value, dict) for value in form.fields.values())
            read += 1
        receiver.assert_only_stored()
        receiver.forget()
    assert read
    assert sentences
    assert all(sentences)


@pytest.mark.parametrize("seed", range(3))
def test_a_mutated_content_type_is_read_or_refused(seed: int, receiver: Receiver) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(1000):
        changed = mutated(dice, b'multipart/form-data; charset=x; boundary="frontier"')
        content_type = "".join(c for c in changed.decode("latin-1") if c.isprintable())
        with contextlib.suppress(Refused):
            assert receiver.content(receiver.read(SMALL, content_type)) == CONTENT
        receiver.forget()


# Digests (RFC 9530)

SHA = hashlib.sha256(b"content").digest()
WRITTEN = f"sha-256=:{base64.b64encode(SHA).decode()}:"


@pytest.mark.parametrize("header", ["Repr-Digest", "Content-Digest"])
@pytest.mark.parametrize(
    "value",
    [
        WRITTEN,
        f" {WRITTEN} ",
        f"sha-512=:AAAA:, {WRITTEN}",
        f"{WRITTEN},md5=:AAAA:",
        WRITTEN.replace("sha", "SHA"),
        f"{WRITTEN};q=1",
        f"{WRITTEN}; q=1;a, sha-512=:AAAA:;b=?1",
        f'sha-512=:AAAA:;a="x, sha-256=y \\" ,", {WRITTEN};a=":,;"',
        f"md5=:AAAA:;q=0.5,{WRITTEN};q",
    ],
)
def test_a_promised_digest_is_read(header: str, value: str) -> None:
    made = request(Trickle(b"", 1), 0, **{header: value})

    assert bodies.expected_digest(made, header) == ExpectedDigest(header, SHA)


@pytest.mark.parametrize("value", ["", "sha-512=:AAAA:", "md5=:AAAA:, sha=x", "nonsense", ",,="])
def test_other_digests_promise_nothing(value: str) -> None:
    made = request(Trickle(b"", 1), 0, Repr_Digest=value)

    assert bodies.expected_digest(made, "Repr-Digest") is None


def test_each_header_promises_for_itself() -> None:
    made = request(Trickle(b"", 1), 0, Repr_Digest=WRITTEN)

    assert bodies.expected_digest(made, "Content-Digest") is None


@pytest.mark.parametrize(
    "value",
    [
        "sha-256",
        "sha-256=",
        "sha-256=::",
        "sha-256=:AAAA:",
        WRITTEN.replace(":", ""),
        WRITTEN[:-1],
        WRITTEN.replace("=:", "=:!"),
        WRITTEN.replace("=:", "=: "),
        "sha-256=" + SHA.hex(),
        f"sha-256=:{SHA.hex()}:",
        f"sha-256=:{base64.b64encode(SHA + b'x').decode()}:",
        "sha-256=:é:",
        "sha-256=:\xff\xfe:",
        f"{WRITTEN}q=1",
        f'{WRITTEN};q="',
        f'md5=:AAAA:;q=", {WRITTEN}',
    ],
)
def test_a_digest_that_cannot_be_read_is_refused(value: str) -> None:
    made = request(Trickle(b"", 1), 0)
    made.environ["HTTP_REPR_DIGEST"] = value

    with pytest.raises(Refused) as caught:
        bodies.expected_digest(made, "Repr-Digest")

    assert caught.value.reason == "bad_digest"
    assert "Repr-Digest" in str(caught.value)


def test_a_body_with_content_digest_is_hashed_as_it_passes() -> None:
    body = Body(request(Trickle(b"content", 3), 7, Content_Digest=WRITTEN))

    assert b"".join(body.chunks()) == b"content"
    assert body.sha256() == SHA


def test_a_body_without_content_digest_is_not_hashed() -> None:
    body = Body(request(Trickle(b"content", 3), 7))

    assert b"".join(body.chunks()) == b"content"
    assert body.sha256() is None


# Memory

SIZE = 64 * 1024 * 1024


class Generated:
    """A form whose file of 64 MiB exists only piece by piece."""

    def __init__(self, pattern: bytes) -> None:
        body, _ = multipart([DATA, ("attachment", "a.bin", None, b"CUT"), PERMISSIONS])
        self.head, self.tail = body.split(b"CUT")
        self.length = len(self.head) + SIZE + len(self.tail)
        self._pattern = pattern * (2 * CHUNK_SIZE // len(pattern) + 1)
        self._period = len(pattern)
        self._at = 0

    def read(self, size: int) -> bytes:
        start = self._at
        if start < len(self.head):
            piece = self.head[start : start + size]
        elif start < len(self.head) + SIZE:
            inside = start - len(self.head)
            offset = inside % self._period
            piece = self._pattern[offset : offset + min(size, SIZE - inside)]
        else:
            inside = start - len(self.head) - SIZE
            piece = self.tail[inside : inside + size]
        self._at += len(piece)
        return piece


def counting(seen: dict[str, int]) -> Callable[[FilePart], StoredAttachment]:
    """Takes the file's chunks and remembers only their sizes."""

    def store(part: FilePart) -> StoredAttachment:
        for chunk in part.chunks:
            seen["total"] += len(chunk)
            seen["largest"] = max(seen["largest"], len(chunk))
        attachment = Attachment("a.bin", "", "", "", seen["total"])
        return StoredAttachment("", "", TARGET, "", attachment, {})

    return store


@pytest.mark.parametrize(
    "pattern",
    [b"\0", b"\n", b"\r", b"\r\n", b"\r\n--frontie", b"\r\n--frontier\n"],
    ids=["zeros", "newlines", "returns", "lines", "nearly boundaries", "boundaries"],
)
def test_a_large_file_is_handed_on_in_chunks(pattern: bytes) -> None:
    made = Generated(pattern)
    seen = {"total": 0, "largest": 0}
    body = Body(request(made, made.length))

    if b"frontier" in pattern:
        with pytest.raises(Refused):
            read_form(body, counting(seen))
    else:
        form = read_form(body, counting(seen))
        assert form.fields == FIELDS
        assert seen["total"] == SIZE
    assert seen["largest"] <= CHUNK_SIZE + forms.MAX_BOUNDARY + 8


def test_a_large_raw_body_is_handed_on_in_chunks() -> None:
    made = Generated(b"\0")
    sent = request(made, made.length)

    sizes = [len(chunk) for chunk in raw_files.part(sent, Body(sent)).chunks]

    assert sum(sizes) == made.length
    assert max(sizes) <= CHUNK_SIZE
