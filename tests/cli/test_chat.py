"""`opendify chat` talks through the running service as any client does."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from opendify.app import create_app
from tests.cli.conftest import Operation
from tests.fakes.served_app import served

# One transparent pixel.
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


@pytest.fixture
def talking(operation: Operation, dify: str) -> Iterator[Operation]:
    """A running service with two models; the command's own settings name its port."""
    environ = {
        **operation.environ,
        "DIFY_API_BASE": dify,
        "DIFY_MESSAGE_TIME_RESOLUTION": "0",
        "MODEL_CONFIG": json.dumps({"bot": "app-demo-chat", "seer": "app-demo-chat-vision"}),
    }
    service = replace(operation, environ=environ)
    with served(create_app(service.settings)) as url:
        port = url.rpartition(":")[2]
        yield replace(service, environ={**environ, "SERVER_HOST": "0.0.0.0", "SERVER_PORT": port})


def type_lines(operation: Operation, *lines: str, model: str = "bot") -> Result:
    return operation.run("chat", model, typed="".join(f"{line}\n" for line in lines))


def test_one_message_is_answered_on_the_output_alone(talking: Operation) -> None:
    assert talking.said("chat", "-m", "Good morning").endswith("Good morning\n")


def test_a_conversation_goes_on(talking: Operation) -> None:
    done = type_lines(talking, "My name is Ada", "What is it?", "/quit")

    assert done.exit_code == 0
    # The simulated model says how much it remembers.
    assert "prior=2" in done.stdout


def test_a_file_goes_with_the_message(talking: Operation, tmp_path: Path) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(DOT)

    done = type_lines(talking, f"/file {picture}", "What is this?", model="seer")

    assert "images=1" in done.stdout


def test_a_new_conversation_knows_nothing_of_the_last(talking: Operation) -> None:
    done = type_lines(talking, "My name is Ada", "/new", "What is it?", "/quit")

    assert "prior=2" not in done.stdout


def test_a_failure_is_told_and_the_conversation_goes_on(talking: Operation) -> None:
    done = type_lines(talking, "FAIL500", "Hello again")

    assert done.exit_code == 0
    assert "Hello again" in done.stdout


def test_a_wrong_key_is_told(talking: Operation) -> None:
    assert "Incorrect API key" in talking.refused(
        "chat", "bot", "--key", "sk-wrong-0123456789", "-m", "Hello"
    )


def test_a_service_that_is_not_there_is_told(talking: Operation) -> None:
    said = talking.refused("chat", "bot", "--url", "http://127.0.0.1:9/v1", "-m", "Hello")

    assert "http://127.0.0.1:9/v1 cannot be reached" in said


def test_commands_are_explained(talking: Operation) -> None:
    assert "/file PATH" in type_lines(talking, "/help").stdout


def test_a_file_that_is_not_there_is_told(talking: Operation) -> None:
    assert "there is no file 'nowhere.png'" in type_lines(talking, "/file nowhere.png").stdout
