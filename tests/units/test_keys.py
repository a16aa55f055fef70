"""Ids, names and keys: whatever a client calls its file, the key is safe and stays ours."""

import random
import re
import unicodedata
import uuid
from pathlib import Path
from typing import Any

import pytest

from kinto_attachment import keys, settings
from kinto_attachment.attachments import naming
from kinto_attachment.attachments.values import FilePart
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.targets import Target
from tests.support.parts import take_in

TARGET = Target("pictures", "album", "first")
LONG = 300

HOSTILE = [
    "",
    ".",
    "..",
    "...",
    "....//....//etc/passwd",
    "../../etc/passwd",
    "..\\..\\windows\\system.ini",
    "/etc/passwd",
    "C:\\boot.ini",
    "C:boot.ini",
    "a/../../b.jpg",
    "a\0.jpg",
    "\0",
    "\r\n.jpg",
    "a\nb\tc.jpg",
    "CON",
    "nul.txt",
    "com1.tar.gz",
    "Lpt9",
    ".htaccess",
    ".unfinished",
    "-rf",
    "~root",
    "$(reboot).jpg",
    "a b\u2028c.jpg",
    "photo\u202egpj.exe",
    "\u200f\u200e.jpg",
    "\ud800.jpg",
    "日本.txt",
    "e\u0301.txt",
    "😀.png",
    "x" * LONG,
    "x" * LONG + ".jpg",
    "あ" * 100 + ".jpg",
    "x." + "y" * LONG,
    "." * LONG,
    "noextension",
    "trailing.",
    "trailing ",
    "{rid}.jpg",
    "%2e%2e%2f.jpg",
]

ALPHABET = (
    'aZ09._-/\\ \0\n\x7f:*?"<>|{}%~éßİΣ日本語אבעर्😀👨\u200d\u200f\u202e\u0301\u0308\ufeff\ud800'
)


def random_names(seed: int, count: int = 3000) -> list[str]:
    print(f"seed {seed}")
    dice = random.Random(seed)
    return ["".join(dice.choices(ALPHABET, k=dice.randint(0, 40))) for _ in range(count)]


def policy(**changes: object) -> settings.Policy:
    raw = {f"attachment.{name}": value for name, value in changes.items()}
    return settings.parse({"attachment.extensions": "any", **raw}).policy_for("", "")


# Ids


def test_an_id_is_a_uuid_of_version_8() -> None:
    made = uuid.UUID(keys.new_id())

    assert made.version == 8
    assert made.variant == uuid.RFC_4122


def test_ids_do_not_repeat_and_are_recognised() -> None:
    made = [keys.new_id() for _ in range(2000)]

    assert len(set(made)) == 2000
    assert all(keys.is_id(one) for one in made)


def test_every_digit_of_an_id_but_the_fixed_ones_varies() -> None:
    made = [keys.new_id().replace("-", "") for _ in range(500)]

    constant = [place for place in range(32) if len({one[place] for one in made}) == 1]

    assert constant == [12]


def test_uuids_of_version_4_are_not_ours() -> None:
    assert not any(keys.is_id(str(uuid.uuid4())) for _ in range(5000))


def test_uuids_of_version_8_that_others_made_are_not_ours() -> None:
    dice = random.Random(8)
    others = [uuid.UUID(int=dice.getrandbits(128), version=4).hex for _ in range(5000)]
    shaped = [str(uuid.UUID(other[:12] + "8" + other[13:])) for other in others]

    assert not any(keys.is_id(one) for one in shaped)


def test_an_id_with_any_one_digit_altered_is_not_ours() -> None:
    ours = keys.new_id()
    places = [place for place, digit in enumerate(ours) if digit != "-"]

    altered = {
        ours[:place] + digit + ours[place + 1 :]
        for place in places
        for digit in "0123456789abcdef"
        if digit != ours[place]
    }

    assert len(altered) == 32 * 15
    assert not any(keys.is_id(one) for one in altered)


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda one: one.replace("-", ""),
        lambda one: f"{{{one}}}",
        lambda one: one + "\n",
        lambda one: " " + one,
        lambda one: one[:-1],
        lambda _: "",
    ],
    ids=["upper case", "no dashes", "braces", "line break", "space", "shorter", "empty"],
)
def test_an_id_in_any_other_spelling_is_not_ours(change: object) -> None:
    letters = next(one for one in iter(keys.new_id, None) if re.search("[a-f]", one))

    assert not keys.is_id(change(letters))  # type: ignore[operator]


@pytest.mark.parametrize(
    "location",
    [
        "https://cdn.example.org/files/{id}.jpg",
        "https://cdn.example.org/files/album/{id}/photo.jpg",
        "buckets/b/collections/c/records/{other}/attachment?file={id}",
        "{id}.jpg",
    ],
)
def test_the_id_is_found_in_a_location(location: str) -> None:
    ours = keys.new_id()

    assert keys.id_in_location(location.format(id=ours, other=uuid.uuid4())) == ours


def test_the_file_comes_before_a_folder_that_looks_like_an_id() -> None:
    folder, ours = keys.new_id(), keys.new_id()

    assert keys.id_in_location(f"https://cdn.example.org/{folder}/{ours}.jpg") == ours


@pytest.mark.parametrize(
    "location", [None, 3, [], {}, "", "photo.jpg", "1b4e28ba-2fa1-41d2-883f-0016d3cca427.jpg"]
)
def test_a_location_of_somebody_else_has_no_id(location: object) -> None:
    assert keys.id_in_location(location) is None


@pytest.mark.parametrize(
    "key", ["{id}", "{id}.jpg", "{id}.tar.gz", "album/{id}.jpg", "{id}/a.jpg", "a/b/{id}/a.b.jpg"]
)
def test_the_id_is_found_in_a_key_of_ours(key: str) -> None:
    ours = keys.new_id()

    assert keys.id_of_key(key.format(id=ours)) == ours


@pytest.mark.parametrize(
    "key", ["{other}.jpg", "{other}/a.jpg", "{id}/deeper/a.jpg", "a-{id}.jpg", "{id}-1.jpg", "a"]
)
def test_the_key_of_somebody_else_has_no_id(key: str) -> None:
    assert keys.id_of_key(key.format(id=keys.new_id(), other=uuid.uuid4())) is None


@pytest.mark.parametrize("key", ["a-{id}.jpg", "{id}-1.jpg", "b/{id}", "{id}.jpg", "{id}/a.jpg"])
def test_the_id_of_a_name_that_a_pattern_made_is_found_wherever_it_stands(key: str) -> None:
    ours = keys.new_id(within_name=True)

    assert keys.is_id(ours)
    assert keys.id_of_key(key.format(id=ours)) == ours


# The client's name


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("photo.jpg", "photo.jpg"),
        ("日本.txt", "日本.txt"),
        ("😀 grin.png", "😀 grin.png"),
        ("e\u0301.txt", "e\u0301.txt"),
        ("dir/photo.jpg", "photo.jpg"),
        ("C:\\My Pictures\\photo.jpg", "photo.jpg"),
        ("a/b\\c/photo.jpg", "photo.jpg"),
        ("a\\b/photo.jpg", "photo.jpg"),
        ("pho\0to\r\n\x7f\x85.jpg", "photo.jpg"),
        ("  photo.jpg ", "photo.jpg"),
        ("a\ud800.jpg", "a.jpg"),
        (".htaccess", ".htaccess"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("\u2066a\u2069\u061c\u200eb\u200f.txt", "ab.txt"),
        ("a\u2028b\u2029.txt", "ab.txt"),
        ("می\u200cخواهم.txt", "می\u200cخواهم.txt"),  # A word of Persian needs its joiners.
        ("👩\u200d🔬.png", "👩\u200d🔬.png"),
        ("nul.txt", "nul.txt"),
    ],
)
def test_the_name_is_kept_as_sent_but_for_folders_and_control_characters(
    sent: str, kept: str
) -> None:
    assert keys.client_filename(sent) == kept


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("x" * 255, "x" * 255),
        ("x" * 300, "x" * 255),
        ("x" * 300 + ".jpg", "x" * 251 + ".jpg"),
        ("名" * 404 + ".txt", "名" * 83 + ".txt"),
        ("名" * 400, "名" * 85),
        ("a" + "\u0301" * 40_000 + ".txt", "a" + "\u0301" * 125 + ".txt"),
        ("a." + "x" * 400, "a." + "x" * 253),
        ("x" * 250 + " " * 100 + ".jpg", "x" * 250 + ".jpg"),
    ],
    ids=lambda value: f"{len(value)}",
)
def test_a_long_name_is_cut_at_255_bytes_and_keeps_its_extension(sent: str, kept: str) -> None:
    assert keys.client_filename(sent) == kept


@pytest.mark.parametrize(
    "sent", [None, "", " ", ".", "..", "...", "a/", "a\\", "a/..", "..\\.", "\0", ".\0.", " .. "]
)
def test_what_is_no_name_at_all_is_no_name(sent: str | None) -> None:
    assert keys.client_filename(sent) == ""


@pytest.mark.parametrize(
    ("filename", "extension"),
    [
        ("photo.jpg", ".jpg"),
        ("photo.JPG", ".jpg"),
        ("a.tar.gz", ".gz"),
        ("a.日本", ".日本"),
        ("a.7z", ".7z"),
        ("a.j:p?g", ".jpg"),
        ("a.jp\u200fg", ".jpg"),
        ("noextension", ""),
        (".htaccess", ""),
        ("..jpg", ""),
        ("trailing.", ""),
        ("a.😀", ""),
        ("a." + "x" * keys.MAX_EXTENSION_BYTES, ""),
        ("a." + "あ" * 11, ""),
        ("", ""),
    ],
)
def test_the_extension_is_lower_case_letters_of_limited_length(
    filename: str, extension: str
) -> None:
    limit = keys.MAX_EXTENSION_BYTES
    expected = f".{'x' * limit}" if filename.count("x") == limit else extension

    assert keys.extension(filename) == expected


# Safe names


@pytest.mark.parametrize(
    ("filename", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("日本.txt", "日本.txt"),
        ("Ünïcødé.txt", "Ünïcødé.txt"),
        ("हिन्दी.txt", "हिन्दी.txt"),
        ("עברית.txt", "עברית.txt"),
        ("e\u0301.txt", "é.txt"),
        ("my  photo (1).jpg", "my_photo_1_.jpg"),
        ("a.b.tar.gz", "a.b.tar.gz"),
        ("PHOTO.JPG", "PHOTO.jpg"),
        ("noextension", "noextension"),
        (".htaccess", "htaccess"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("Lpt9.jpg", "_Lpt9.jpg"),
        ("console.txt", "console.txt"),
        ("..", "file"),
        ("", "file"),
        ("...", "file"),
        ("\0", "file"),
        ("grin 😀.png", "grin_.png"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
    ],
)
def test_a_safe_name_reads_like_the_clients(filename: str, safe: str) -> None:
    assert keys.safe_name(filename) == safe


@pytest.mark.parametrize("filename", ["😀.png", "$$$.png", "_.png", "()..png", "👨\u200d👩.png"])
def test_a_name_without_any_letter_keeps_its_extension(filename: str) -> None:
    assert keys.safe_name(filename) == "file.png"


@pytest.mark.parametrize("filename", ["photo.jpg\u200f", "photo.jp\u200eg", "photo.j p g"])
def test_the_stored_extension_is_the_one_that_was_checked(filename: str) -> None:
    checked = keys.extension(filename)

    assert checked
    assert keys.safe_name(filename).endswith(checked)


def test_an_extension_that_grows_in_lower_case_takes_nothing_from_the_name() -> None:
    assert keys.safe_name("photo.İ").startswith("photo.")


@pytest.mark.parametrize(
    "filename",
    [
        "x" * LONG,
        "x" * LONG + ".jpg",
        "あ" * LONG + ".jpg",
        "e\u0301" * LONG + ".jpg",
        "\u0301" * LONG + ".jpg",
        "x." + "y" * LONG,
        ".".join("x" * LONG),
        "con." + "x" * LONG,
        "con." + "x" * LONG + ".jpg",
        "ﷺ" * LONG + ".jpg",
    ],
)
def test_a_safe_name_has_its_limit_in_bytes_and_keeps_its_extension(filename: str) -> None:
    safe = keys.safe_name(filename)

    assert len(safe.encode("utf-8")) <= keys.MAX_NAME_BYTES
    assert safe.endswith(keys.extension(filename))
    assert len(safe) > 20


def test_a_safe_name_that_was_cut_does_not_end_in_a_dot() -> None:
    cut_at_the_dot = "x" * (keys.MAX_NAME_BYTES - 1) + "." + "y" * LONG

    assert not keys.safe_name(cut_at_the_dot).endswith(".")


@pytest.mark.parametrize("filename", ["COM¹.txt", "com²", "LPT³.tar.gz"])
def test_device_names_in_superscript_are_device_names(filename: str) -> None:
    """Windows reserves COM¹, COM² and COM³ as it does COM1."""
    assert keys.safe_name(filename).startswith("_")


def assert_safe(name: str) -> None:
    assert name
    assert keys.unsafe_reason(name) is None
    assert "/" not in name
    assert name[0] != "."
    assert name[-1] not in ". "
    assert len(name.encode("utf-8")) <= keys.MAX_NAME_BYTES
    assert not re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.I | re.S)
    kinds = {unicodedata.category(character)[0] for character in name if character not in ".-_"}
    assert kinds <= {"L", "M", "N"}


@pytest.mark.parametrize("filename", HOSTILE, ids=ascii)
def test_a_hostile_name_becomes_a_safe_one(filename: str) -> None:
    assert_safe(keys.safe_name(filename))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_name_becomes_a_safe_one(seed: int) -> None:
    for filename in random_names(seed):
        assert_safe(keys.safe_name(filename))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_safe_name_ends_in_the_extension_that_was_checked(seed: int) -> None:
    for sent in random_names(seed):
        filename = keys.client_filename(sent)
        composed = unicodedata.normalize("NFC", keys.extension(filename))
        assert keys.safe_name(filename).endswith(composed), ascii(filename)


# Keys


@pytest.mark.parametrize(
    ("folder", "name", "key"),
    [
        ("", None, "ID.jpg"),
        ("album", None, "album/ID.jpg"),
        ("a/b", None, "a/b/ID.jpg"),
        ("", "photo.jpg", "ID/photo.jpg"),
        ("album", "photo.jpg", "album/ID/photo.jpg"),
    ],
)
def test_a_key_carries_the_id(folder: str, name: str | None, key: str) -> None:
    assert keys.build("ID", folder, name, ".jpg") == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "album/",
        "..",
        "../a",
        "a/../../b",
        "a/..",
        ".",
        "./a",
        "a/./b",
        "a//b",
        "a\\b",
        "..\\a",
        "a\0b",
        "\0",
    ],
)
def test_a_key_that_could_leave_the_store_is_unsafe(key: str) -> None:
    assert keys.unsafe_reason(key)


@pytest.mark.parametrize("key", ["a", "a/b.jpg", "...", "a/...b", ".hidden", "日本/é.txt", "a b"])
def test_an_ordinary_key_is_safe(key: str) -> None:
    assert keys.unsafe_reason(key) is None


POLICIES: dict[str, dict[str, Any]] = {
    "random": {},
    "readable": {"randomize": False},
    "pattern": {"filename_pattern": "{rid}-{datetime}-{filename}"},
    "bare pattern": {"filename_pattern": "{filename}"},
    "dots": {"filename_pattern": "..{filename}.."},
    "folder": {"folder": "{bucket_id}/{collection_id}", "randomize": False},
}


@pytest.mark.parametrize("kind", POLICIES)
def test_no_name_leads_a_key_out_of_the_store(kind: str, tmp_path: Path) -> None:
    rules = policy(**POLICIES[kind])
    storage = LocalFileStorage(str(tmp_path / "files"), fsync=False)
    base = (tmp_path / "files").resolve()

    for sent in HOSTILE + random_names(4, 500):
        filename, _ = naming.name_and_type(FilePart(sent, None, ()), TARGET, rules, None)
        file_id = keys.new_id()
        key = naming.key_for(file_id, filename, TARGET, rules)
        assert keys.unsafe_reason(key) is None
        assert keys.id_of_key(key) == file_id
        assert base in Path(storage.path(key)).resolve().parents
        assert all(len(part.encode("utf-8")) <= 255 for part in key.split("/"))


@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("sent", HOSTILE, ids=ascii)
def test_a_file_of_any_name_is_stored_below_the_directory(
    sent: str, kind: str, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    rules = {f"attachment.{name}": value for name, value in POLICIES[kind].items()}
    parsed = settings.parse({"attachment.extensions": "any", **rules})
    storage = LocalFileStorage(str(files), fsync=False)

    stored = take_in(FilePart(sent, None, [b"content"]), TARGET, parsed, storage)

    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert found == [files / stored.key]
    assert found[0].read_bytes() == b"content"
    assert [file.key for file in storage.files()] == [stored.key]
