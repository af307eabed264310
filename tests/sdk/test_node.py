"""What the official SDK for Node, which most web clients build on, makes of OpenDify."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.files import MP3, PDF, PNG
from tests.sdk.stand import API_KEY, CITING, Stand

FOLDER = Path(__file__).parent / "node"
ANSWER = "ECHO prior=0 images=0 :: Hello there"

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and (FOLDER / "node_modules").is_dir()),
    reason="needs Node, and `npm ci --prefix tests/sdk/node`",
)


PACKAGES = ("openai-6", "openai-7")


def run_script(*command: str) -> Any:
    """What one of the scripts beside it saw."""
    run = subprocess.run(
        ["node", *command], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(params=PACKAGES)
def outcome(request: pytest.FixtureRequest, stand: Stand) -> Any:
    return run_script("ask.mjs", request.param, stand.base_url, API_KEY)


def test_models_answers_and_failures_are_what_the_sdk_expects(outcome: Any) -> None:
    assert (outcome["listed"], outcome["retrieved"]) == (True, "team/support bot")
    assert [outcome[form] for form in ("whole", "streamed", "helper")] == [ANSWER] * 3
    assert kind_of(outcome["unknown"]) == ("NotFoundError", 404, "model_not_found", "model")
    assert kind_of(outcome["refused"]) == ("InternalServerError", 502, "upstream_run_failed", None)
    assert kind_of(outcome["broken"]) == ("APIError", None, "upstream_run_failed", None)
    assert kind_of(outcome["brokenHelper"]) == ("APIError", None, "upstream_error", None)


def test_responses_are_given_continued_kept_and_broken(outcome: Any) -> None:
    again = "ECHO prior=2 images=0 :: Again"
    assert outcome["responses"] == [ANSWER, again, again]
    assert kind_of(outcome["refusedResponse"]) == ("InternalServerError", 502, "upstream_run_failed", None)
    assert outcome["brokenResponse"] in ("error", "response.failed")


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


@pytest.mark.parametrize("package", PACKAGES)
def test_local_files_reach_the_app(package: str, stand: Stand, tmp_path: Path) -> None:
    for name, content in {"cat.png": PNG, "paper.pdf": PDF, "hello.mp3": MP3}.items():
        # Its own, since what another package's run uploaded is remembered.
        (tmp_path / name).write_bytes(content + package.encode())

    outcome = run_script("files.mjs", package, stand.base_url, API_KEY, str(tmp_path))

    assert outcome["image"] == "ECHO prior=0 images=1 :: What is this?"
    assert {outcome[each] for each in ("paper", "kept", "sound")} == {
        "ECHO prior=0 images=0 :: What is this?"
    }
    part = "messages[0].content[1]"
    assert outcome["deaf"] == {"status": 415, "code": "unsupported_media_type", "param": part}
    nobody = {"status": 404, "code": "file_not_found", "param": f"{part}.file.file_id"}
    assert outcome["nobody"] == nobody
    assert types_of_files(stand) == ["image", "document", "document", "audio"]


def types_of_files(stand: Stand) -> list[object]:
    """Of all runs, in order."""
    return [file["type"] for body in stand.dify.runs() for file in body["files"]]


def test_the_ai_sdk_shows_thinking_and_sources(stand: Stand) -> None:
    """Its generic provider reads `reasoning_content`, OpenAI's own one `annotations`.

    Source: `ai` 7.0.173, `@ai-sdk/openai-compatible` 3.0.92 (`choice.message.reasoning_content`,
    `delta.reasoning_content`), `@ai-sdk/openai` 4.0.118 (`annotations[].url_citation.{url,title}`)
    """
    question = "THINK CITE:handbook.example what is the capital of France?"
    outcome = run_script("aisdk.mjs", stand.base_url, API_KEY, CITING, question)

    source = {"url": "https://handbook.example", "title": "facts.txt"}
    for way in ("whole", "streamed"):
        compatible, openai = outcome["compatible"][way], outcome["openai"][way]
        assert compatible["text"] == openai["text"]
        assert "<think>" not in compatible["text"]
        assert compatible["reasoning"]
        assert openai["sources"] == [source]


def kind_of(failure: Any) -> tuple[object, ...]:
    """Its class, status, code and parameter, once it has a message."""
    assert failure["message"]
    return failure["kind"], failure["status"], failure["code"], failure["param"]
