"""What a download notes of the records, so that another server can be given the same ones."""

import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kinto_attachment.client import naming
from kinto_attachment.client.answers import MEDIA_TYPE, Record, is_complete
from kinto_attachment.client.content import Content
from kinto_attachment.client.ids import VALID, BareRecord, LocalFile
from kinto_attachment.client.outcomes import Unusable
from kinto_attachment.client.wanted import Wanted, own_fields

NAME = ".kinto-records.jsonl"
"""File in the folder. It is hidden, as no downloaded file is, and no upload takes it for one."""


def write(folder: Path, records: Iterable[tuple[str | None, Record]]) -> None:
    """Note the records, each with its file's name in the folder, or None where it has no file.

    :raises OSError: where that can't be written; what was there stays.
    """
    unfinished = folder / f"{NAME}.new"
    unfinished.unlink(missing_ok=True)  # It may be a link.
    with unfinished.open("x", encoding="ascii") as file:
        for name, record in sorted(records, key=lambda noted: str(noted[1]["id"])):
            file.write(json.dumps({"file": name, "record": record}, sort_keys=True) + "\n")
    os.replace(unfinished, folder / NAME)


def read(folder: Path) -> list[LocalFile | BareRecord]:
    """What was noted.

    :raises Unusable: where that can't be used.
    """
    path = folder / NAME
    try:
        if path.exists() and not path.is_file():  # A pipe would be waited for.
            raise OSError(errno.EINVAL, "it is no regular file")
        with path.open(encoding="ascii") as file:
            noted = [_noted(folder, line) for line in file]
    except OSError as error:
        raise Unusable(
            f"{folder} has no {NAME} that can be read ({error.strerror}): make it by"
            f" `kinto-attachment download --records --to {folder}`."
        ) from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise Unusable(f"{path} is damaged ({error}): download it again.") from error
    if len({one.record_id for one in noted}) < len(noted):
        raise Unusable(f"{path} has a record twice: download it again.")
    return noted


def _noted(folder: Path, line: str) -> LocalFile | BareRecord:
    found = json.loads(line)
    name, record = found["file"], dict(found["record"])
    record_id = record["id"]
    if not VALID.fullmatch(record_id):
        raise ValueError(f"{record_id!r} is not a valid id")
    wanted = Wanted(own_fields(record), exactly=True)
    if name is None:
        return BareRecord(record_id, wanted)
    # It may have come with the folder from somewhere: not any file of this machine is meant.
    if name != naming.safe_path(name) or not is_complete(record["attachment"]):
        raise ValueError(f"{name!r} is not what download writes")
    attachment = record["attachment"]
    return LocalFile(
        folder / name,
        name,
        wanted,
        record_id,
        _text(attachment, "filename"),
        _media_type(attachment),
        Content(attachment["size"], bytes.fromhex(attachment["hash"])),
    )


def _text(attachment: dict[str, Any], field: str) -> str | None:
    found = attachment.get(field)
    return found if isinstance(found, str) else None


def _media_type(attachment: dict[str, Any]) -> str | None:
    found = _text(attachment, "mimetype")
    return found if found and MEDIA_TYPE.fullmatch(found) else None
