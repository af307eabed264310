"""The workflows run what the project has, with no more rights than they need."""

import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.programs import PROJECT
from tests.packaging.commands import TOOLS

WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")

each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def read(file: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml.safe_load(file.read_text())
    return document


def steps(file: Path) -> Iterator[Mapping[str, Any]]:
    for job in read(file)["jobs"].values():
        yield from job.get("steps", ())


@each_workflow
def test_a_workflow_has_the_shape_that_github_knows(file: Path) -> None:
    subprocess.run(
        [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", file],
        check=True,
        timeout=60,
    )


@each_workflow
def test_an_action_of_others_is_pinned_to_its_commit(file: Path) -> None:
    assert [
        step["uses"] for step in steps(file) if "uses" in step and not PINNED.fullmatch(step["uses"])
    ] == []


@each_workflow
def test_a_workflow_may_only_read_unless_a_job_says_more(file: Path) -> None:
    assert read(file)["permissions"] == {"contents": "read"}


@each_workflow
def test_every_job_ends_by_itself(file: Path) -> None:
    jobs = read(file)["jobs"].values()

    assert all("timeout-minutes" in job for job in jobs if "uses" not in job)
    assert "concurrency" in read(file)


@each_workflow
def test_no_script_holds_a_secret_or_what_a_stranger_wrote(file: Path) -> None:
    for step in steps(file):
        # They come in as variables, which a shell does not read as code.
        assert "${{" not in step.get("run", "")
        assert step.get("with", {}).get("persist-credentials", False) is False


@each_workflow
def test_what_a_workflow_runs_is_there(file: Path) -> None:
    scripts = re.findall(
        r"(?:bash |\./)([\w./-]+(?:\.sh|/run))", "\n".join(s.get("run", "") for s in steps(file))
    )

    assert [script for script in scripts if not (PROJECT / script).exists()] == []


def test_nothing_is_released_that_the_checks_did_not_see() -> None:
    jobs = read(PROJECT / ".github/workflows/release.yml")["jobs"]

    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["build"]["needs"] == "ci"
    assert {jobs["package"]["needs"], jobs["image"]["needs"]} == {"build"}


def test_every_python_that_the_package_names_is_tested() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = {each.rpartition(" ")[2] for each in project["classifiers"] if ":: Python :: 3." in each}
    jobs = read(PROJECT / ".github/workflows/ci.yml")["jobs"]
    (checked,) = (step["with"] for step in jobs["check"]["steps"] if "python-version" in step.get("with", {}))

    assert {*jobs["tests"]["strategy"]["matrix"]["python"], checked["python-version"]} == named


def test_what_is_locked_is_looked_up_for_advisories_every_week() -> None:
    workflow = read(PROJECT / ".github/workflows/audit.yml")
    # YAML 1.1 reads `on` as a truth.
    (moment,) = workflow[True]["schedule"]  # type: ignore[index]

    assert moment["cron"].split()[2:] == ["*", "*", "1"]
    assert any("pip-audit" in step.get("run", "") for step in workflow["jobs"]["advisories"]["steps"])
