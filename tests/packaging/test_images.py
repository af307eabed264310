"""Images and compose files, as far as can be told without a container engine."""

import json
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
import yaml

from opendify.settings import SETTINGS
from tests.packaging.commands import PROJECT

DOCKERFILES = ["Dockerfile", "Dockerfile.dev"]
COMPOSE_FILES = ["docker-compose.yml", "docker-compose.dev.yml"]
# Read by the scripts and by Python itself.
NOT_OURS = {"PATH", "OPENDIFY_ENVIRONMENT_READY"}


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined."""

    name: str
    rest: str


def read_dockerfile(name: str) -> list[Instruction]:
    lines = [line for line in (PROJECT / name).read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def rest_of(instructions: list[Instruction], name: str) -> list[str]:
    return [each.rest for each in instructions if each.name == name]


def environment_of(instructions: list[Instruction]) -> dict[str, str]:
    pairs = [pair for rest in rest_of(instructions, "ENV") for pair in shlex.split(rest)]
    return dict(pair.split("=", maxsplit=1) for pair in pairs)


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    start = max(index for index, each in enumerate(instructions) if each.name == "FROM")
    return instructions[start:]


def compose_service(name: str) -> dict[str, object]:
    document = yaml.safe_load((PROJECT / name).read_text())
    assert list(document["services"]) == ["opendify"]
    return cast("dict[str, object]", document["services"]["opendify"])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_is_clean_for_hadolint(name: str, project: Path, tools: Path) -> None:
    linted = subprocess.run(
        [tools / "hadolint", "--no-color", name], cwd=project, capture_output=True, text=True, check=False
    )

    assert linted.stdout == ""
    assert linted.returncode == 0


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_base_image_can_be_replaced(name: str) -> None:
    instructions = read_dockerfile(name)

    assert instructions[0] == Instruction("ARG", "PYTHON_IMAGE=python:3.12-slim")
    assert all(rest.startswith("${PYTHON_IMAGE}") for rest in rest_of(instructions, "FROM"))
    # Fetching another front end needs a registry of its own.
    assert "# syntax" not in (PROJECT / name).read_text()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_runs_as_a_numbered_user_in_its_folder(name: str) -> None:
    final = last_stage(read_dockerfile(name))

    # Orchestrators can tell only from a number that it is not root.
    assert rest_of(final, "USER") == ["10001:10001"]
    assert rest_of(final, "WORKDIR") == ["/app"]


@pytest.mark.parametrize(
    ("name", "script"), [("Dockerfile", "start_production.sh"), ("Dockerfile.dev", "start_development.sh")]
)
def test_an_image_starts_its_script_without_a_shell_between(name: str, script: str) -> None:
    (command,) = rest_of(last_stage(read_dockerfile(name)), "CMD")

    assert json.loads(command) == [f"./{script}"]
    assert (PROJECT / script).read_text().splitlines()[-1].startswith("exec python -m ")


def test_the_production_image_hands_its_command_to_the_script_that_knows_the_modes() -> None:
    (entry,) = rest_of(last_stage(read_dockerfile("Dockerfile")), "ENTRYPOINT")

    assert json.loads(entry) == ["./scripts/entrypoint.sh"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_installs_only_what_is_locked(name: str) -> None:
    runs = "\n".join(rest_of(read_dockerfile(name), "RUN"))

    assert [install.split() for install in re.findall(r"pip install ([^&\n]+)", runs)] == [
        ["--require-hashes", "--requirement", "requirements.txt"],
        ["--no-deps", "--editable", "."],
    ]


def test_the_production_image_carries_no_pip_of_its_own() -> None:
    building = read_dockerfile("Dockerfile")

    assert "python -m venv --without-pip /opt/venv" in rest_of(building, "RUN")
    assert environment_of(building)["PIP_PYTHON"] == "/opt/venv/bin/python"


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_health_check_needs_nothing_that_a_slim_image_lacks(name: str) -> None:
    (check,) = rest_of(last_stage(read_dockerfile(name)), "HEALTHCHECK")

    assert "python -m opendify.healthcheck " in check
    assert "/health/live" in check
    assert not re.search(r"\b(curl|wget|nc)\b", check)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_user_owns_the_folder_for_data(name: str) -> None:
    instructions = last_stage(read_dockerfile(name))
    data_dir = environment_of(instructions)["DATA_DIR"]

    (install,) = re.findall(r"install --directory ([^&]+)", "\n".join(rest_of(instructions, "RUN")))
    assert install.startswith("--owner 10001 --group 10001 ")
    assert data_dir in install.split()


def test_the_production_image_is_built_in_stages() -> None:
    assert len(rest_of(read_dockerfile("Dockerfile"), "FROM")) == 2


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_exists_and_is_let_through(name: str) -> None:
    patterns = [
        line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    let_through = {line.removeprefix("!").rstrip("/") for line in patterns if line.startswith("!")}
    copies = [
        rest.split() for rest in rest_of(read_dockerfile(name), "COPY") if not rest.startswith("--from")
    ]
    sources = {source.rstrip("/") for copy in copies for source in copy[:-1]}

    assert patterns[0] == "*"
    assert sources <= let_through
    assert [source for source in sorted(sources) if not (PROJECT / source).exists()] == []


def test_compose_files_follow_the_compose_specification(project: Path, tools: Path) -> None:
    checked = subprocess.run(
        [tools / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE_FILES],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("name", "dockerfile"),
    [("docker-compose.yml", "Dockerfile"), ("docker-compose.dev.yml", "Dockerfile.dev")],
)
def test_compose_builds_from_the_checkout(name: str, dockerfile: str) -> None:
    build = cast("dict[str, str]", compose_service(name)["build"])

    assert build["context"] == "."
    assert build.get("dockerfile", "Dockerfile") == dockerfile


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_a_container_may_be_stopped_while_it_still_starts(name: str) -> None:
    # The kernel hands a container's first process no TERM before there is somebody to handle it.
    assert compose_service(name)["init"] is True


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_named_volumes_are_declared(name: str) -> None:
    document = yaml.safe_load((PROJECT / name).read_text())
    sources = [volume.split(":")[0] for volume in document["services"]["opendify"]["volumes"]]

    assert [source for source in sources if not source.startswith(".")] == list(document["volumes"])


def test_the_production_service_keeps_its_data_and_its_limits() -> None:
    service = compose_service("docker-compose.yml")

    assert service["container_name"] == "opendify"
    assert service["ports"] == ["5000:5000"]
    assert service["env_file"] == [".env"]
    # A folder of the host would belong to root, and the image's user could not write there.
    assert service["volumes"] == ["opendify-data:/app/data"]
    assert service["deploy"] == {"resources": {"limits": {"cpus": "2", "memory": "1G"}}}
    assert service["restart"] == "unless-stopped"


def test_containers_get_longer_to_stop_than_streams_get_to_finish() -> None:
    graceful = next(int(doc.default) for doc in SETTINGS if doc.name == "GUNICORN_GRACEFUL_TIMEOUT")
    (seconds,) = re.findall(r"(\d+)s", str(compose_service("docker-compose.yml")["stop_grace_period"]))

    assert int(seconds) > graceful


def test_the_development_service_runs_the_mounted_checkout_for_this_machine_only() -> None:
    service = compose_service("docker-compose.dev.yml")

    assert ".:/app" in cast("list[str]", service["volumes"])
    assert service["ports"] == ["127.0.0.1:5000:5000"]


@pytest.mark.parametrize("name", [*DOCKERFILES, *COMPOSE_FILES])
def test_every_variable_that_is_set_is_a_documented_setting(name: str, project: Path) -> None:
    if name in DOCKERFILES:
        names = environment_of(last_stage(read_dockerfile(name))).keys()
    else:
        names = cast("dict[str, str]", compose_service(name)["environment"]).keys()
    ours = {each for each in names if each not in NOT_OURS and not each.startswith(("PYTHON", "PIP_"))}

    documented = set(re.findall(r"^#? ?([A-Z_]+)=", (project / ".env.example").read_text(), re.MULTILINE))
    assert ours - documented == set()
    assert ours - {variable for doc in SETTINGS for variable in doc.variables} == set()
