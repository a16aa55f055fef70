"""README's lines for nginx, in a real nginx before a real Kinto."""

import contextlib
import http.client
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import requests

from tests.support import parts, processes, streaming
from tests.support.documents import ALICE, FILES, RECORD, example, ini, put
from tests.support.parts import sha256

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


def test_nginx_sends_the_files_after_kinto_has_looked_at_the_permission(tmp_path: Path) -> None:
    settings = {
        **processes.basic_settings(tmp_path, parts.MEMORY),
        **ini(example("accel"), tmp_path),
    }
    front = tmp_path / "front"
    front.mkdir()
    with processes.running_kinto(tmp_path, settings) as kinto:
        proxy = example("nginx").replace("http://127.0.0.1:8888", kinto.origin)
        accel = example("accel-nginx").replace(FILES, str(kinto.files))
        assert accel != example("accel-nginx")
        with nginx(front, f"{proxy}\n{accel}") as origin:
            behind = processes.Kinto(origin, tmp_path)
            content = bytes(range(256)) * 4000
            assert put(behind, RECORD, "日本.jpg", content).status_code == 201
            url = f"{behind.url}{RECORD}/attachment"

            answer = requests.get(url, auth=ALICE)
            assert answer.content == content
            assert answer.headers["Content-Type"] == "image/jpeg"
            assert answer.headers["ETag"] == f'"{sha256(content)}"'
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in answer.headers["Content-Security-Policy"]
            assert "%E6%97%A5" in answer.headers["Content-Disposition"]
            assert answer.headers["Repr-Digest"].startswith("sha-256=:")
            part = requests.get(url, auth=ALICE, headers={"Range": "bytes=2-4"})
            assert (part.status_code, part.content) == (206, content[2:5])
            fresh = {"If-None-Match": answer.headers["ETag"]}
            assert requests.get(url, auth=ALICE, headers=fresh).status_code == 304
            assert requests.head(url, auth=ALICE).headers["Content-Length"] == str(len(content))
            assert requests.get(url).status_code == 401
            (key,) = [p.name for p in kinto.files.iterdir() if p.is_file()]
            assert requests.get(f"{origin}/attachment-files/{key}").status_code == 404
            # It was nginx that sent the bytes: Kinto itself has sent none.
            straight = requests.get(f"{kinto.url}{RECORD}/attachment", auth=ALICE)
            assert straight.headers["X-Accel-Redirect"] == f"/attachment-files/{key}"
            assert straight.content == b""


def test_what_came_of_a_part_counts_behind_nginx_that_buffers_no_parts(tmp_path: Path) -> None:
    """A client sends a part of 1 MB, and is cut off after 300 kB."""
    settings = processes.basic_settings(tmp_path, parts.MEMORY)
    settings["kinto.attachment.uploads"] = "true"
    tus = {"Tus-Resumable": "1.0.0", "Upload-Metadata": "filename YS5qcGc="}
    front = tmp_path / "front"
    front.mkdir()
    with streaming.gunicorn(tmp_path, settings) as kinto:
        lines = example("nginx-resumable").replace("http://127.0.0.1:8888", kinto.origin)
        with nginx(front, lines) as origin:
            url = f"{origin}/v1{RECORD}/attachment/uploads"
            begun = requests.post(url, auth=ALICE, headers={**tus, "Upload-Length": "1000000"})
            path = begun.headers["Location"].partition("/v1/")[2]
            upload = f"{origin}/v1/{path}"
            login = requests.Request("PATCH", upload, auth=ALICE).prepare().headers
            cut = http.client.HTTPConnection(origin.removeprefix("http://"))
            cut.putrequest("PATCH", f"/v1/{path}")
            part = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
            for name, value in {**tus, **login, **part, "Content-Length": "1000000"}.items():
                cut.putheader(name, value)
            cut.endheaders()
            cut.send(bytes(300_000))
            cut.close()
            staged = kinto.files / ".kinto-attachment-uploads" / path.rpartition("/")[2]
            assert arrives(staged, 200_000), "nginx has kept what came"
            asked = requests.head(upload, auth=ALICE, headers=tus)

    assert asked.status_code == 200
    assert 200_000 <= int(asked.headers["Upload-Offset"]) <= 300_000


def arrives(path: Path, size: int) -> bool:
    """Whether a file gets so large, within a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.stat().st_size >= size:
            return True
        time.sleep(0.02)  # Between two looks.
    return False
