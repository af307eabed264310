"""`scripts/environment.sh` makes the environment when it must, and only then; a fake uv takes notes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.packaging.commands import PROJECT

NEEDED_PROGRAMS = ("bash", "cat", "chmod", "cksum", "env", "flock", "mkdir", "rm")
FAKE_UV = """#!/usr/bin/env bash
echo "$*" >>"$PWD/uv-calls"
mkdir -p .venv/bin && : >.venv/bin/python && chmod +x .venv/bin/python
"""
PRODUCTION_CALL = "sync --quiet --frozen --inexact --no-dev"
DEVELOPMENT_CALL = "sync --quiet --frozen --inexact"


class Checkout:
    """A folder with what the environment is made from, and programs that never include a real Python."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs

    def prepare(self, wanted: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / "bash", "-euc", f". scripts/environment.sh; prepare_environment {wanted}"],
            cwd=self.folder,
            env={"PATH": str(self.programs), **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def uv_calls(self) -> list[str]:
        notes = self.folder / "uv-calls"
        return notes.read_text().splitlines() if notes.exists() else []


def add_program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    folder, programs = tmp_path / "checkout", tmp_path / "programs"
    (folder / "scripts").mkdir(parents=True)
    programs.mkdir()
    shutil.copy2(PROJECT / "scripts/environment.sh", folder / "scripts/environment.sh")
    for name in ("pyproject.toml", "uv.lock", "requirements.txt"):
        (folder / name).write_text("first\n")
    for name in NEEDED_PROGRAMS:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    add_program(programs, "uv", FAKE_UV)
    return Checkout(folder, programs)


def test_an_environment_is_made_once(checkout: Checkout) -> None:
    first, second = checkout.prepare("production"), checkout.prepare("production")

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == "Making the Python environment in .venv (once for each version of uv.lock)\n"
    assert second.stdout == ""
    assert checkout.uv_calls() == [PRODUCTION_CALL]


def test_an_environment_is_renewed_when_the_lock_changes(checkout: Checkout) -> None:
    checkout.prepare("production")
    (checkout.folder / "uv.lock").write_text("second\n")
    checkout.prepare("production")

    assert checkout.uv_calls() == [PRODUCTION_CALL, PRODUCTION_CALL]


def test_an_environment_is_renewed_when_the_checkout_was_moved(checkout: Checkout) -> None:
    checkout.prepare("production")
    moved = Checkout(checkout.folder.rename(checkout.folder.with_name("moved")), checkout.programs)
    moved.prepare("production")

    assert moved.uv_calls() == [PRODUCTION_CALL, PRODUCTION_CALL]


def test_an_environment_is_renewed_when_its_python_is_gone(checkout: Checkout) -> None:
    checkout.prepare("production")
    (checkout.folder / ".venv/bin/python").unlink()
    checkout.prepare("production")

    assert checkout.uv_calls() == [PRODUCTION_CALL, PRODUCTION_CALL]


def test_an_environment_for_development_serves_production(checkout: Checkout) -> None:
    checkout.prepare("development")
    checkout.prepare("production")

    assert checkout.uv_calls() == [DEVELOPMENT_CALL]


def test_an_environment_for_production_is_completed_for_development(checkout: Checkout) -> None:
    checkout.prepare("production")
    checkout.prepare("development")

    assert checkout.uv_calls() == [PRODUCTION_CALL, DEVELOPMENT_CALL]


def test_an_environment_that_could_not_be_made_is_tried_again(checkout: Checkout) -> None:
    add_program(checkout.programs, "uv", "#!/usr/bin/env bash\nexit 1\n")
    failed = checkout.prepare("production")
    add_program(checkout.programs, "uv", FAKE_UV)
    tried_again = checkout.prepare("production")

    assert failed.returncode == 1
    assert failed.stderr.endswith(
        "no Python 3.11 or newer was found; install one, or uv (https://docs.astral.sh/uv/)\n"
    )
    assert tried_again.returncode == 0
    assert checkout.uv_calls() == [PRODUCTION_CALL]


def test_nothing_is_made_where_everything_is_said_to_be_there(checkout: Checkout) -> None:
    ready = checkout.prepare("production", OPENDIFY_ENVIRONMENT_READY="1")

    assert (ready.returncode, ready.stdout) == (0, "")
    assert checkout.uv_calls() == []
