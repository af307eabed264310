"""The deploy script brings a version into service, or the former one back."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.deploy.supervisor import Supervisor, restarting
from tests.fakes.programs import PROJECT
from tests.fakes.waiting import wait_until
from tests.packaging.commands import WHAT_RUNS

SCRIPT = PROJECT / "deploy/scripts/deploy.sh"
AUTHOR = ("-c", "user.name=Test", "-c", "user.email=test@example.com")

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@dataclass(frozen=True)
class Machine:
    """A machine on which version `v1` runs, and `good`, `unready` and `broken` can be had."""

    releases: Path
    supervisor: Supervisor
    deploy: Callable[..., subprocess.CompletedProcess[str]]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.supervisor.url}/health/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def running(self) -> str:
        """The version whose folder the server works in."""
        return Path(self.supervisor.family()[0].cwd()).name


def commit(source: Path, version: str, changes: Mapping[str, tuple[str, str]]) -> None:
    """A version that differs from the one before in what `changes` says, a file's old and new text."""
    for name, (old, new) in changes.items():
        text = (source / name).read_text()
        assert old in text
        (source / name).write_text(text.replace(old, new))
    git = ["git", "-C", str(source), *AUTHOR]
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", version], check=True)
    subprocess.run([*git, "tag", version], check=True)


def make_versions(source: Path) -> None:
    source.mkdir(parents=True)
    subprocess.run(["git", "init", "--quiet", source], check=True)
    for name in WHAT_RUNS:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(PROJECT / name, source / name)
    commit(source, "v1", {})
    commit(source, "good", {})
    ready = '{"status": "ok", "store": "ok"})'
    commit(source, "unready", {"opendify/routes/ops.py": (ready, f"{ready[:-1]}, 503)")})
    serve = "exec python -m opendify.cli serve"
    commit(source, "broken", {"start_production.sh": (serve, "fail 'it is broken'")})


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """All tests use the same one, and none minds what the others left running there."""
    tmp_path = tmp_path_factory.mktemp("machine")
    releases, home = tmp_path / "releases", tmp_path / "home"
    make_versions(releases / "source")
    subprocess.run(
        ["git", "-C", releases / "source", "worktree", "add", "--quiet", "--detach", releases / "v1", "v1"],
        check=True,
    )
    home.symlink_to(releases / "v1")
    supervisor = Supervisor(home, tmp_path)
    with restarting(supervisor, tmp_path) as environment:
        told = {
            **environment,
            "OPENDIFY_HOME": str(home),
            "OPENDIFY_RELEASES": str(releases),
            "OPENDIFY_ENV_FILE": str(tmp_path / "none.env"),
        }

        def deploy(version: str, **variables: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [SCRIPT, version, f"opendify={supervisor.url}"],
                env={**told, **variables},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )

        machine = Machine(releases, supervisor, deploy)
        supervisor.start()
        assert wait_until(machine.is_ready, 40), supervisor.log
        yield machine


def test_a_new_version_takes_over_when_it_is_ready(machine: Machine) -> None:
    former = machine.running()

    done = machine.deploy("good")

    assert (done.returncode, machine.running(), machine.is_ready()) == (0, "good", True), done.stderr
    assert f"good serves; the former one is {machine.releases / former}" in done.stdout


def test_a_version_that_never_gets_healthy_is_taken_back(machine: Machine) -> None:
    former = machine.running()

    done = machine.deploy("unready", READY_SECONDS="12")

    assert (done.returncode, machine.running(), machine.is_ready()) == (1, former, True), done.stderr
    assert done.stderr.strip().endswith(f"the new version did not get ready; {former} serves again")


def test_what_could_not_start_stops_nothing(machine: Machine) -> None:
    before = machine.supervisor.family()[0].pid

    broken, unknown = machine.deploy("broken"), machine.deploy("v9")

    assert "broken would not start; nothing was changed" in broken.stderr
    assert "there is no version v9" in unknown.stderr
    assert (broken.returncode, unknown.returncode) == (1, 1)
    assert machine.supervisor.family()[0].pid == before
