"""Compose files, a Swarm stack and units of systemd, as far as can be told without running them."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from opendify.settings import SETTINGS, load_server_settings
from tests.fakes.programs import PROJECT
from tests.packaging.commands import TOOLS

DEPLOY = PROJECT / "deploy"
COMPOSE_FILES = [*sorted((DEPLOY / "compose").glob("*.yml")), DEPLOY / "swarm/stack.yml"]
UNITS = sorted((DEPLOY / "systemd").iterdir())
VARIABLES = {variable for setting in SETTINGS for variable in setting.variables}
# Read by PostgreSQL's own library.
NOT_OURS = {"PGPASSWORD"}

each_file = pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)


def read(file: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = yaml.safe_load(file.read_text())
    return document


def our_services(file: Path) -> Iterator[Mapping[str, Any]]:
    for name, service in read(file)["services"].items():
        if name.startswith("opendify"):
            yield service


@each_file
def test_a_compose_file_has_the_shape_that_compose_knows(file: Path) -> None:
    subprocess.run(
        [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file], check=True, timeout=60
    )


@each_file
def test_what_services_name_is_declared(file: Path) -> None:
    document = read(file)
    for service in document["services"].values():
        assert set(service.get("networks", ())) <= {"default", *document.get("networks", {})}
        volumes = {each.partition(":")[0] for each in service.get("volumes", ())}
        assert {each for each in volumes if "/" not in each} <= set(document.get("volumes", {}))
        secrets = {each if isinstance(each, str) else each["source"] for each in service.get("secrets", ())}
        assert secrets <= set(document.get("secrets", {}))


@each_file
def test_every_variable_of_ours_is_a_setting(file: Path) -> None:
    for service in our_services(file):
        assert set(service.get("environment", {})) - NOT_OURS <= VARIABLES


@each_file
def test_a_container_may_be_stopped_at_any_time_and_gets_longer_than_its_answers(file: Path) -> None:
    graceful_seconds = load_server_settings({}).graceful_timeout_seconds

    for service in our_services(file):
        # An overlay leaves it to the file that it lies over.
        if "image" in service:
            assert service["init"] is True
            assert int(service["stop_grace_period"].removesuffix("s")) > graceful_seconds


def test_only_what_clients_need_is_published() -> None:
    published = [
        name
        for file in COMPOSE_FILES
        for name, service in read(file)["services"].items()
        if service.get("ports")
    ]

    assert sorted(published) == ["nginx", "opendify"]


def test_the_password_of_postgresql_may_hold_what_a_url_may_not() -> None:
    (service,) = our_services(DEPLOY / "compose/postgres.yml")

    assert service["environment"]["CONVERSATION_STORE_URL"] == "postgresql://opendify@postgres:5432/opendify"
    assert service["environment"]["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def test_the_stack_names_the_version_of_its_format() -> None:
    # `docker stack deploy` before Docker 25 refuses a file without.
    assert read(DEPLOY / "swarm/stack.yml")["version"] == "3.8"


def test_secrets_of_the_stack_are_files_that_settings_name() -> None:
    (service,) = our_services(DEPLOY / "swarm/stack.yml")
    targets = {each if isinstance(each, str) else each["target"] for each in service["secrets"]}
    named = {path for name, path in service["environment"].items() if name.endswith("_FILE")}

    assert named == {f"/run/secrets/{target}" for target in targets}


def test_a_rolling_update_starts_the_new_before_it_ends_the_old() -> None:
    (service,) = our_services(DEPLOY / "swarm/stack.yml")

    update = service["deploy"]["update_config"]
    assert (update["order"], update["failure_action"]) == ("start-first", "rollback")


def test_both_files_for_nginx_say_the_same() -> None:
    def rules(file: Path) -> list[str]:
        lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
        return re.sub(r"server \S+:\d+ ", "server HOST ", "\n".join(lines).strip()).splitlines()

    assert rules(DEPLOY / "compose/nginx.conf") == rules(DEPLOY / "nginx/opendify.conf")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_clean_for_systemd(unit: Path, tmp_path: Path) -> None:
    for each in UNITS:
        # Programs that are there.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", each.read_text(), flags=re.MULTILINE)
        (tmp_path / each.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / unit.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_what_the_project_has(unit: Path) -> None:
    for program in re.findall(r"^ExecStart=/opt/opendify/(\S+)", unit.read_text(), re.MULTILINE):
        assert (PROJECT / program).exists() or program == ".venv/bin/opendify"


def test_the_service_unit_gets_longer_to_stop_than_its_answers() -> None:
    unit = (DEPLOY / "systemd/opendify.service").read_text()
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)

    assert int(seconds) > load_server_settings({}).graceful_timeout_seconds
