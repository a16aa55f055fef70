"""deploy/ at work: Kinto with its very files, on gunicorn and granian, PostgreSQL and two stores.

nginx is before it in ``tests/clients/test_deployed_nginx.py``; what can't be run here is read by
``tests/dist/test_deployment.py``. Long: all of it shares one server, which is slow to start.
"""

import re
import secrets
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy
import yaml

from kinto_attachment.attachments.refusals import REFUSALS
from kinto_attachment.metrics import GAUGE, METRICS
from tests.support import deployment, processes, storage_parts
from tests.support.deployment import ADMIN, DEPLOY, settings_of, text
from tests.support.documents import ROOT, example

GUNICORN, GRANIAN = shlex.split(example("gunicorn")), shlex.split(example("granian"))
SERVER = "https://kinto.example.org/v1"
BYTES_IN = "kinto_attachment_received_bytes_total"
NIGHTLY = {"gc", "verify", "doctor"}


@dataclass(frozen=True)
class Deployed:
    """A running server.

    :ivar told: what it has said to systemd.
    """

    origin: str
    folder: Path
    env: dict[str, str]
    told: bytes = b""


def empty_database(server: str) -> str:
    """The URL of a new one, since a store belongs to one."""
    url = server.replace("postgresql://", "postgresql+psycopg2://")
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"deployed_{secrets.token_hex(8)}"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
        connection.execute(sqlalchemy.text(f"ALTER DATABASE {name} SET timezone TO 'UTC'"))
    engine.dispose()
    return re.sub(r"/\w+\?", f"/{name}?", server)


@pytest.fixture(scope="module")
def deployed(
    postgresql: str, s3_url: str, s3: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """Kinto as compose.yaml has it, of another S3, started as by systemd."""
    folder = tmp_path_factory.mktemp("deployed")
    compose = re.findall(r"^    (KINTO_ATTACHMENT_\w+): (.+)$", text("compose.yaml"), re.MULTILINE)
    store = {
        **dict(compose),
        "KINTO_ATTACHMENT_AWS_ENDPOINT_URL": s3_url,
        "KINTO_ATTACHMENT_AWS_BUCKET_NAME": storage_parts.new_bucket(s3),
        "KINTO_ATTACHMENT_AWS_ACCESS_KEY": storage_parts.ACCESS_KEY,
        "KINTO_ATTACHMENT_AWS_SECRET_KEY": storage_parts.SECRET_KEY,
        "KINTO_ATTACHMENT_AWS_TIMEOUT": storage_parts.PATIENCE,
    }
    env = deployment.environment(empty_database(postgresql), store)
    deployment.prepare(folder, env)
    (folder / "tmp").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(processes.STARTS_WITHIN)
        of_server = {
            "NOTIFY_SOCKET": str(folder / "notify"),
            "TMPDIR": str(folder / "tmp"),
            "WEB_CONCURRENCY": "3",
        }
        with deployment.kinto(folder, GUNICORN, {**env, **of_server}) as origin:
            yield Deployed(origin, folder, env, systemd.recv(1000))
    assert list((folder / "tmp").iterdir()) == []


@pytest.fixture
def types(tmp_path: Path) -> Callable[..., str]:
    """Type a script of the documents, with programs that are not there played by others."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()

    def run(script: str, folder: Path, env: dict[str, str], **played: str) -> str:
        for name, does in played.items():
            (stubs / name.replace("_", "-")).write_text(f"#!/bin/sh -eu\n{does}\n")
            (stubs / name.replace("_", "-")).chmod(0o755)
        done = processes.run(["sh", "-eu", "-c", f"PATH={stubs}:$PATH\n{script}"], folder, env)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def made_records(origin: str) -> str:
    """The URL of the records of a collection that is there."""
    collection = f"{origin}/v1/buckets/films/collections/all"
    for url in (collection.partition("/collections")[0], collection):
        requests.put(url, auth=ADMIN).raise_for_status()
    return f"{collection}/records"


def serves_files(origin: str) -> None:
    """Store one and read it, as the administrator."""
    record = f"{made_records(origin)}/one"
    content = secrets.token_bytes(3_000_000)
    uploaded = requests.put(f"{record}/attachment?filename=a.jpg", data=content, auth=ADMIN)
    assert uploaded.status_code == 201, uploaded.text
    assert requests.get(f"{record}/attachment", auth=ADMIN).content == content
    assert requests.get(f"{origin}/v1/__heartbeat__").json()["attachments"] is True
    requests.delete(record, auth=ADMIN).raise_for_status()


def test_gunicorn_serves_files_with_the_settings_of_the_kit(deployed: Deployed) -> None:
    serves_files(deployed.origin)

    capabilities = requests.get(f"{deployed.origin}/v1/").json()["capabilities"]
    assert capabilities["attachments"]["base_url"] == f"{SERVER}/"


def test_granian_serves_files_from_the_directory_of_the_kit(
    postgresql: str, tmp_path: Path
) -> None:
    given = settings_of("env.example")["KINTO_ATTACHMENT_BASE_PATH"]
    assert given == "/var/lib/kinto/files"
    store = {"KINTO_ATTACHMENT_BASE_PATH": str(tmp_path / "files")}
    env = deployment.environment(empty_database(postgresql), store)
    deployment.prepare(tmp_path, env)
    with deployment.kinto(tmp_path, GRANIAN, env) as origin:
        serves_files(origin)


def test_nobody_but_the_administrator_makes_accounts_and_buckets(deployed: Deployed) -> None:
    account = {"data": {"password": "a-password"}}
    for path, how in (
        ("accounts/mallory", {"json": account}),
        ("buckets/own", {"auth": ("x", "y")}),
    ):
        assert requests.put(f"{deployed.origin}/v1/{path}", **how).status_code == 401


def test_gunicorn_tells_systemd_when_it_is_ready(deployed: Deployed) -> None:
    assert "Type=notify" in text("systemd/kinto-server.service").splitlines()
    assert b"READY=1" in deployed.told


def test_each_process_of_gunicorn_tells_what_all_have_counted(deployed: Deployed) -> None:
    origin = deployed.origin
    records = made_records(origin)
    for number in range(6):
        url = f"{records}/{number}/attachment?filename=a.jpg"
        requests.put(url, data=bytes(1000), auth=ADMIN).raise_for_status()

    # A connection for each look: another process may take it.
    told = {requests.get(f"{origin}/v1/__metrics__").text for _ in range(9)}

    lines = {line for text in told for line in text.splitlines() if line.startswith(BYTES_IN)}
    (line,) = lines
    assert float(line.split()[-1]) >= 6000


def test_the_alerts_are_made_of_metrics_that_there_are(deployed: Deployed) -> None:
    refused = f"{made_records(deployed.origin)}/refused/attachment?filename=a.exe"
    assert requests.put(refused, data=b"MZ", auth=ADMIN).status_code == 400
    expressions = [rule["expr"] for rule in alerts()]
    ours = {name for text in expressions for name in re.findall(r"\bkinto_\w+", text)}

    told = requests.get(f"{deployed.origin}/v1/__metrics__").text

    assert ours
    by_commands = {m.prometheus() for m in METRICS if m.kind == GAUGE}  # Told once they have run.
    assert {name for name in ours if f"\n{name}{{" not in told} <= by_commands
    reasons = {r for text in expressions for r in re.findall(r'reason="(\w+)"', text)}
    assert reasons <= set(REFUSALS)


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(text("prometheus/alerts.yml"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


# The page, block by block.


def test_the_files_of_compose_are_laid_out_as_shown(
    tmp_path: Path, types: Callable[..., str]
) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    for name in ("pem", "key"):
        (tmp_path / f"mine.{name}").write_text(name)
    places = {
        "/path/of/your/certificate.pem": str(tmp_path / "mine.pem"),
        "/path/of/your/certificate.key": str(tmp_path / "mine.key"),
    }

    types(deployment.substituted(example("deploy-fill-in"), places), tmp_path, {})

    laid = tmp_path / "deploy"
    assert (laid / ".env").stat().st_mode & 0o777 == 0o600
    for name in re.findall(r"/etc/nginx/certificates/(.+);", text("nginx.conf")):
        assert (laid / "certificates" / name).exists()


def test_compose_makes_the_administrator_who_stores_a_film_and_looks_after_it(
    deployed: Deployed, types: Callable[..., str]
) -> None:
    """Docker is played by a script: what is to be run in the container of Kinto is run here."""
    docker = """
        case "$*" in
            "compose up --build --detach") exit;;
            "compose exec -T kinto "*) shift 4; exec "$@";;
            "compose exec kinto "*) shift 3; printf 'a-password\\na-password\\n' | "$@";;
            *) exit 1;;
        esac"""
    where, url = (deployed.folder, deployed.env), f"{deployed.origin}/v1"
    types(example("deploy-compose").replace("admin", "second"), *where, docker=docker)
    (deployed.folder / "photo.jpg").write_bytes(bytes(1000))
    places = {SERVER: url, "--user admin": f"--user {':'.join(ADMIN)}"}
    types(deployment.substituted(example("deploy-try"), places), *where)

    types(example("deploy-compose-nightly"), *where, docker=docker)

    record = f"{url}/buckets/films/collections/all/records/first"
    assert requests.get(f"{record}/attachment", auth=ADMIN).content == bytes(1000)
    assert requests.get(f"{url}/accounts/second", auth=("second", "a-password")).ok
    lines = example("deploy-compose-nightly").splitlines()
    assert {line.split()[6] for line in lines} == NIGHTLY


def test_systemds_files_are_laid_out_as_shown(tmp_path: Path, types: Callable[..., str]) -> None:
    """Users and packages are not made: the commands for them are written down."""
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    script = example("deploy-systemd").replace("/opt/kinto/bin/pip", "pip")
    for folder in ("/opt", "/etc", "/var"):
        script = re.sub(rf"(?<![\w.]){folder}/", f"{tmp_path}{folder}/", script)
    note = f'echo "$(basename $0) $*" >> {tmp_path}/asked'
    played = dict.fromkeys(("useradd", "usermod", "python3", "pip"), note)

    types(f"cd {ROOT}\n{script}", tmp_path, {}, **played)

    etc = tmp_path / "etc"
    assert (etc / "kinto/env").stat().st_mode & 0o777 == 0o600
    for name in ("kinto/kinto.ini", "kinto/gunicorn.conf.py", "nginx/nginx.conf"):
        assert (etc / name).read_text() == text(Path(name).name)
    units = {path.name for path in (etc / "systemd/system").iterdir()}
    assert units == {path.name for path in (DEPLOY / "systemd").iterdir()}
    made, joined, environment, installed = (tmp_path / "asked").read_text().splitlines()
    assert made == "useradd --system --no-create-home kinto"
    # nginx reads the files by their group, and its workers are of that user.
    assert joined == "usermod --append --groups kinto www-data"
    assert "user www-data;" in text("nginx.conf")
    assert environment == f"python3 -m venv {tmp_path}/opt/kinto"
    packages = installed.removeprefix("pip install ").replace(
        ".[postgresql,s3]", "'.[postgresql,s3]'"
    )
    assert packages in " ".join(text("Containerfile").replace("\\\n", "").split())


def test_the_units_that_are_started_exist_and_the_command_makes_the_administrator(
    deployed: Deployed, types: Callable[..., str]
) -> None:
    started = set(re.findall(r"\S+\.(?:service|timer)", example("deploy-systemd-start")))
    ours = {path.name for path in (DEPLOY / "systemd").iterdir()}
    assert started - ours == {"nginx.service"}
    assert {n for n in started if n.endswith(".timer")} == {
        n for n in ours if n.endswith(".timer")
    }
    runs = """
        while case "$1" in --*) true;; *) false;; esac; do shift; done
        printf 'a-password\\na-password\\n' | "$@" """
    places = {
        "/opt/kinto/bin": str(processes.BIN),
        "/etc/kinto/kinto.ini": "kinto.ini",
        "admin": "third",
    }
    script = deployment.substituted(example("deploy-systemd-start"), places)

    types(script, deployed.folder, deployed.env, systemd_run=runs, systemctl="exit")

    url = f"{deployed.origin}/v1/accounts/third"
    assert requests.get(url, auth=("third", "a-password")).ok


def test_kubernetes_is_given_a_secret_and_a_file_that_exist() -> None:
    secret, apply = map(shlex.split, example("deploy-kubernetes").splitlines())

    assert secret[:5] == ["kubectl", "create", "secret", "generic", "kinto"]
    assert "secretRef: {name: kinto}" in text("kubernetes/deployment.yaml")
    assert (ROOT / apply[-1]).exists()
