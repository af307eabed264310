"""Every command and example of the README is run, here or by the test that is named here."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest

from opendify.access.keys import KeyRing
from opendify.app import create_app
from opendify.settings import PROJECT_FOLDER, load_environment, load_settings
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from tests.fakes.served_app import served
from tests.pages import code_blocks, commands, read_page

README: Final = read_page("README.md")

# Commands that this file does not run, and the file that does.
RUN_ELSEWHERE: Final[Mapping[str, str]] = {
    "git clone https://github.com/opendify/opendify.git && cd opendify": ".ci/first_start.py",
    "./start_development.sh": "tests/packaging/test_scripts.py",
    "./start_production.sh": "tests/packaging/test_scripts.py",
    "./run_tests.sh": ".ci/run",
    "bash .ci/run": "tests/packaging/test_scripts.py",
    "uv run --isolated --frozen --only-group docs python scripts/docs_site.py": ".ci/run",
}


@dataclass(frozen=True)
class Service:
    """The real app in front of a simulated Dify; `url` is without `/v1`."""

    url: str
    folder: Path

    def run(self, *command: str | Path) -> str:
        """What the command writes, when it ends well."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "NO_PROXY": "*"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def moved_here(self, text: str) -> str:
        return text.replace("http://127.0.0.1:5000", self.url)


@pytest.fixture(scope="module")
def dify() -> Iterator[str]:
    """The address of a simulated Dify's API."""
    with served(create_simulator(SimulatorOptions(token_delay_seconds=0, naming_delay_seconds=0))) as url:
        yield f"{url}/v1"


@pytest.fixture
def service(dify: str, tmp_path: Path) -> Iterator[Service]:
    """As `./start_development.sh` serves when nothing is configured."""
    settings = load_settings(
        {
            "ENVIRONMENT": "development",
            "DIFY_API_BASE": dify,
            "MODEL_CONFIG": json.dumps(dict(DEMO_MODELS)),
            "DATA_DIR": str(tmp_path / "data"),
        }
    )
    with served(create_app(settings)) as url:
        yield Service(url, tmp_path)


@pytest.fixture
def service_with_a_key(dify: str, tmp_path: Path) -> Iterator[Service]:
    """As `./start_production.sh` serves the models of the example."""
    settings = load_settings(
        {
            "DIFY_API_BASE": dify,
            "MODEL_CONFIG": '{"translator": "app-demo-chat", "support": "app-demo-chat"}',
            "DATA_DIR": str(tmp_path / "data"),
        }
    )
    KeyRing(settings).first_key_files()
    with served(create_app(settings)) as url:
        yield Service(url, tmp_path)


CURLS = [command for command in commands(README) if command.startswith("curl ")]
OPENDIFY = [command for command in commands(README) if command.startswith(".venv/bin/")]
COPIES = [command for command in commands(README) if command.startswith("cp ")]


def test_every_command_is_run_here_or_elsewhere() -> None:
    run_here = {*CURLS, *OPENDIFY, *COPIES}

    assert set(commands(README)) - run_here == set(RUN_ELSEWHERE)


@pytest.mark.parametrize(("command", "file"), RUN_ELSEWHERE.items(), ids=lambda each: Path(each).name)
def test_what_is_run_elsewhere_is_known_there(command: str, file: str) -> None:
    program = "first curl" if command.startswith("git clone ") else command.split()[-1].lstrip("./")

    assert program in (PROJECT_FOLDER / file).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", CURLS)
def test_a_request_with_curl_is_answered(command: str, service: Service) -> None:
    answer = json.loads(service.run("bash", "-c", service.moved_here(command)))

    assert answer["choices"][0]["message"]["content"].endswith("Hello")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("command", CURLS)
def test_a_request_with_curl_can_be_streamed_as_the_text_says(command: str, service: Service) -> None:
    streamed = (
        service.moved_here(command).replace('{"model"', '{"stream": true, "model"').replace("curl", "curl -N")
    )

    assert service.run("bash", "-c", streamed).endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("model", DEMO_MODELS)
def test_every_demo_model_answers(model: str, service: Service) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    answer = httpx.post(f"{service.url}/v1/chat/completions", json=body, trust_env=False)

    assert answer.json()["choices"][0]["message"]["content"].endswith("Hello")


@pytest.mark.parametrize("example", code_blocks(README, "python"))
def test_the_python_example_prints_an_answer(example: str, service_with_a_key: Service) -> None:
    printed = service_with_a_key.run(sys.executable, "-c", service_with_a_key.moved_here(example))

    assert "Good morning" in printed


@pytest.mark.parametrize("command", OPENDIFY)
def test_the_opendify_command_explains_itself(command: str, tmp_path: Path) -> None:
    program, *arguments = command.split()
    said = Service("", tmp_path).run(Path(sys.executable).parent / Path(program).name, *arguments)

    assert said.startswith("Usage: opendify simulate")


@pytest.mark.parametrize("command", COPIES)
def test_the_copied_settings_with_the_two_lines_filled_in_are_accepted(command: str, tmp_path: Path) -> None:
    shutil.copy(PROJECT_FOLDER / ".env.example", tmp_path)
    Service("", tmp_path).run("bash", "-c", command)
    (lines,) = code_blocks(README, "ini")
    with (tmp_path / ".env").open("a", encoding="utf-8") as file:
        file.write(lines.replace("…", "made-up"))

    settings = load_settings(load_environment(tmp_path / ".env", {}))

    assert [model.name for model in settings.models] == ["translator", "support"]
