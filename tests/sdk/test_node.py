"""What the official SDK for Node, which most web clients build on, makes of OpenDify."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.stand import API_KEY, Stand

FOLDER = Path(__file__).parent / "node"
ANSWER = "ECHO prior=0 images=0 :: Hello there"

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and (FOLDER / "node_modules").is_dir()),
    reason="needs Node, and `npm ci --prefix tests/sdk/node`",
)


@pytest.fixture(params=["openai-6", "openai-7"])
def outcome(request: pytest.FixtureRequest, stand: Stand) -> Any:
    """What the script beside it saw."""
    command = ["node", "ask.mjs", request.param, stand.base_url, API_KEY]
    run = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_models_answers_and_failures_are_what_the_sdk_expects(outcome: Any) -> None:
    assert (outcome["listed"], outcome["retrieved"]) == (True, "team/support bot")
    assert [outcome[form] for form in ("whole", "streamed", "helper")] == [ANSWER] * 3
    assert kind_of(outcome["unknown"]) == ("NotFoundError", 404, "model_not_found", "model")
    assert kind_of(outcome["refused"]) == ("InternalServerError", 502, "upstream_run_failed", None)
    assert kind_of(outcome["broken"]) == ("APIError", None, "upstream_run_failed", None)
    assert kind_of(outcome["brokenHelper"]) == ("APIError", None, "upstream_error", None)


def test_a_file_lives_and_dies(outcome: Any) -> None:
    assert outcome["file"] == {
        "filename": "notes 名.txt",
        "content": "hello from node",
        "listed": True,
        "deleted": True,
    }
    assert kind_of(outcome["noFile"]) == ("NotFoundError", 404, "file_not_found", "id")


def test_recordings_are_transcribed_and_words_spoken(outcome: Any) -> None:
    heard = "Simulated transcript of 4 bytes."
    assert (outcome["transcribed"], outcome["transcribedAsText"]) == (heard, heard)
    assert outcome["transcribedStreamed"] == [
        ["transcript.text.delta", heard],
        ["transcript.text.done", heard],
    ]
    content_type, length = outcome["spoken"]
    assert (content_type, length > 100) == ("audio/mpeg", True)
    assert kind_of(outcome["notSpoken"]) == ("BadRequestError", 400, "unsupported_value", "response_format")


def kind_of(failure: Any) -> tuple[object, ...]:
    """Its class, status, code and parameter, once it has a message."""
    assert failure["message"]
    return failure["kind"], failure["status"], failure["code"], failure["param"]
