"""deploy/, read by programs that know each format: what would run it is not at hand.

Those that run here, ``kinto.ini``, ``gunicorn.conf.py``, ``wsgi.py`` and ``nginx.conf``, are run
by ``tests/docs/test_documented_deployment.py`` and ``tests/clients/test_deployed_nginx.py``.

It is long because numbers of one format have to fit those of another: they are compared here.
"""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from kinto_attachment.settings.table import SETTINGS
from tests.support import deployment, processes
from tests.support.deployment import DEPLOY, numbers, settings_of, text
from tests.support.documents import ROOT, example, table
from tests.support.processes import BIN

UNITS = DEPLOY / "systemd"
COMPOSE: dict[str, Any] = yaml.safe_load(text("compose.yaml"))
INI = ConfigParser(interpolation=None)
INI.read_string(text("kinto.ini"))
KINTO = INI["app:main"]


def checked(folder: Path, *command: str | Path, **env: str) -> str:
    """Run a linter that has to be content; returns what it printed."""
    done = processes.run([str(word) for word in command], folder, env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def program(name: str, instead: str) -> str:
    """A program that pip can't install; where it is not, the test says that it was skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed, {instead}: apt-get install systemd prometheus")
    return found


# The container.


def test_hadolint_has_nothing_to_say_of_the_container_file(tmp_path: Path) -> None:
    assert checked(tmp_path, BIN / "hadolint", "--no-color", DEPLOY / "Containerfile") == ""


def test_the_image_is_made_of_files_that_exist_and_reach_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text("Containerfile"), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    allowed = re.findall(r"^!(.+)$", text("Containerfile.dockerignore"), re.MULTILINE)

    assert {source for source in sources if not (ROOT / source).exists()} == set()
    assert set(allowed) == sources


def test_the_image_runs_what_is_documented_as_somebody_without_rights() -> None:
    lines = text("Containerfile").splitlines()
    (command,) = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    (user,) = [line.removeprefix("USER ") for line in lines if line.startswith("USER ")]

    assert json.loads(command) == shlex.split(example("gunicorn"))
    assert f"--uid {user} " in text("Containerfile")
    assert int(user) > 0
    assert "--constraint constraints.txt" in text("Containerfile")


# Compose.


def test_compose_files_schema_takes_the_services(tmp_path: Path) -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    checked(tmp_path, BIN / "check-jsonschema", *schema, DEPLOY / "compose.yaml")


def test_compose_is_told_all_that_it_asks_for_and_nothing_else() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?\}", text("compose.yaml")))

    assert "$" not in re.sub(r"\$\{\w+:\?\}", "", text("compose.yaml"))
    assert set(settings_of("compose.env.example")) == asked


def test_compose_mounts_what_is_there_and_waits_for_what_it_knows() -> None:
    services, volumes = COMPOSE["services"], COMPOSE["volumes"]
    mounts = [mount.split(":")[0] for s in services.values() for mount in s.get("volumes", [])]
    made = {"./certificates"}
    waited = {name for s in services.values() for name in s.get("depends_on", {})}

    assert {m for m in mounts if m.startswith(".") and not (DEPLOY / m).exists()} == made
    assert {m for m in mounts if not m.startswith(".")} == set(volumes)
    assert waited <= set(services)
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            checks = "healthcheck" in services[other] or other == "kinto"
            assert how["condition"] != "service_healthy" or checks, f"{name} waits for {other}"


def test_every_image_of_others_has_a_version() -> None:
    images = [s["image"] for s in COMPOSE["services"].values()]
    bases = re.findall(r"^FROM (\S+)", text("Containerfile"), re.MULTILINE)
    others = [image for image in [*images, *bases] if image != "kinto-attachment"]

    assert [image for image in others if not re.search(r":v?\d", image)] == []


# Settings.


@pytest.mark.parametrize(
    "given",
    [COMPOSE["services"]["kinto"]["environment"], settings_of("env.example")],
    ids=["compose.yaml", "env.example"],
)
def test_the_variables_are_settings_that_exist(given: Mapping[str, str]) -> None:
    ours = {f"KINTO_ATTACHMENT_{s.key.replace('.', '_').upper()}" for s in SETTINGS}
    kintos = {f"KINTO_{name}_URL" for name in ("STORAGE", "PERMISSION", "CACHE")}
    kintos |= {"KINTO_HTTP_HOST", "KINTO_USERID_HMAC_SECRET"}

    assert set(given) - ours == kintos


def test_the_lines_for_s3_in_the_environment_are_settings_as_well() -> None:
    ours = {f"KINTO_ATTACHMENT_{s.key.replace('.', '_').upper()}" for s in SETTINGS}
    others = re.findall(r"^#(KINTO_\w+)=", text("env.example"), re.MULTILINE)

    assert "KINTO_ATTACHMENT_AWS_BUCKET_NAME" in others
    assert set(others) <= ours


def test_no_secret_stands_in_the_files() -> None:
    for name in ("kinto.ini", "compose.yaml", "kubernetes/deployment.yaml", "garage.toml"):
        # Where a secret belongs, the environment is asked for it.
        asked = re.sub(r"\$\{\w+:\?\}", "", text(name))
        named = re.findall(r"(?i)(?:secret|password|_key)\w*: *(\w.*)", asked)
        assert named == [], name


# Numbers that belong together.


def test_nginx_takes_what_kinto_takes_and_can_keep_it() -> None:
    largest = int(KINTO["kinto.attachment.max_size_bytes"])
    (body,) = numbers("nginx.conf", "client_max_body_size")
    (kept,) = numbers("nginx.conf", "proxy_max_temp_file_size")

    assert largest < body == kept


def test_it_is_never_gunicorn_that_hangs_up() -> None:
    assert max(numbers("nginx.conf", "keepalive_timeout")) < min(
        numbers("gunicorn.conf.py", "keepalive")
    )


def test_whoever_stops_gunicorn_waits_longer_than_it_does() -> None:
    (grace,) = numbers("gunicorn.conf.py", "graceful_timeout")
    stop = int(COMPOSE["services"]["kinto"]["stop_grace_period"].removesuffix("s"))
    (unit,) = numbers("systemd/kinto-server.service", "TimeoutStopSec")
    pod = deployed_pod()["terminationGracePeriodSeconds"]

    assert min(stop, unit, pod - 10) > grace


def test_nginx_sends_files_as_the_page_about_it_says() -> None:
    """Where this fails, one of the two has changed: copy it."""
    assert words(example("accel-nginx")) in words(text("nginx.conf"))


def test_what_is_shown_of_nginx_stands_in_its_file() -> None:
    lines = [line.strip() for line in text("nginx.conf").splitlines()]
    elsewhere = {"proxy_pass http://127.0.0.1:8888;": "proxy_pass http://kinto;"}
    shown = [line.strip() for line in example("nginx").splitlines()]

    assert [line for line in shown if elsewhere.get(line, line) not in lines] == []


def words(source: str) -> str:
    return " ".join(source.split())


# Kubernetes.


def deployed_pod() -> dict[str, Any]:
    first, _ = yaml.safe_load_all(text("kubernetes/deployment.yaml"))
    pod: dict[str, Any] = first["spec"]["template"]["spec"]
    return pod


def test_kubernetes_schemas_take_the_deployment(tmp_path: Path) -> None:
    checked(
        tmp_path, BIN / "kubernetes-validate", "--strict", DEPLOY / "kubernetes/deployment.yaml"
    )


def test_the_probes_ask_for_what_they_are_meant_to_and_wait_long_enough() -> None:
    (kinto,) = deployed_pod()["containers"]
    live, ready = kinto["livenessProbe"], kinto["readinessProbe"]
    gives_up = float(KINTO["kinto.heartbeat_timeout_seconds"])

    assert live["httpGet"]["path"] == "/v1/__lbheartbeat__"
    assert ready["httpGet"]["path"] == "/v1/__heartbeat__"
    assert gives_up < ready["timeoutSeconds"] < ready["periodSeconds"]
    assert kinto["startupProbe"]["httpGet"] == live["httpGet"]


# systemd.


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with programs that exist: else there is a complaint about each."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder)
    for unit in folder.glob("*.service"):
        unit.write_text(unit.read_text().replace("/opt/kinto/bin", str(BIN)))
    return folder


def systemd_analyze(folder: Path, *words: str | Path) -> str:
    """What it says, of our units alone: it looks at those that they name as well."""
    command = program("systemd-analyze", "the units have not been looked at")
    env = {"SYSTEMD_UNIT_PATH": f"{folder}:"}
    said = checked(folder, command, *words, **env).splitlines()
    return "\n".join(line for line in said if re.search(r"kinto|unit-failed", line))


def test_systemd_has_nothing_to_say_of_the_units(units: Path) -> None:
    found = [path for path in units.iterdir() if path.is_file()]

    assert len(found) == 8
    assert systemd_analyze(units, "verify", *sorted(found)) == ""


def test_systemd_notices_a_directive_that_does_not_exist(units: Path) -> None:
    """Else the test above would say nothing."""
    conf = units / "kinto-.service.d" / "hardened.conf"
    conf.write_text(conf.read_text().replace("NoNewPrivileges", "NoNewPrivilege"))

    assert "NoNewPrivilege" in systemd_analyze(units, "verify", units / "kinto-gc.service")


@pytest.mark.parametrize("name", ["server", "gc", "verify", "doctor"])
def test_the_units_may_do_little(units: Path, name: str) -> None:
    """systemd counts what they may do: 10 is everything, and up to 2 it calls "OK"."""
    threshold = ["security", "--offline=true", "--threshold=20"]

    said = systemd_analyze(units, *threshold, units / f"kinto-{name}.service")

    assert "Overall exposure level" in said


@pytest.mark.parametrize("name", ["gc", "verify", "doctor"])
def test_the_nightly_units_do_what_is_documented_and_are_caught_up_with(name: str) -> None:
    service, timer = text(f"systemd/kinto-{name}.service"), text(f"systemd/kinto-{name}.timer")
    (line,) = re.findall(r"^ExecStart=/opt/kinto/bin/(.+)$", service, re.MULTILINE)

    # The journal keeps what cron would mail.
    assert f"{line.replace('/etc/kinto/', '')} --quiet" in example("every-night").splitlines()
    assert "OnFailure=unit-failed@%n.service" in service
    assert {"Persistent=true", "RandomizedDelaySec=30min"} <= set(timer.splitlines())


def test_the_server_unit_runs_what_is_documented() -> None:
    (line,) = re.findall(
        r"^ExecStart=/opt/kinto/bin/(.+)$", text("systemd/kinto-server.service"), re.MULTILINE
    )
    assert line.replace("/etc/kinto/", "") == example("gunicorn")


# Prometheus.


def test_promtool_takes_the_alerts_and_they_are_raised_when_they_should(tmp_path: Path) -> None:
    promtool = program("promtool", "the alert rules have not been tried")
    rules = DEPLOY / "prometheus"

    checked(tmp_path, promtool, "check", "rules", rules / "alerts.yml")
    checked(tmp_path, promtool, "test", "rules", rules / "alerts_test.yml")


def test_every_alert_has_a_test_a_reason_and_something_to_do() -> None:
    groups = yaml.safe_load(text("prometheus/alerts.yml"))["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    tests = yaml.safe_load(text("prometheus/alerts_test.yml"))["tests"]
    raised = {
        case["alertname"]
        for given in tests
        for case in given["alert_rule_test"]
        if case.get("exp_alerts")
    }

    assert raised == {alert["alert"] for alert in alerts}
    for alert in alerts:
        assert {"summary", "description"} == set(alert["annotations"])
        assert alert["labels"]["severity"] in ("page", "ticket")


# The kit as a whole.


def test_every_file_is_named_in_the_documentation_and_in_its_readme() -> None:
    named = {name for row in table("kit") for name in re.findall(r"`([^`]+)`", row[0])}
    files = {path.relative_to(DEPLOY).as_posix() for path in DEPLOY.rglob("*") if path.is_file()}
    of_folders = {name for name in files if name.startswith("systemd/")}
    minor = {"README.rst", "Containerfile.dockerignore", "prometheus/alerts_test.yml"}

    assert named == (files - of_folders - minor) | {"systemd/"}
    for name in named:
        assert f"``{name}``" in text("README.rst")


def test_python_files_of_the_kit_compile(tmp_path: Path) -> None:
    for name in ("gunicorn.conf.py", "wsgi.py"):
        shutil.copy(DEPLOY / name, tmp_path / name)
        checked(tmp_path, sys.executable, "-m", "py_compile", tmp_path / name)


def test_the_kit_may_be_read_by_everybody_and_run_by_nobody() -> None:
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]

    assert [path for path in files if os.access(path, os.X_OK) and os.geteuid() != 0] == []
    assert deployment.settings_of("env.example")
