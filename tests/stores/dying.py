"""Uploads in processes that are killed at one line of ours after the other.

``python -m tests.stores.dying KIND WHERE EVERY`` begins an upload for each kill, has a process go
on with it that kills itself at its n-th line, looks at what is left, and brings the upload to its
end. It prints the number of kills. WHERE is a directory, or an object with the settings of a
store; EVERY says which lines are taken: 1 is each.
"""

import contextlib
import hashlib
import itertools
import json
import os
import signal
import sys
import time
import uuid
from types import FrameType
from typing import Any

from kinto_attachment import storage as package
from kinto_attachment.storage import State, UploadGone
from kinto_attachment.storage.local import LocalFileStorage
from kinto_attachment.storage.unfinished import UPLOADS
from kinto_attachment.testing import new_key, noise

UNIT = 4096
SIZES = (100, UNIT, 3, 2 * UNIT - 103, 50)
"""Bytes of each request: within a unit, across one, up to its end, and behind it."""

FINISHED, DISCARDED = -1, -2


def make(kind: str, where: str, unit: int | None = UNIT) -> Any:
    """A store, with small units unless they are to be the real ones."""
    if kind == "local":
        from kinto_attachment.storage.local import uploads

        uploads.PIECE = unit or uploads.PIECE
        uploads.SAVE_EVERY = 0 if unit else uploads.SAVE_EVERY
        return LocalFileStorage(where, fsync=False)
    from kinto_attachment.storage import tails

    tails.SUM_EVERY = 0 if unit else tails.SUM_EVERY
    if kind == "s3":
        from kinto_attachment.storage.s3 import S3FileStorage
        from kinto_attachment.storage.s3.uploads import S3Uploads

        S3Uploads.unit = S3Uploads.piece = unit or S3Uploads.unit
        return S3FileStorage.from_settings(json.loads(where), "")
    from kinto_attachment.storage.gcloud import GoogleCloudStorage
    from kinto_attachment.storage.gcloud.uploads import GoogleUploads

    GoogleUploads.unit = unit or GoogleUploads.unit
    GoogleUploads.piece = unit or GoogleUploads.piece
    return GoogleCloudStorage.from_settings(json.loads(where), "")


def die_at(number: int) -> None:
    """Have this process killed before it runs its n-th line in the room of stores."""
    folder = os.path.dirname(package.__file__)
    left = itertools.count(1)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(folder):
            return None
        if event == "line" and next(left) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def live(store: Any, state: State, told: int) -> None:
    """All requests of one upload; each acknowledgement is written to the pipe."""

    def tell(number: int) -> None:
        os.write(told, f"{number} ".encode())

    offset = 0
    for size in SIZES:
        chunks = [noise(sum(SIZES))[offset : offset + size]]
        offset = store.uploads.append(state, offset, chunks, lambda: True)
        tell(offset)
    store.uploads.finish(state, offset)
    tell(FINISHED)
    store.uploads.discard(state)
    tell(DISCARDED)


def in_a_process(store: Any, state: State, number: int) -> tuple[list[int], bool]:
    """What was acknowledged before the kill, and whether there was one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        die_at(number)
        live(store, state, writing)
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        told = [int(word) for word in pipe.read().split()]
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), status
    return told, status != 0


def check(store: Any, state: State, told: list[int]) -> None:
    """Nothing that was acknowledged is lost; the upload goes on and ends; nothing is left."""
    content = noise(sum(SIZES))
    try:
        progress = store.uploads.progress(state)
    except UploadGone:
        assert FINISHED in told, told  # It was being discarded.
    else:
        assert progress.offset >= max(told, default=0), (progress, told)
        assert progress.published or FINISHED not in told
        if not progress.published:
            rest = [content[progress.offset :]]
            store.uploads.append(state, progress.offset, rest, lambda: True)
        received = store.uploads.finish(state, len(content))
        assert received.sha256 == hashlib.sha256(content).digest()
    with contextlib.closing(store.open(state["key"])) as reader:
        assert b"".join(reader) == content
    store.uploads.discard(state)
    assert [file.key for file in store.files()] == [state["key"]]
    store.delete(state["key"])
    store.uploads.remove_abandoned(time.time() + 3600, lambda _: False)


def main(kind: str, where: str, every: str) -> None:
    # The first is used by the killed ones only, so that no connection is shared with them.
    dying, looking = make(kind, where), make(kind, where)
    if kind != "local":
        dying._shared.get()
    kills = 0
    for number in itertools.count(1, int(every)):
        state = looking.uploads.begin(str(uuid.uuid4()), new_key("f"), mimetype="", filename="")
        told, killed = in_a_process(dying, state, number)
        check(looking, state, told)
        if not killed:
            break
        kills += 1
    if kind == "local":
        assert os.listdir(os.path.join(where, UPLOADS)) == []
    print(kills)


if __name__ == "__main__":
    main(*sys.argv[1:])
