"""Every parser of client text that an upload has: no error but a refusal, nothing that acts on a
terminal, a header or a file system, and work that does not grow faster than the text."""

import random
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from pyramid.request import Request

from kinto_attachment import keys
from kinto_attachment.attachments.refusals import Refused
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.http import origins
from kinto_attachment.http.received import bodies, content_disposition, forms, raw_files
from tests.units.test_forms import Trickle
from tests.units.test_forms import request as sent

SEEDS = range(4)
ROUNDS = 400


def _name(text: str) -> Any:
    name = keys.client_filename(text)
    assert len(name.encode("utf-8")) <= keys.MAX_FILENAME_BYTES
    return [name, keys.extension(name), keys.safe_name(name)]


def _disposition(text: str) -> Any:
    said = content_disposition.read(f"form-data; name=attachment; filename{text}", [text])
    return _name(said.known_filename() or "") if said.readable else None


def _put(text: str) -> Any:
    made = sent(Trickle(b"", 1), 0)
    made.environ["HTTP_CONTENT_DISPOSITION"] = text
    made.environ["CONTENT_TYPE"] = text
    raw_files.check(made)
    return _name(raw_files.filename(made) or "")


def _part(text: str) -> Any:
    head = b'--b\r\nContent-Disposition: form-data; name="attachment"; filename="'
    line = text.replace("\r", "").replace("\n", "").encode("utf-8", "surrogatepass")
    body = b'--b\r\nContent-Disposition: form-data; name="_charset_"\r\n\r\n' + line
    body += b"\r\n" + head + line + b'"\r\nContent-Type: ' + line + b"\r\n\r\nx\r\n--b--\r\n"
    made = bodies.Body(sent(Trickle(body, 64 * 1024), len(body)))
    (part,) = forms.parts(made, "multipart/form-data; boundary=b")
    assert isinstance(part, FilePart)
    return _name(part.filename or "")


def _boundary(text: str) -> Any:
    return forms.boundary_of(f"multipart/form-data; boundary={text}") and None


def _digest(text: str) -> Any:
    made = sent(Trickle(b"", 1), 0)
    made.environ["HTTP_REPR_DIGEST"] = text
    bodies.expected_digest(made, "Repr-Digest")


def _length(text: str) -> Any:
    made: Request = sent(Trickle(b"", 1), text)
    made.environ["HTTP_TRANSFER_ENCODING"] = text
    made.environ["HTTP_CONTENT_ENCODING"] = text
    bodies.content_length(made)
    bodies.check_coding(made)


def _origin(text: str) -> Any:
    made = Request.blank("/")
    made.environ["HTTP_ACCEPT"] = f"text/html,application/xhtml+xml,{text}"
    origins.is_navigation(made)
    for name in ("HTTP_ORIGIN", "HTTP_HOST", "HTTP_SEC_FETCH_MODE"):
        made.environ[name] = text
    origins.is_simple(made)
    origins._host(text)


PARSERS: dict[str, Callable[[str], Any]] = {
    "name": _name,
    "disposition": _disposition,
    "put": _put,
    "part": _part,
    "boundary": _boundary,
    "digest": _digest,
    "length": _length,
    "origin": _origin,
}
PIECES = [
    *"\"\\;='*%/:,.- \t\0\r\n\x1b\x7f\x85é",
    *("\u202e", "\u2066", "\u2028", "\u0301", "\u200d", "日", "😀", "\ud800", "ﬁ"),
    *("%22", "%0D%0A", "%FF", "%E6%97%A5", "..", "../", "con.", ".jpg", 'x"; filename="y'),
    *("*=UTF-8''", "*=\"UTF-8''", "sha-256=:", "=:", "chunked", "gzip", "https://", "[::1]"),
    *("\x1b[31m", "unicode_escape", "idna", "q=0.5", "text/html", "\xff\xfe", "9" * 40),
]


def made_up(dice: random.Random) -> str:
    return "".join(dice.choice(PIECES) for _ in range(dice.randint(0, 40)))


def printed(text: str) -> bool:
    """Nothing in it acts: no controls, none of direction, no lone surrogates."""
    acting = ("Cc", "Cs", "Zl", "Zp")
    return not any(unicodedata.category(c) in acting or c in "\u202e\u2066" for c in text)


def parsed(parser: str, text: str) -> list[str]:
    """What comes out, in a name or in a sentence."""
    try:
        return PARSERS[parser](text) or []
    except Refused as refused:
        return [str(refused)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("parser", PARSERS)
def test_client_text_is_read_or_refused_and_nothing_that_acts_comes_out(
    parser: str, seed: int
) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        text = made_up(dice)
        if parser not in ("name", "part"):
            text = text.encode("utf-8", "surrogatepass").decode("latin-1")  # As WSGI has it.
        for found in parsed(parser, text):
            assert printed(found), (text, found)


class Work:
    """Counts what Python does, line by line; what C does is bounded by what it is handed."""

    def __init__(self) -> None:
        self.lines = 0

    def __call__(self, frame: Any, event: str, argument: Any) -> Any:
        self.lines += event == "line"
        return self

    def of(self, parser: str, text: str) -> int:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            parsed(parser, text)
        finally:
            sys.settrace(before)
        return self.lines


FULL = [
    "a",
    "\u0301",
    ";",
    '"',
    "\\",
    '\\"',
    ' ="',
    ';a="',
    "%22",
    "'",
    "=",
    " ",
    "\t",
    ",",
    ".",
    "日",
]
SMALL, LARGE = 1024, 65536


@pytest.mark.parametrize("unit", [*FULL, "*=UTF-8''", ";filename*=", "sha-256=:A", "q=1,", "/"])
@pytest.mark.parametrize("parser", PARSERS)
def test_work_grows_no_faster_than_the_text(parser: str, unit: str) -> None:
    if parser not in ("name", "part"):
        unit = unit.encode().decode("latin-1")
    small = Work().of(parser, unit * (SMALL // len(unit)))
    large = Work().of(parser, unit * (LARGE // len(unit)))

    assert large <= 2 * small * LARGE // SMALL


@pytest.mark.parametrize("function", [unicodedata.normalize])
def test_what_is_quadratic_never_sees_a_long_name(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def normalize(form: Any, text: str) -> str:
        seen.append(len(text))
        found: str = function(form, text)
        return found

    monkeypatch.setattr(unicodedata, "normalize", normalize)
    for text in ("\u0301" * 40_000, "a." + "\u0301" * 40_000, "a" + "\u0301" * 40_000 + ".jpg"):
        _name(text)

    assert seen
    assert max(seen) <= keys.MAX_FILENAME_BYTES
