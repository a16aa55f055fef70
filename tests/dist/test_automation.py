"""What runs by itself: on each push, on a tag, before a commit. None of it can be run here."""

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import processes
from tests.dist.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOWS = [f".github/workflows/{name}.yml" for name in ("tests", "publish")]
AUTOMATION = [*WORKFLOWS, ".travis.yml", ".pre-commit-config.yaml", ".ci/run", "tox.ini"]
BEFORE_MAKE = "run: |script: |entry: |commands = |exec "


def workflow(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return found


def test_the_same_pythons_are_promised_and_tested_everywhere() -> None:
    name = "Programming Language :: Python :: 3."
    promised = [f"3.{c.removeprefix(name)}" for c in PROJECT["classifiers"] if c.startswith(name)]
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")

    assert PROJECT["requires-python"] == f">={promised[0]}"
    assert workflow(WORKFLOWS[0])["jobs"]["tests"]["strategy"]["matrix"]["python"] == promised
    assert workflow(".travis.yml")["python"] == promised
    assert tox["tox"]["env_list"] == ", ".join(f"py{v.replace('.', '')}" for v in promised)


@pytest.mark.parametrize("path", AUTOMATION)
def test_every_target_that_make_is_called_for_exists(path: str) -> None:
    targets = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
    text = (ROOT / path).read_text(encoding="utf-8")
    calls = re.findall(rf"^\W*(?:{BEFORE_MAKE})?make (.+)$", text, re.MULTILINE)
    words = [word for call in calls for word in call.split()]
    called = [word for word in words if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)]

    assert called
    assert set(called) <= set(targets)


def test_the_style_is_checked_before_everything_else() -> None:
    jobs = workflow(WORKFLOWS[0])["jobs"]
    assert {name: job.get("needs") for name, job in jobs.items() if name != "lint"} == {
        name: "lint" for name in ("tests", "faults", "clients", "wheel")
    }
    ours = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert ours.index(" lint") < ours.index(" tests-")


def test_only_the_job_that_publishes_has_an_identity() -> None:
    """And nothing of the project runs in it."""
    jobs = {
        name: job
        for path in WORKFLOWS
        for name, job in workflow(path)["jobs"].items()
        if job.get("permissions")
    }

    assert [workflow(path)["permissions"] for path in WORKFLOWS] == [{"contents": "read"}] * 2
    assert list(jobs) == ["publish"]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert not [step for step in jobs["publish"]["steps"] if "run" in step]


def test_what_is_published_has_been_tested_and_carries_an_attestation() -> None:
    jobs = workflow(WORKFLOWS[1])["jobs"]
    publish = jobs["publish"]["steps"][-1]

    assert (jobs["publish"]["needs"], jobs["build"]["needs"]) == ("build", "tests")
    assert jobs["tests"]["uses"].removeprefix("./") == WORKFLOWS[0]
    assert publish["uses"].startswith("pypa/gh-action-pypi-publish@v")
    assert publish["with"] == {"attestations": True}


@pytest.mark.parametrize("path", WORKFLOWS)
def test_every_action_has_a_version(path: str) -> None:
    used = re.findall(r"uses: (\S+)", (ROOT / path).read_text(encoding="utf-8"))
    others = [action for action in used if not action.startswith("./")]

    assert others
    assert [action for action in others if not re.search(r"@v\d+(\.\d+)*$", action)] == []


@pytest.mark.parametrize(
    ("measures", "chosen", "held"),
    [
        ("yes", "", True),
        ("yes", "tests/units/test_keys.py", False),
        ("", "", False),
    ],
)
def test_only_the_run_of_all_tests_is_held_to_the_coverage_floor(
    tmp_path: Path, measures: str, chosen: str, held: bool
) -> None:
    dry = ["make", "--dry-run", "--directory", str(ROOT), "tests", f"ARGS={chosen}"]
    dry.append(f"python_measures={measures}")
    done = processes.run(dry, tmp_path, {"MAKEFLAGS": "", "MAKELEVEL": ""})

    assert done.returncode == 0, done.stderr
    (pytests,) = [line for line in done.stdout.splitlines() if " -m pytest " in line]
    assert ("--cov-fail-under" in pytests) is held


def test_the_archives_are_built_beside_the_documentation_and_not_in_its_place(
    tmp_path: Path,
) -> None:
    done = processes.run(["make", "--dry-run", "--directory", str(ROOT), "dist"], tmp_path)

    removed = [line for line in done.stdout.splitlines() if "rm " in line]
    assert removed == ["rm -rf dist"], done.stderr
