"""A copy of the checkout to start scripts in, with the environment that runs the tests."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.packaging.commands import PROJECT, TOOLS, WHAT_RUNS, RunCommand, StartedScript, StartScript


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout itself, to be read only."""
    return PROJECT


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder with the programs of the environment that runs the tests."""
    return TOOLS


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what runs, without the `.env` that this checkout may have."""
    copy = tmp_path / "a checkout"
    copy.mkdir()
    for name in WHAT_RUNS:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / name, copy / name)
    return copy


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The whole environment of what a test starts: nothing of the developer's own."""
    return {
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "DATA_DIR": str(tmp_path / "data"),
        "OPENDIFY_ENVIRONMENT_READY": "1",
    }


@pytest.fixture
def run_command(tmp_path: Path, environment: Mapping[str, str]) -> RunCommand:
    """Run a command to its end, in a folder that is not the checkout unless told otherwise."""

    def run(
        *command: str | Path, folder: Path | None = None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder or tmp_path,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def start_script(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[StartScript]:
    """Start a script as `run_command` would; what it started ends with the test."""
    started: list[StartedScript] = []

    def start(script: Path, *arguments: str, folder: Path | None = None, **variables: str) -> StartedScript:
        process = subprocess.Popen(
            [script, *arguments],
            cwd=folder or tmp_path,
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(StartedScript(process))
        return started[-1]

    yield start
    for script in started:
        script.stop()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
