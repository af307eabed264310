"""The image's entry point chooses what is started, and becomes it."""

from pathlib import Path

import pytest

from tests.packaging.commands import PROJECT, RunCommand


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder with scripts that tell how they were called."""
    for mode in ("production", "development"):
        script = tmp_path / f"start_{mode}.sh"
        script.write_text(f'#!/bin/sh\necho {mode} "$@"\n')
        script.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("told", "started"),
    [
        (["./start_production.sh"], "production"),
        (["--production-mode"], "production"),
        (["--dev-mode"], "development"),
        (["--dev-mode", "--backlog", "7"], "development --backlog 7"),
        (["--backlog", "7"], "production --backlog 7"),
        (["echo", "keys list"], "keys list"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_flag_chooses_the_mode(told: list[str], started: str, image: Path, run_command: RunCommand) -> None:
    done = run_command(PROJECT / "scripts/entrypoint.sh", *told, folder=image)

    assert (done.stdout.strip(), done.stderr, done.returncode) == (started, "", 0)
