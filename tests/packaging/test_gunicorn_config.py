"""`gunicorn_config.py` is the only place with server settings, and loads however it is asked for."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast
from urllib.request import ProxyHandler, build_opener

import pytest
from gunicorn.config import KNOWN_SETTINGS

from tests.packaging.commands import CONFIGURED, RunCommand, StartScript

# What is a module or callable was imported or is a hook; the rest is meant as a setting.
PRINT_PLAIN_NAMES = """
import json, runpy, sys, types
names = runpy.run_path(sys.argv[1])
plain = {
    name: value
    for name, value in names.items()
    if not name.startswith("_") and not callable(value) and not isinstance(value, types.ModuleType)
}
print(json.dumps(plain))
"""

ReadConfig = Callable[..., dict[str, object]]


@pytest.fixture
def read_config(checkout: Path, tools: Path, run_command: RunCommand) -> ReadConfig:
    """What the file says with these variables set."""

    def read(**variables: str) -> dict[str, object]:
        run = run_command(
            tools / "python",
            "-c",
            PRINT_PLAIN_NAMES,
            checkout / "gunicorn_config.py",
            PYTHONPATH=str(checkout),
            **variables,
        )
        assert run.returncode == 0, run.stderr
        return cast("dict[str, object]", json.loads(run.stdout))

    return read


def test_every_name_in_the_file_is_a_setting_that_gunicorn_knows(read_config: ReadConfig) -> None:
    known = {setting.name for setting in KNOWN_SETTINGS}

    assert set(read_config()) - known == set()


def test_every_variable_reaches_its_setting(read_config: ReadConfig) -> None:
    config = read_config(
        SERVER_HOST="127.0.0.1",
        SERVER_PORT="5999",
        GUNICORN_WORKERS="3",
        GUNICORN_THREADS="32",
        GUNICORN_TIMEOUT="61",
        GUNICORN_GRACEFUL_TIMEOUT="121",
        GUNICORN_KEEPALIVE="7",
        GUNICORN_MAX_REQUESTS="1000",
        GUNICORN_MAX_REQUESTS_JITTER="200",
        LOG_LEVEL="WARNING",
    )

    assert config["bind"] == "127.0.0.1:5999"
    assert (config["workers"], config["threads"], config["worker_connections"]) == (3, 32, 288)
    assert (config["timeout"], config["graceful_timeout"], config["keepalive"]) == (61, 121, 7)
    assert (config["max_requests"], config["max_requests_jitter"]) == (1000, 200)
    assert config["loglevel"] == "warning"


WORKER_CLASSES = {
    # variables: what serves
    (): "threaded_worker.ThreadedWorker",
    (("GUNICORN_WORKER_CLASS", "sync"),): "threaded_worker.ThreadedWorker",
    (("GUNICORN_WORKER_CLASS", "gthread"), ("GUNICORN_THREADS", "1")): "threaded_worker.ThreadedWorker",
    (("GUNICORN_THREADS", "1"),): "plain_worker.PlainWorker",
    (("GUNICORN_WORKER_CLASS", "gevent"),): "gevent_worker.GeventWorker",
}


@pytest.mark.parametrize(("variables", "worker"), WORKER_CLASSES.items(), ids=str)
def test_the_worker_is_the_one_of_ours_for_gunicorns_class(
    variables: tuple[tuple[str, str], ...], worker: str, read_config: ReadConfig
) -> None:
    assert read_config(**dict(variables))["worker_class"] == f"opendify.serving.{worker}"


def test_an_ipv6_address_is_bracketed(read_config: ReadConfig) -> None:
    assert read_config(SERVER_HOST="::1", SERVER_PORT="5999")["bind"] == "[::1]:5999"


@pytest.mark.parametrize(
    ("variables", "preload", "reload"),
    [
        ({"ENVIRONMENT": "production"}, True, False),
        ({"ENVIRONMENT": "production", "GUNICORN_RELOAD": "true"}, False, True),
        ({"ENVIRONMENT": "development"}, False, True),
        ({"ENVIRONMENT": "development", "GUNICORN_RELOAD": "false"}, False, False),
    ],
)
def test_code_is_never_preloaded_where_it_is_to_be_reloaded(
    variables: dict[str, str], preload: bool, reload: bool, read_config: ReadConfig
) -> None:
    config = read_config(**variables)

    assert (config["preload_app"], config["reload"]) == (preload, reload)


def test_instances_from_one_home_share_no_control_socket(read_config: ReadConfig) -> None:
    assert read_config()["control_socket_disable"] is True


def test_trust_in_forwarding_headers_is_left_to_the_operator(read_config: ReadConfig) -> None:
    assert "forwarded_allow_ips" not in read_config()


@pytest.mark.parametrize("named", ["from its folder", "by its path"])
def test_the_file_can_be_executed_as_text(
    named: str, checkout: Path, tools: Path, run_command: RunCommand
) -> None:
    file = "gunicorn_config.py" if named == "from its folder" else checkout / "gunicorn_config.py"
    command = f"exec(open({str(file)!r}).read())"

    executed = run_command(
        tools / "python", "-c", command, folder=checkout if named == "from its folder" else None
    )

    assert (executed.returncode, executed.stderr) == (0, "")


@pytest.mark.parametrize("application", ["main:app", "main:application"])
def test_gunicorn_accepts_the_file_from_another_folder(
    application: str, checkout: Path, tools: Path, run_command: RunCommand
) -> None:
    checked = run_command(
        tools / "gunicorn",
        "--check-config",
        "--config",
        checkout / "gunicorn_config.py",
        application,
        **CONFIGURED,
    )

    assert checked.stderr == ""
    assert checked.returncode == 0


def test_gunicorn_shows_the_configuration(checkout: Path, tools: Path, run_command: RunCommand) -> None:
    shown = run_command(
        tools / "gunicorn",
        "--print-config",
        "--config",
        checkout / "gunicorn_config.py",
        "main:app",
        **CONFIGURED,
        GUNICORN_THREADS="48",
    )

    assert re.search(r"^threads += 48$", shown.stdout, re.MULTILINE)


def test_a_wrong_setting_ends_gunicorn_with_its_one_line(
    checkout: Path, tools: Path, run_command: RunCommand
) -> None:
    refused = run_command(
        tools / "gunicorn",
        "--config",
        checkout / "gunicorn_config.py",
        "main:app",
        **CONFIGURED,
        GUNICORN_THREADS="many",
    )

    assert refused.returncode != 0
    assert refused.stderr.startswith("GUNICORN_THREADS")
    assert len(refused.stderr.splitlines()) == 1


def test_what_the_server_really_uses_stands_on_one_line(
    checkout: Path, start_script: StartScript, free_port: int
) -> None:
    server = start_script(
        checkout / "start_production.sh",
        "--threads",
        "7",
        **CONFIGURED,
        PORT=str(free_port),
        SERVER_HOST="127.0.0.1",
        GUNICORN_WORKERS="1",
    )

    line = server.get_line("OpenDify serves:")

    assert f"address=127.0.0.1:{free_port} workers=1 " in line
    assert " threads=7 preload=true reload=false timeout=60 drain=110 graceful_timeout=120 " in line


def test_gunicorn_s_own_command_line_serves_for_development_without_the_file(
    checkout: Path, tools: Path, start_script: StartScript, free_port: int
) -> None:
    command = ["--workers", "1", "--reload", "--log-level", "debug", "main:app"]
    server = start_script(
        tools / "gunicorn", "--bind", f"127.0.0.1:{free_port}", *command, folder=checkout, **CONFIGURED
    )

    server.get_line("Listening at")

    url = f"http://127.0.0.1:{free_port}/v1/models"
    with build_opener(ProxyHandler({})).open(url, timeout=20) as answer:
        assert answer.status == 200
