"""Clients of uploads in several requests: those that people have."""

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page
from tusclient.client import TusClient
from tusclient.uploader.uploader import AsyncUploader

from tests.clients.draft_client import SECRET, ask
from tests.clients.pages import elsewhere
from tests.clients.resumable import CONTENT, PIECE, Uploads
from tests.clients.servers import PACKAGES, PATIENCE
from tests.support import processes

SCRIPTS = Path(__file__).parent / "uploads_js"
SCRIPTS_OF = {
    "tus-js": 'return upload("first", {file}).end();',
    "draft-js": 'return upload("first", {file, ...byDraft("first", "05")}).end();',
    "uppy": 'return uppy(attachment("first") + "/uploads", headers, file);',
}
EVERY = [
    "tuspy", "tuspy-checksum", "tuspy-async", "draft-8", "draft-6",
    "node-tus-js", "node-draft-js", "page-tus-js", "page-draft-js", "page-uppy",
]  # fmt: skip
"""Kinds and names of all clients."""

Run = Callable[[str], Any]
"""Runs a script of tests/clients/uploads_js/uploads.js; returns what it returns."""


def in_node(uploads: Uploads, folder: Path, script: str, content: bytes = CONTENT) -> Any:
    """What a script returns in Node; what it remembers stays in the folder."""
    path = folder / "a.bin"
    path.write_bytes(content)
    command = ["node", str(SCRIPTS / "node.js"), uploads.records_url, str(path), script]
    done = processes.run(command, folder, {"NODE_PATH": str(PACKAGES)})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def bundle(folder: Path) -> bytes:
    """tus-js-client and Uppy for pages, as sites bundle them."""
    command = [str(PACKAGES / ".bin" / "esbuild"), str(SCRIPTS / "page.js"), "--bundle"]
    done = processes.run(command, folder, {"NODE_PATH": str(PACKAGES)})
    assert done.returncode == 0, done.stderr
    return done.stdout.encode()


@contextmanager
def page_of_another_origin(chromium: Browser, folder: Path) -> Iterator[Page]:
    """A page that has the clients, and the content to upload."""
    with elsewhere() as site, chromium.new_context() as context:
        context.set_default_timeout(PATIENCE)
        scripts = (SCRIPTS / "uploads.js").read_bytes()
        site.pages["/uploads.js"] = ("text/javascript", scripts)
        site.pages["/page.js"] = ("text/javascript", bundle(folder))
        site.pages["/content.bin"] = ("application/octet-stream", CONTENT)
        tags = '<script src="/uploads.js"></script><script src="/page.js"></script>'
        page = context.new_page()
        page.goto(site.html("/", f"<!DOCTYPE html><title>Uploads</title>{tags}"))
        yield page


def in_page(uploads: Uploads, page: Page, script: str) -> Any:
    """What a script returns in a page."""
    return page.evaluate("([url, script]) => run(url, script)", [uploads.records_url, script])


def uploading_by(
    kind: str, name: str, uploads: Uploads, folder: Path, page: Page | None
) -> Callable[[int], None]:
    """A function that attaches the first so many bytes to the first record, and fails where the
    client tells that it did not succeed.

    :param kind: and ``name``, those of :data:`EVERY`.
    :param page: for those in a page.
    """

    def upload(size: int) -> None:
        content = CONTENT[:size]
        if kind == "draft":
            answer = upload_by_draft(uploads, "first", name, content)
            ended = (answer.status, answer.headers.get("upload-complete"))
            assert ended == (201, "?1"), answer
        elif kind == "tuspy":
            make = tuspy_async if name == "async" else tuspy
            run(make(uploads, "first", content, upload_checksum=name == "checksum"))
        else:
            script = f"const file = content.slice(0, {size}); {SCRIPTS_OF[name]}"
            runs = in_page(uploads, page, script) if page else in_node(uploads, folder, script)
            assert runs["ended"] == "success", runs

    return upload


def tuspy(uploads: Uploads, record: str, content: bytes = CONTENT, **options: Any) -> Any:
    """An uploader of tuspy, which tries again."""
    return _tuspy(uploads, record).uploader(**_options(content, options))


def tuspy_async(uploads: Uploads, record: str, content: bytes = CONTENT, **options: Any) -> Any:
    """The same, to be awaited."""
    return _tuspy(uploads, record).async_uploader(**_options(content, options))


def run(upload: Any) -> None:
    """Have tuspy upload, in whichever of its ways; playwright has the loop of this thread."""
    if isinstance(upload, AsyncUploader):
        with ThreadPoolExecutor(1) as other:
            other.submit(asyncio.run, upload.upload()).result()
    else:
        upload.upload()


def upload_by_draft(uploads: Uploads, record: str, version: str, content: bytes = CONTENT) -> Any:
    """By hand: careful creation, and the rest in pieces, after breaks from where the server is.

    :returns: the last answer; a fault that passes may be it only after three.
    """
    failures = 0
    spoken: dict[str, Any] = {"Upload_Draft_Interop_Version": version}
    created = {**spoken, "Content_Type": "application/octet-stream", "Upload_Complete": "?0"}
    url = ask("PUT", uploads.attachment_url(record), **created)[1].headers["location"]
    while True:
        offset = int(ask("HEAD", url, **spoken)[1].headers["upload-offset"])
        end = min(offset + PIECE, len(content))
        last = "?1" if end == len(content) else "?0"
        more = {"Upload_Offset": offset, "Content_Type": "application/partial-upload"}
        try:
            sent = {**spoken, **more, "Upload_Complete": last}
            _, answer = ask("PATCH", url, content[offset:end], **sent)
        except (EOFError, OSError):
            continue
        failures += answer.status >= 400
        if answer.status in (409, 503) and failures <= 3:
            continue  # 409: a request that broke off can come after the one that asked.
        if answer.status >= 400 or last == "?1":
            return answer


def _tuspy(uploads: Uploads, record: str) -> TusClient:
    return TusClient(uploads.tus_url(record), headers={"Authorization": SECRET})


def _options(content: bytes, options: dict[str, Any]) -> dict[str, Any]:
    default = {"chunk_size": PIECE, "retries": 3, "retry_delay": 0}
    return {
        "file_stream": io.BytesIO(content),
        "metadata": {"filename": "a.bin"},
        **default,
        **options,
    }
