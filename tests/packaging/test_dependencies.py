"""One list of dependencies: `pyproject.toml`; the lock and `requirements.txt` follow from it."""

import importlib.metadata
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import opendify


def read_toml(file: Path) -> dict[str, object]:
    return tomllib.loads(file.read_text())


def lines_without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def locked_project(project: Path) -> dict[str, object]:
    packages = cast("list[dict[str, object]]", read_toml(project / "uv.lock")["package"])
    (found,) = (package for package in packages if package["name"] == "opendify")
    return found


def test_requirements_are_the_exported_lock(project: Path, tools: Path) -> None:
    exported = subprocess.run(
        [tools / "uv", "export", "--frozen", "--offline", "--no-dev", "--no-emit-project"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )

    requirements = (project / "requirements.txt").read_text()
    assert lines_without_comments(requirements) == lines_without_comments(exported.stdout)


def test_requirements_are_hashed_and_name_no_package_index(project: Path) -> None:
    requirements = (project / "requirements.txt").read_text()
    pinned = [line for line in lines_without_comments(requirements) if not line.startswith(" ")]

    assert all(line.endswith("\\") for line in pinned)
    assert "://" not in requirements
    assert "index" not in requirements


def _requirement(name: str, extras: Sequence[str] = (), specifier: str = "") -> str:
    return f"{name}{'[' + ','.join(extras) + ']' if extras else ''}{specifier}"


def test_the_lock_was_made_from_the_dependencies_in_pyproject(project: Path) -> None:
    declared = cast("dict[str, list[str]]", read_toml(project / "pyproject.toml")["project"])["dependencies"]
    metadata = cast("dict[str, list[dict[str, Any]]]", locked_project(project)["metadata"])
    # Those of extras bear a condition.
    locked = [_requirement(**each) for each in metadata["requires-dist"] if "marker" not in each]

    assert sorted(locked) == sorted(declared)


def test_there_is_one_version(project: Path) -> None:
    declared = cast("dict[str, str]", read_toml(project / "pyproject.toml")["project"])["version"]

    assert opendify.__version__ == declared
    assert locked_project(project)["version"] == declared
    assert importlib.metadata.version("opendify") == declared


def test_the_changelog_has_a_place_for_the_next_change(project: Path) -> None:
    assert "\n## [Unreleased]\n" in (project / "CHANGELOG.md").read_text()


def test_all_that_gunicorn_s_gevent_worker_imports_comes_with_production(project: Path) -> None:
    extra = [each for each in importlib.metadata.requires("gunicorn") or () if 'extra == "gevent"' in each]
    names = {re.split(r"[^A-Za-z0-9-]", each)[0] for each in extra}
    pinned = {line.partition("==")[0] for line in (project / "requirements.txt").read_text().splitlines()}

    assert names
    assert names <= pinned
