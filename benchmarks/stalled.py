"""How others are served while clients stall, behind nginx with the very files of deploy/.

A stalled upload sends a byte every few seconds, so that no time-out ends it; a stalled download
reads no more than its first bytes. Each comes from an address of its own.

Long: it is one measure, from its servers to its clients.
"""

import contextlib
import shlex
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import requests

from benchmarks.database import Database, database
from benchmarks.table import Row
from benchmarks.user import FORM, KIND
from tests.support import deployment
from tests.support.deployment import ADMIN, Front
from tests.support.documents import example
from tests.support.parts import multipart

COLLECTION = "/buckets/bench/collections/album"
LARGE = bytes(8 * 2**20)
PATIENCE = 10
"""Seconds after which somebody counts as not answered."""
DRIP = 5
UNBUFFERED = {
    "proxy_request_buffering on;": "proxy_request_buffering off;",
    "proxy_buffering on;": "proxy_buffering off;",
}


@dataclass(frozen=True)
class Recipe:
    """How Kinto is served: by what, and what differs from the files of deploy/."""

    name: str
    command: list[str]
    nginx: Mapping[str, str]
    accel: bool
    holds: bool


GUNICORN, GRANIAN = shlex.split(example("gunicorn")), shlex.split(example("granian"))
EIGHT_THREADS = shlex.split(
    "gunicorn --workers 1 --worker-class gthread --threads 8 --bind 127.0.0.1:8888"
    " --paste kinto.ini"
)
"""What does not hold, to compare with."""
RECIPES = [
    Recipe("gunicorn", GUNICORN, {}, True, True),
    Recipe("gunicorn, without accel_redirect", GUNICORN, {}, False, True),
    Recipe("granian", GRANIAN, {}, True, True),
    Recipe("8 threads, nginx buffers nothing", EIGHT_THREADS, UNBUFFERED, False, False),
]


def stalled(folder: Path, quick: bool) -> list[Row]:
    """Ordinary requests beside 8, 32 and 200 stalled clients."""
    folder.mkdir(parents=True)
    rows = []
    for number, recipe in enumerate(RECIPES):
        where = folder / str(number)
        with database(where / "pg") as postgresql, _running(where, recipe, postgresql) as front:
            for many in (0, 8) if quick else (0, 8, 32, 200):
                rows += _rows(front, recipe, many, 5 if quick else 40)
    return rows


@contextlib.contextmanager
def _running(folder: Path, recipe: Recipe, postgresql: Database) -> Iterator[Front]:
    """nginx before Kinto, with a collection that has a large file."""
    store = {"KINTO_ATTACHMENT_BASE_PATH": str(folder / "files")}
    if recipe.accel:
        store["KINTO_ATTACHMENT_ACCEL_REDIRECT"] = "/attachment-files/"
    env = deployment.environment(postgresql.url, store)
    front = folder / "front"
    front.mkdir(parents=True)
    deployment.prepare(folder, env)
    with (
        deployment.kinto(folder, recipe.command, env) as origin,
        deployment.nginx(front, origin, recipe.nginx) as running,
    ):
        user = _user(running)
        for path in (COLLECTION.partition("/collections")[0], COLLECTION):
            user("PUT", path)
        user("PUT", f"{COLLECTION}/records/large/attachment?filename=a.jpg", data=LARGE)
        yield running


def _user(front: Front) -> Callable[..., float]:
    """A client with a connection that is kept; a request gives its seconds."""
    session = requests.Session()
    session.trust_env = False  # A machine may name certificates of its own.
    session.auth, session.verify = ADMIN, str(front.certificate)

    def ask(method: str, path: str, **how: object) -> float:
        began = time.perf_counter()
        answer = session.request(method, f"{front.url}{path}", timeout=PATIENCE, **how)  # type: ignore[arg-type]
        answer.raise_for_status()
        return time.perf_counter() - began

    return ask


def _rows(front: Front, recipe: Recipe, many: int, rounds: int) -> list[Row]:
    kinds = {"uploads": _uploading, "downloads": _downloading} if many else {"clients": _nobody}
    rows = []
    for what, begin in kinds.items():
        with _stalling(front, many, begin) as still:
            reads, uploads, unanswered = _served(front, rounds)
            left = still()
        shown = f"{_shown(reads)}; {_shown(uploads)}; {unanswered or 'all answered'}"
        wanted = "all answered" if recipe.holds else "reported"
        note = "" if left == many else f"{many - left} did not stall to the end"
        reached = not unanswered if recipe.holds else None
        name = f"{recipe.name}: {many or 'no'} stalled {what}, GET and 20 KiB upload"
        rows.append(Row(name, "-", shown, wanted, reached, note))
    return rows


def _shown(times: list[float]) -> str:
    """Half of them were quicker than the first figure, none was slower than the second."""
    if not times:
        return "never"
    return f"{median(times) * 1000:.0f} ms, at most {max(times) * 1000:.0f} ms"


def _served(front: Front, rounds: int) -> tuple[list[float], list[float], str]:
    """Seconds of reads and of small uploads; and who got no answer, if anybody."""
    user, lost = _user(front), 0
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        record = f"{COLLECTION}/records/small-{number % 5}"
        for kind, (method, path, how) in enumerate(
            (
                ("GET", f"{COLLECTION}/records/large", {}),
                (
                    "POST",
                    f"{record}/attachment",
                    {"data": FORM, "headers": {"Content-Type": KIND}},
                ),
            )
        ):
            try:
                times[kind].append(user(method, path, **how))
            except requests.RequestException:
                lost += 1
        if lost >= 4:
            return *times, f"{lost} of {2 * number + 2} not answered in {PATIENCE} s"
    return *times, f"{lost} not answered" if lost else ""


@contextlib.contextmanager
def _stalling(
    front: Front, many: int, begin: Callable[[Front, str, int], ssl.SSLSocket]
) -> Iterator[Callable[[], int]]:
    """Clients that stall while the block runs; gives how many of them still do."""
    held = [
        begin(front, f"127.0.{1 + number // 200}.{1 + number % 200}", number)
        for number in range(many)
    ]
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(DRIP):
            for client in held:
                with contextlib.suppress(OSError):
                    client.send(b"x")

    dripping = threading.Thread(target=drip)
    if begin is _uploading:
        dripping.start()
    # By then each has been let in, or waits for somebody to have time for it.
    stop.wait(2 if many else 0)
    try:
        yield lambda: sum(map(_open, held))
    finally:
        stop.set()
        if begin is _uploading:
            dripping.join()
        for client in held:
            client.close()


def _open(client: ssl.SSLSocket) -> bool:
    """Whether the other side has neither answered nor hung up."""
    client.settimeout(0)
    try:
        return bool(client.recv(1))
    except (ssl.SSLWantReadError, BlockingIOError):
        return True
    except OSError:
        return False


def _head(method: str, path: str, *headers: str) -> bytes:
    credentials = requests.auth._basic_auth_str(*ADMIN)
    lines = [f"{method} /v1{path} HTTP/1.1", "Host: kinto.example.org"]
    return "\r\n".join([*lines, f"Authorization: {credentials}", *headers, "", ""]).encode()


def _uploading(front: Front, address: str, number: int) -> ssl.SSLSocket:
    """Sends its head and one KiB."""
    form, kind = multipart([("attachment", "a.jpg", "image/jpeg", LARGE)])
    path = f"{COLLECTION}/records/stalled-{number}/attachment"
    client = deployment.connect(front, address)
    client.sendall(_head("POST", path, f"Content-Type: {kind}", f"Content-Length: {len(form)}"))
    client.sendall(form[:1024])
    return client


def _downloading(front: Front, address: str, number: int) -> ssl.SSLSocket:
    """Reads nothing but what says that the file is on its way."""
    del number
    client = deployment.connect(front, address)
    client.sendall(_head("GET", f"{COLLECTION}/records/large/attachment"))
    return client


def _nobody(front: Front, address: str, number: int) -> ssl.SSLSocket:
    raise AssertionError("none was asked for")
