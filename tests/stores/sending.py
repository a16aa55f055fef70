"""How much memory an upload of many parts takes: ``python -m tests.stores.sending KIND WHERE``
prints the bytes by which a process grows at most while 64 MiB go through it in a few requests."""

import re
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from kinto_attachment.testing import new_key
from tests.stores.dying import make

CHUNK = bytes(64 * 1024)


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // len(CHUNK)):
        yield CHUNK


def send(store: Any, *sizes: int) -> None:
    state = store.uploads.begin(str(uuid.uuid4()), new_key(), mimetype="", filename="")
    offset = 0
    for size in sizes:
        offset = store.uploads.append(state, offset, chunks(size), lambda: True)
    store.uploads.finish(state, offset)
    store.uploads.discard(state)


def peak() -> int:
    with open("/proc/self/status") as status:
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status.read())[0]) * 1024


def main(kind: str, where: str) -> None:
    store = make(kind, where, unit=None)
    send(store, len(CHUNK), len(CHUNK))  # Libraries are loaded, connections made.
    before = peak()
    send(store, 21 * 1024**2, 3 * 1024**2, 40 * 1024**2)
    print(peak() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
