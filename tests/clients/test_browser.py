"""A real browser: stored attacks run nowhere, films seek, pages of other origins are refused."""

import json
import struct
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Page

from tests.clients.browser import Site, running

ALICE = ("alice", "secret")
RECORDS = "/v1/buckets/default/collections/attacks/records"
PUBLIC = '{"read": ["system.Everyone"]}'

SCRIPT = "fetch('/report/{0}', {{method: 'POST', body: '1'}})"
ATTACKS = {
    "page.html": ("text/html", "<!DOCTYPE html><script>{}</script>"),
    "page.xhtml": (
        "application/xhtml+xml",
        '<html xmlns="http://www.w3.org/1999/xhtml"><script>{}</script></html>',
    ),
    "picture.svg": (
        "image/svg+xml",
        '<svg xmlns="http://www.w3.org/2000/svg" onload="{}"><script>{}</script></svg>',
    ),
    "feed.xml": (
        "text/xml",
        '<x xmlns:h="http://www.w3.org/1999/xhtml"><h:script>{}</h:script></x>',
    ),
    "text.txt": ("text/plain", "<!DOCTYPE html><script>{}</script>"),
    "paper.pdf": ("application/pdf", ""),
}


def pdf(script: str) -> bytes:
    """A PDF that runs a script when it is opened."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /OpenAction 4 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>",
        f"<< /S /JavaScript /JS <{script.encode().hex()}> >>",
    ]
    body, places = "%PDF-1.4\n", []
    for number, written in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj {written} endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start = len(body)
    body += f"xref\n0 5\n0000000000 65535 f \n{table}"
    return (body + f"trailer << /Size 5 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF").encode()


def content(name: str, report: str) -> bytes:
    script = SCRIPT.format(report)
    if name.endswith(".pdf"):
        return pdf(f"app.launchURL('/report/{report}'); {script}")
    return ATTACKS[name][1].replace("{}", script).encode()


def attach(site: Site, name: str, body: bytes) -> str:
    """The path of a file that everyone may read."""
    record = f"{RECORDS}/{name.replace('.', '-')}"
    form = {"attachment": (name, body, ATTACHMENTS_TYPE)}
    answer = requests.post(
        f"{site.origin}{record}/attachment", files=form, data={"permissions": PUBLIC}, auth=ALICE
    )
    assert answer.status_code == 201, answer.text
    bucket = requests.get(f"{site.origin}/v1/", auth=ALICE).json()["user"]["bucket"]
    return f"{record.replace('default', bucket)}/attachment"


ATTACHMENTS_TYPE = "text/html"  # The client's word is not to be believed.

FRAMES = """<!DOCTYPE html><title>x</title>
<script>
const urls = {urls};
let left = urls.length * 3;
const report = () => fetch('/report/done', {{method: 'POST'}});
const done = () => {{ if (--left == 0) setTimeout(report, {rest}) }};
for (const url of urls) for (const kind of ['iframe', 'embed', 'object']) {{
  const element = document.createElement(kind);
  element.onload = element.onerror = done;
  element[kind == 'object' ? 'data' : 'src'] = url;
  addEventListener('load', () => document.body.append(element));
}}
setTimeout(report, {most});
</script><body>"""


def frames(paths: list[str], most: int) -> tuple[str, bytes]:
    page = FRAMES.format(urls=json.dumps(paths), rest=500, most=most)
    return "text/html", page.encode()


def test_the_attacks_do_run_where_nothing_protects(tmp_path: Path, page: Page) -> None:
    """The control: otherwise the next test could not fail."""
    with running(tmp_path) as site:
        for name, (kind, _) in ATTACKS.items():
            site.pages[f"/{name}"] = (kind, content(name, name))
        site.pages["/page"] = frames([f"/{name}" for name in ATTACKS], 20_000)
        page.goto(f"{site.origin}/page")
        for name in ("page.html", "page.xhtml", "picture.svg", "feed.xml"):
            site.wait_for(name)


def test_html_svg_xml_and_pdf_that_were_uploaded_run_no_script(tmp_path: Path, page: Page) -> None:
    with running(tmp_path) as site:
        paths = [attach(site, name, content(name, name)) for name in ATTACKS]
        site.pages["/page"] = frames(paths, 5_000)
        page.goto(f"{site.origin}/page")
        site.wait_for("done")

        opened = {path for method, path, _, status in site.seen if status.startswith("200")}
        assert set(paths) <= opened
        assert set(site.reports) == {"done"}


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "paper.pdf"])
def test_an_attack_that_is_opened_by_itself_runs_no_script(
    tmp_path: Path, page: Page, name: str
) -> None:
    opener = "<!DOCTYPE html><script>open({0!r}); setTimeout(() => {1}, 3000)</script>"
    with running(tmp_path) as site:
        path = attach(site, name, content(name, name))
        opening = opener.format(path, SCRIPT.format("done"))
        site.pages["/page"] = ("text/html", opening.encode())
        page.goto(f"{site.origin}/page")
        site.wait_for("done")

        assert set(site.reports) == {"done"}


FILM = 50 * 1024 * 1024
RATE = 44_100 * 4
SEEK = """<!DOCTYPE html><video id="v" preload="metadata" src="{url}"></video>
<script>
const v = document.getElementById('v');
const report = what => fetch('/report/seeked', {{method: 'POST', body: JSON.stringify(what)}});
v.onerror = () => report(v.error.message);
v.onloadedmetadata = () => {{ v.currentTime = v.duration - 5 }};
v.onseeked = () => report(v.currentTime / v.duration);
</script>"""


def wav(size: int) -> bytes:
    """Silence: what a <video> plays, and seeks in, without any codec."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", size - 8, b"WAVE", b"fmt ", 16, 1, 2, 44_100, RATE, 4, 16,
        b"data", size - 44,
    )  # fmt: skip
    return head + bytes(size - 44)


def test_a_video_of_50_mib_is_sought_by_ranges(tmp_path: Path, page: Page) -> None:
    with running(tmp_path) as site:
        path = attach(site, "film.wav", wav(FILM))
        site.pages["/page"] = ("text/html", SEEK.format(url=path).encode())
        site.seen.clear()
        page.goto(f"{site.origin}/page")
        where = site.wait_for("seeked")

        assert where > 0.9
        late = [
            asked
            for method, seen, asked, status in site.seen
            if seen == path
            and status.startswith("206")
            and int(asked.removeprefix("bytes=").split("-")[0]) > FILM * 0.9
        ]
        assert late, site.seen
