"""The scripts do what their first lines say, from any folder, without a terminal."""

import os
import re
import signal
import subprocess
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import psutil
import pytest

from tests.packaging.commands import CONFIGURED, PROJECT, RunCommand, StartScript

SCRIPTS = sorted(
    [each for folder in (".", "scripts", "deploy/scripts") for each in PROJECT.glob(f"{folder}/*.sh")]
    + [PROJECT / ".ci/run"]
)


def status_of(port: int, path: str) -> int:
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
        status: int = response.status
        return status


def master_pid(listening_line: str) -> int:
    found = re.search(r"\((\d+)\)$", listening_line.strip())
    assert found, listening_line
    return int(found[1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_is_clean_for_shellcheck(script: Path, project: Path, tools: Path) -> None:
    checked = subprocess.run(
        [tools / "shellcheck", "--external-sources", script],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.stdout == ""
    assert checked.returncode == 0


@pytest.mark.parametrize(
    "script", [each for each in SCRIPTS if each.parent.name != "scripts"], ids=lambda s: s.name
)
def test_every_script_that_people_start_is_executable(script: Path) -> None:
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DIFY_API_BASE", ""),
        ("DIFY_API_BASE", "not an address"),
        ("MODEL_CONFIG", ""),
        ("MODEL_CONFIG", '{"translator": '),
        ("SERVER_PORT", "http"),
        ("GUNICORN_WORKERS", "0"),
        ("ENVIRONMENT", "prod"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(
    name: str, text: str, checkout: Path, run_command: RunCommand
) -> None:
    refused = run_command("bash", "-u", checkout / "start_production.sh", **{**CONFIGURED, name: text})

    assert refused.returncode != 0
    assert len(refused.stderr.splitlines()) == 1
    assert name in refused.stderr
    assert "Listening" not in refused.stdout


def test_the_production_script_becomes_the_server_and_stops_on_term(
    checkout: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(
        checkout / "start_production.sh",
        **CONFIGURED,
        SERVER_HOST="127.0.0.1",
        SERVER_PORT=str(free_port),
        GUNICORN_WORKERS="1",
    )

    assert master_pid(server.get_line("Listening at")) == server.process.pid
    assert status_of(free_port, "/health/live") == 200

    server.process.terminate()
    assert server.process.wait(timeout=20) == 0


def test_the_production_script_hands_its_arguments_to_gunicorn(
    checkout: Path, run_command: RunCommand
) -> None:
    checked = run_command(checkout / "start_production.sh", "--print-config", **CONFIGURED)
    changed = run_command(checkout / "start_production.sh", "--print-config", "--backlog", "77", **CONFIGURED)

    assert re.search(r"^backlog += 2048$", checked.stdout, re.MULTILINE)
    assert re.search(r"^backlog += 77$", changed.stdout, re.MULTILINE)


def test_python_itself_serves_for_debugging_and_says_so(
    checkout: Path, tools: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(
        tools / "python",
        str(checkout / "main.py"),
        **CONFIGURED,
        SERVER_HOST="127.0.0.1",
        SERVER_PORT=str(free_port),
    )

    server.get_line("This server is for debugging only")
    server.get_line("Running on")
    assert status_of(free_port, "/v1/models") == 200


def test_flask_s_own_command_finds_the_app(
    checkout: Path, tools: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(
        tools / "flask", "--app", "main", "run", "--port", str(free_port), folder=checkout, **CONFIGURED
    )

    server.get_line("Running on")
    assert status_of(free_port, "/v1/models") == 200


@pytest.mark.parametrize(
    "ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda ending: ending.name
)
def test_the_simulator_of_the_development_script_ends_with_the_server(
    ending: signal.Signals, checkout: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(checkout / "start_development.sh", SERVER_PORT=str(free_port))
    server.get_line("a Dify simulator answers")
    assert "127.0.0.1" in server.get_line("Listening at")
    assert status_of(free_port, "/health/live") == 200
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert any("simulate" in process.cmdline() for process in family)

    server.process.send_signal(ending)

    server.process.wait(timeout=20)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


def test_the_development_script_shows_a_request_with_a_demo_model(
    checkout: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(checkout / "start_development.sh", SERVER_PORT=str(free_port))

    said = list(server.lines_until("curl "))

    assert f"curl http://127.0.0.1:{free_port}/v1/chat/completions" in said[-1]
    assert "Authorization" not in said[-1], "development on loopback asks for no key"
    assert len(said) < 20, "what matters is not to be searched for"


def test_the_request_that_is_shown_brings_a_key_where_one_is_asked_for(
    checkout: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(
        checkout / "start_development.sh", SERVER_PORT=str(free_port), API_KEYS="sk-0123456789abcdef"
    )

    said = list(server.lines_until("curl "))

    assert "-H 'Authorization: Bearer KEY'" in said[-1]
    assert not [line for line in said if "sk-0123456789abcdef" in line]


@pytest.mark.parametrize("name", ["MODEL_CONFIG", "MODEL_CONFIG_FILE"])
def test_the_development_script_starts_no_simulator_when_env_file_has_models(
    name: str, checkout: Path, start_script: StartScript, free_port: int
) -> None:
    (checkout / "models.json").write_text(CONFIGURED["MODEL_CONFIG"])
    value = CONFIGURED["MODEL_CONFIG"] if name == "MODEL_CONFIG" else "models.json"
    (checkout / ".env").write_text(f"{name}={value}\nDIFY_API_BASE={CONFIGURED['DIFY_API_BASE']}\n")

    server = start_script(checkout / "start_development.sh", SERVER_PORT=str(free_port))

    server.get_line("Listening at")
    assert status_of(free_port, "/health/live") == 200
    family = psutil.Process(server.process.pid).children(recursive=True)
    assert not any("simulate" in process.cmdline() for process in family)


@pytest.mark.parametrize("changed", ["main.py", ".env"])
def test_a_change_starts_a_new_worker_in_development(
    changed: str, checkout: Path, start_script: StartScript, free_port: int
) -> None:
    (checkout / ".env").write_text("LOG_LEVEL=info\n")
    server = start_script(checkout / "start_development.sh", **CONFIGURED, SERVER_PORT=str(free_port))
    server.get_line("Booting worker")
    assert status_of(free_port, "/health/live") == 200

    # The first look of the reloader only takes down the times, and nothing tells when it has been.
    modified = (checkout / changed).stat().st_mtime
    for later in range(1, 6):
        os.utime(checkout / changed, times=(modified + later, modified + later))
        if server.find_line("Worker reloading", within_seconds=3):
            break

    server.get_line("Booting worker")
    assert status_of(free_port, "/health/live") == 200
