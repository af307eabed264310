"""How one run looks in each Dify version: order of events, ends, silence."""

from __future__ import annotations

import io

import pytest

from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from opendify.simulator.versions import KNOWN_VERSIONS
from tests.simulator.asking import Asker, bearer, names, text_of

CHATFLOW = "app-demo-advanced-chat"
WORKFLOW = "app-demo-workflow"
AGENT = "app-demo-agent"
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
_BODY = [
    "workflow_started",
    *["node_started", "node_finished"],
    *["node_started", "message", "node_finished"],
    *["node_started", "node_finished"],
]


@pytest.mark.parametrize("model", DEMO_MODELS)
@pytest.mark.parametrize("version", KNOWN_VERSIONS)
def test_every_mode_streams_its_echo_in_every_version(version: str, model: str) -> None:
    asker = Asker(version)

    events = asker.stream(DEMO_MODELS[model], "Hello there")

    assert text_of(events).endswith("Hello there" if model != "demo-completion" else "Hello there\n")
    assert asker.get(DEMO_MODELS[model], "/v1/info").headers["X-Version"] == version


def test_an_unknown_version_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'9\.9\.9'; known are 0\.15\.3"):
        create_simulator(SimulatorOptions(version="9.9.9"))


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("0.15.3", [*_BODY, "workflow_finished", "message_end"]),
        ("1.12.1", [*_BODY, "workflow_finished", "message_end"]),
        ("1.13.0", ["ping", *_BODY, "workflow_finished"]),
        ("1.13.3", ["ping", *_BODY, "message_end", "workflow_finished"]),
        ("1.16.1", ["ping", *_BODY, "message_end", "workflow_finished"]),
    ],
)
def test_a_chatflow_ends_as_its_version_does(version: str, expected: list[str]) -> None:
    assert names(Asker(version).stream(CHATFLOW, "Hello")) == expected


@pytest.mark.parametrize(("version", "last"), [("1.12.1", "error"), ("1.13.3", "workflow_finished")])
def test_a_failed_chatflow_loses_its_error_event_to_the_worker(version: str, last: str) -> None:
    events = Asker(version).stream(CHATFLOW, "FAIL500")

    finished = next(event for event in events if event["event"] == "workflow_finished")
    assert finished["data"]["status"] == "failed"
    assert events[-1]["event"] == last


def test_a_refused_input_of_1_13_is_a_ping_and_five_minutes_of_silence() -> None:
    asker = Asker("1.13.3")
    before = asker.now

    answer = asker.run("app-demo-advanced-chat-inputs", "Hello")

    assert (answer.status_code, answer.get_data()) == (200, b"event: ping\n\n")
    assert asker.now - before == pytest.approx(301.3)


def test_a_refused_input_of_1_15_is_a_run_that_failed() -> None:
    events = Asker("1.15.0").stream("app-demo-advanced-chat-inputs", "Hello")

    assert names(events) == ["ping", "workflow_started", "workflow_finished"]
    assert events[-1]["data"]["error"] == "topic is required in input form"
    assert events[-1].keys() == {"event", "task_id", "workflow_run_id", "data"}


@pytest.mark.parametrize(
    ("version", "status"), [("1.12.1", 404), ("1.13.3", 200), ("1.15.0", 200), ("1.16.1", 200)]
)
def test_an_unknown_conversation_of_a_chatflow(version: str, status: int) -> None:
    answer = Asker(version).run(CHATFLOW, "Hello", conversation_id=UNKNOWN_ID)

    assert answer.status_code == status
    if version == "1.15.0":
        assert "message_end" in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.12.1", ["message", "message_end"]),
        ("1.14.2", ["ping", "message", "message_end"]),
        ("1.15.0", ["ping", "message", "message_end", "workflow_started", "workflow_finished"]),
    ],
)
def test_an_annotated_answer_of_a_chatflow(version: str, expected: list[str]) -> None:
    events = Asker(version).stream(CHATFLOW, "ANNOTATION")

    assert names(events) == expected
    assert text_of(events) == "Canned answer."


@pytest.mark.parametrize("key", [CHATFLOW, WORKFLOW])
def test_a_human_input_node_pauses_the_run(key: str) -> None:
    events = Asker("1.14.2").stream(key, "PAUSE")

    assert names(events)[-2:] == ["human_input_required", "workflow_paused"]


@pytest.mark.parametrize(
    ("version", "status", "event"), [("1.13.3", 400, None), ("1.14.2", 200, "workflow_paused")]
)
def test_a_paused_chatflow_blocking(version: str, status: int, event: str | None) -> None:
    answer = Asker(version).run(CHATFLOW, "PAUSE", streaming=False)

    assert (answer.status_code, answer.get_json().get("event")) == (status, event)


def test_a_blocking_chatflow_of_1_13_0_is_a_silent_stream() -> None:
    answer = Asker("1.13.0").run(CHATFLOW, "Hello", streaming=False)

    assert answer.mimetype == "text/event-stream"
    assert answer.get_data() == b"event: ping\n\n"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.15.0", ["message", "message_end"]),
        ("1.16.1", ["agent_thought", "agent_message", "agent_thought", "message", "message_end"]),
    ],
)
def test_the_new_agent_says_its_answer_twice_since_1_16(version: str, expected: list[str]) -> None:
    events = Asker(version).stream(AGENT, "Hello")

    assert names(events) == expected
    assert [event["answer"] for event in events if event["event"] == "message"][-1].endswith(
        "Hello" if version == "1.16.1" else ""
    )


def test_reasoning_is_told_apart_since_1_15() -> None:
    events = Asker("1.15.0").stream(CHATFLOW, "REASON")

    chunks = [event["data"] for event in events if event["event"] == "reasoning_chunk"]
    assert "".join(chunk["reasoning"] for chunk in chunks) == "I reason about the request step by step."
    assert [chunk["is_final"] for chunk in chunks][-2:] == [False, True]
    assert "<think>" not in text_of(events)


@pytest.mark.parametrize(
    ("version", "code"), [("1.15.0", "completion_request_error"), ("1.16.1", "rate_limit_error")]
)
def test_a_rate_limit_of_the_model_has_its_own_code_since_1_16(version: str, code: str) -> None:
    assert Asker(version).stream("app-demo-chat", "FAIL429")[-1]["code"] == code


@pytest.mark.parametrize(("version", "status"), [("1.12.1", 200), ("1.14.2", 400)])
def test_an_upload_belongs_to_its_user_since_1_14(version: str, status: int) -> None:
    asker = Asker(version)
    key = "app-demo-chat-vision"
    upload = asker.client.post(
        "/v1/files/upload",
        data={"user": "eve", "file": (io.BytesIO(b"png"), "a.png", "image/png")},
        headers=bearer(key),
    ).get_json()
    file = {"type": "image", "transfer_method": "local_file", "upload_file_id": upload["id"]}

    answer = asker.run(key, "Look", streaming=False, files=[file])

    assert answer.status_code == status
    assert ("images=1" if status == 200 else "Invalid upload file") in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("version", "mime_type", "status"),
    [
        ("0.15.3", "audio/webm", 200),
        ("1.12.1", "audio/webm", 415),
        ("1.12.1", "audio/mp3", 200),
        ("1.12.1", "audio/mpeg", 415),
    ],
)
def test_accepted_audio_types_shrank(version: str, mime_type: str, status: int) -> None:
    answer = Asker(version).client.post(
        "/v1/audio-to-text",
        data={"user": "ann", "file": (io.BytesIO(b"ID3"), "a.bin", mime_type)},
        headers=bearer("app-demo-chat"),
    )

    assert answer.status_code == status


def test_speech_is_audio_and_nothing_to_say_is_null() -> None:
    asker = Asker()

    spoken = asker.post("app-demo-chat", "/v1/text-to-audio", {"text": "Hello"})
    silent = asker.post("app-demo-chat", "/v1/text-to-audio", {"message_id": UNKNOWN_ID})

    assert (spoken.mimetype, spoken.get_data()[:2]) == ("audio/mpeg", b"\xff\xfb")
    assert (silent.status_code, silent.get_json()) == (200, None)


@pytest.mark.parametrize(("version", "where"), [("0.15.3", ""), ("1.12.1", " for ")])
def test_one_run_too_many_is_refused_until_the_first_is_over(version: str, where: str) -> None:
    asker = Asker(version)
    key = "app-demo-chat-limited"
    first = asker.run(key, "Hello")
    refused = asker.run(key, "Hello")
    first.close()

    assert (refused.status_code, refused.get_json()["code"]) == (400, "invalid_param")
    assert f"concurrent requests allowed{where}" in refused.get_json()["message"]
    assert asker.run(key, "Hello").status_code == 200


def test_a_queued_run_of_1_13_sends_one_ping_and_waits() -> None:
    asker = Asker("1.13.3")
    before = asker.now

    events = asker.stream(CHATFLOW, "QUEUED:60 hello")

    assert names(events)[:2] == ["ping", "workflow_started"]
    assert asker.now - before > 60


def test_a_workflow_run_can_be_looked_up_afterwards() -> None:
    asker = Asker()
    run_id = asker.ask(WORKFLOW, "Hello")["workflow_run_id"]

    row = asker.get(WORKFLOW, f"/v1/workflows/run/{run_id}").get_json()

    assert (row["status"], row["outputs"]) == ("succeeded", '{"text": "ECHO prior=0 images=0 :: Hello"}')


def test_messages_tell_their_cost_since_1_16() -> None:
    asker = Asker("1.16.1")
    conversation_id = asker.ask("app-demo-chat", "Hello")["conversation_id"]

    row = asker.get("app-demo-chat", "/v1/messages", conversation_id=conversation_id).get_json()["data"][0]

    assert {"extra_contents", "total_price", "message_tokens"} <= row.keys()
