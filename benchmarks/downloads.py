"""Downloads: bytes per processor second, beside the bare application."""

import socket
from pathlib import Path
from statistics import median

import requests

from benchmarks import servers
from benchmarks.table import Row

AUTH = ("user", "secret")
PATH = "/v1/buckets/default/collections/album/records/big/attachment"
MIB = 1024 * 1024
BASIC = "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"


def fetch(origin: str, path: str) -> int:
    """Read a whole answer and throw it away; returns how many bytes it had."""
    host, port = origin.removeprefix("http://").split(":")
    buffer, size = memoryview(bytearray(MIB)), 0
    with socket.create_connection((host, int(port)), timeout=600) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{BASIC}Connection: close\r\n\r\n"
        connection.sendall(head.encode())
        while received := connection.recv_into(buffer):
            size += received
    return size


def measure(folder: Path, quick: bool) -> list[Row]:
    size = (32 if quick else 256) * MIB
    content = folder / "content.bin"
    content.parent.mkdir(parents=True, exist_ok=True)
    content.write_bytes(bytes(size))
    rows = []
    for server in ("waitress", "gunicorn"):
        plain = folder / f"bare-{server}"
        plain.mkdir()
        (plain / "file.bin").hardlink_to(content)
        with (
            servers.kinto(folder / f"ours-{server}", server) as ours,
            servers.bare(plain, server) as bare,
        ):
            with content.open("rb") as body:
                requests.put(f"{ours.origin}{PATH}", data=body, auth=AUTH).raise_for_status()
            ratios = []
            for _ in range(2 if quick else 7):
                used = []
                for measured, path in ((ours, PATH), (bare, "/file")):
                    before = measured.cpu()
                    for _ in range(8 if quick else 1):  # A small file takes less than it tells.
                        assert fetch(measured.origin, path) >= size
                    used.append(measured.cpu() - before)
                ratios.append(used[1] / used[0])
        shown = f"{median(ratios):.2f}"
        name = f"{size // MIB} MiB download, {server}: bytes per CPU second, bare app = 1"
        rows.append(Row(name, "-", shown, "at least 0.8", median(ratios) >= 0.8))
    content.unlink()
    return rows
