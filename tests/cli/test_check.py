"""`opendify check` names what is wrong, and what to do about it, in one line each."""

import json
import re
import resource
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from opendify import __version__
from opendify.app import create_app
from opendify.cli.clients import CLIENTS
from opendify.settings import load_settings
from tests.cli.conftest import Operation
from tests.fakes.served_app import served

APPS = {
    "good": "app-demo-chat",
    "wrong-key": "app-nobody-has-this",
    "wrong-mode": {"api_key": "app-demo-workflow", "mode": "chat"},
    "wrong-url": {"api_key": "app-demo-chat", "api_base": "http://127.0.0.1:9/v1"},
    "missing-input": "app-demo-chat-inputs",
    "two-texts": "app-demo-workflow-texts",
}

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def few_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def examined(operation: Operation, dify: str) -> Operation:
    """A service with the apps above, and with nothing else to complain of."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environ = {
        "DIFY_API_BASE": dify,
        "MODEL_CONFIG": json.dumps(APPS),
        "DIFY_MAX_CONCURRENCY": "8",
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": port,
        "GUNICORN_THREADS": "16",
        "NO_PROXY": "*",
        **dict.fromkeys(PROXIES, ""),
    }
    return replace(operation, environ={**operation.environ, **environ})


def findings(operation: Operation, **environ: str) -> dict[str, tuple[str, str, str]]:
    done = operation.run("check", "--json", **environ)
    assert done.exit_code in (0, 1), (done.output, done.exception)
    return {
        each["subject"]: (each["level"], each["said"], each["remedy"]) for each in json.loads(done.stdout)
    }


@pytest.mark.parametrize(
    ("model", "level", "said", "remedy"),
    [
        ("good", "ok", "chat app 'demo chat' on Dify 1.12.1", ""),
        ("wrong-key", "problem", "Dify refuses the app key", "begins with `app-`"),
        ("wrong-mode", "problem", "`mode` is 'chat', and Dify says 'workflow'", "take `mode` out"),
        ("wrong-url", "problem", "no connection", "http://127.0.0.1:9/v1"),
        ("missing-input", "advice", "clients must send 'city', 'tone'", "set a default"),
        ("two-texts", "problem", "several text variables", "query_input"),
    ],
)
def test_each_model_is_examined(examined: Operation, model: str, level: str, said: str, remedy: str) -> None:
    found = findings(examined)[f"model {model}"]

    assert found[0] == level
    assert said in found[1]
    assert remedy in found[2]


def test_an_input_that_the_table_gives_is_not_missing(examined: Operation) -> None:
    table = {"bot": {"api_key": "app-demo-chat-inputs", "inputs": {"city": "Bonn", "tone": "formal"}}}

    assert findings(examined, MODEL_CONFIG=json.dumps(table))["model bot"][0] == "ok"


def test_where_all_is_well_the_exit_code_says_so(examined: Operation) -> None:
    done = examined.run("check", MODEL_CONFIG='{"good": "app-demo-chat"}')

    assert done.exit_code == 0
    assert re.search(r"^ok +model good", done.stdout, re.MULTILINE)


def test_a_problem_is_an_exit_code(examined: Operation) -> None:
    assert examined.run("check").exit_code == 1


def test_a_wrong_configuration_is_another(examined: Operation) -> None:
    done = examined.run("check", KEEPALIVE_SECONDS="soon")

    assert done.exit_code == 2
    assert "KEEPALIVE_SECONDS" in done.stderr


def test_a_store_that_is_away_is_found(examined: Operation) -> None:
    found = findings(examined, CONVERSATION_STORE_URL="redis://127.0.0.1:9/0", MODEL_CONFIG='{"a": "app-x"}')

    assert found["conversations"][:2] == ("problem", "the store (redis) does not answer")


def test_a_port_that_another_program_has_is_a_problem(examined: Operation, dify: str) -> None:
    port = dify.removesuffix("/v1").rpartition(":")[2]

    level, said, remedy = findings(examined, SERVER_PORT=port)[f"port {port}"]

    assert (level, "no OpenDify answers there" in said) == ("problem", True)
    assert "SERVER_PORT" in remedy


@pytest.mark.parametrize("prefix", ["", "/llm"])
def test_a_port_that_the_service_itself_has_is_well(examined: Operation, prefix: str) -> None:
    service = replace(examined, environ={**examined.environ, "URL_PREFIX": prefix})
    with served(create_app(service.settings)) as url:
        port = url.rpartition(":")[2]

        found = findings(service, SERVER_PORT=port)

    assert found[f"port {port}"] == ("ok", f"OpenDify {__version__} serves there", "")


def test_unlimited_runs_are_advised_against(examined: Operation) -> None:
    assert "DIFY_MAX_CONCURRENCY" in findings(examined, DIFY_MAX_CONCURRENCY="0")["concurrency"][2]


@pytest.mark.usefixtures("few_open_files")
def test_too_few_open_files_are_a_problem(examined: Operation) -> None:
    assert findings(examined, GUNICORN_THREADS="128")["open files"][0] == "problem"
    assert "open files" not in findings(examined, GUNICORN_THREADS="16")


def test_a_proxy_of_the_environment_is_told(examined: Operation) -> None:
    found = findings(examined, https_proxy="http://127.0.0.1:3128")

    assert found["proxy"][1].startswith("HTTPS_PROXY")


def test_no_key_is_ever_said(examined: Operation) -> None:
    done = examined.run("check")

    assert "app-nobody-has-this" not in done.output
    assert "sk-anna" not in done.output


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_each_client_is_told_the_address_and_a_model(examined: Operation, client: str) -> None:
    said = examined.said("check", "--client", client, "--url", "https://opendify.example/v1")

    assert "https://opendify.example" in said
    assert "$" not in said
    assert "good" in said or client == "open-webui"


@pytest.fixture
def unconfigured(examined: Operation, dify: str) -> Iterator[Operation]:
    """As in a fresh clone, beside a service that was started for development."""
    development = {**examined.environ, "ENVIRONMENT": "development", "API_KEYS": ""}
    with served(
        create_app(load_settings({**development, "MODEL_CONFIG": '{"demo": "app-demo-chat"}'}))
    ) as url:
        environ = {
            "MODEL_CONFIG": "",
            "API_KEYS": "",
            "DIFY_API_BASE": "",
            "SERVER_PORT": url.rpartition(":")[2],
        }
        yield replace(examined, environ={**development, **environ})


def test_without_a_table_the_running_service_tells_its_models(unconfigured: Operation) -> None:
    assert unconfigured.said("models").splitlines() == ["demo"]


def test_without_a_table_the_running_service_can_be_talked_to(unconfigured: Operation) -> None:
    assert unconfigured.said("chat", "-m", "Hello").endswith("Hello\n")


def test_without_a_table_and_a_service_one_line_says_what_to_do(unconfigured: Operation) -> None:
    refused = unconfigured.refused("models", SERVER_PORT="9")

    assert "MODEL_CONFIG" in refused
    assert "./start_development.sh" in refused
    assert len(refused.splitlines()) == 1


def test_the_models_are_listed(examined: Operation) -> None:
    table = {"bot": {"api_key": "app-demo-chat", "aliases": ["gpt-4o"], "description": "helps"}}

    listed = examined.run("models", MODEL_CONFIG=json.dumps(table), COLUMNS="200").stdout.splitlines()

    assert listed[1].split()[:2] == ["bot", "gpt-4o"]
    assert listed[1].split()[-1] == "helps"
