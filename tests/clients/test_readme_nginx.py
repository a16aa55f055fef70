"""README's lines for nginx, in a real nginx before a real Kinto."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import requests

from tests import parts, processes
from tests.readme import ALICE, RECORD, example, put

CONF = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/client;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, locations: str) -> Iterator[str]:
    """A running nginx; gives its origin."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "nginx is not installed: README's lines for it can't be tried"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Started by root, nginx would become somebody who can't read below tmp_path.
    user = "user root;" if os.geteuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(folder=folder, port=port, user=user, locations=locations))
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(conf)]
    with processes.answering(command, folder) as origin:
        yield origin


def test_uploads_above_nginxs_own_limit_come_through(tmp_path: Path) -> None:
    settings = processes.basic_settings(tmp_path, parts.MEMORY)
    front = tmp_path / "front"
    front.mkdir()
    with processes.running_kinto(tmp_path, settings) as kinto:
        lines = example("nginx").replace("http://127.0.0.1:8888", kinto.origin)
        assert lines != example("nginx")
        with nginx(front, lines) as origin:
            behind = processes.Kinto(origin, tmp_path)
            content = bytes(3_000_000)
            assert put(behind, RECORD, "a.jpg", content).status_code == 201
            assert requests.get(f"{behind.url}{RECORD}/attachment", auth=ALICE).content == content
