"""Locust's people chat with a running service, and notice when they are not answered."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opendify.app import create_app
from opendify.settings import load_settings
from opendify.simulator import SimulatorOptions, create_simulator
from tests.fakes.programs import PROJECT
from tests.fakes.served_app import served

KEY = "sk-of-the-load-test"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None, reason="locust (group `load`) is not installed"
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[str]:
    with served(create_simulator(SimulatorOptions(token_delay_seconds=0, naming_delay_seconds=0))) as dify:
        settings = load_settings(
            {
                "DIFY_API_BASE": f"{dify}/v1",
                "MODEL_CONFIG": '{"bot": "app-demo-chat"}',
                "API_KEYS": KEY,
                "DATA_DIR": str(tmp_path / "data"),
            }
        )
        with served(create_app(settings)) as url:
            yield url


def run_locust(url: str, key: str, seconds: int) -> tuple[int, dict[str, dict[str, float]]]:
    """Its exit code, and what it counted by name."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--locustfile", PROJECT / "deploy/load/locustfile.py"),
            *("--headless", "--users", "6", "--spawn-rate", "6", "--run-time", f"{seconds}s", "--json"),
            *("--stop-timeout", "20", "--host", url),
        ],
        env={"PATH": os.environ["PATH"], "OPENDIFY_API_KEY": key, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, {each["name"]: each for each in json.loads(done.stdout)}


def test_people_chat_with_a_running_service(service: str) -> None:
    exit_code, counted = run_locust(service, KEY, 5)

    assert exit_code == 0
    assert counted["streamed: head"]["num_requests"] >= 1
    assert {name: each["num_failures"] for name, each in counted.items() if each["num_failures"]} == {}
    assert counted["streamed: first piece"]["num_requests"] == counted["streamed: last piece"]["num_requests"]


def test_people_who_are_not_answered_say_so(service: str) -> None:
    exit_code, counted = run_locust(service, "sk-wrong", 2)

    assert exit_code == 1
    assert sum(each["num_failures"] for each in counted.values()) >= 1
