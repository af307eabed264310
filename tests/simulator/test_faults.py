"""Every fault that a word asks for."""

from __future__ import annotations

import json

import pytest

from opendify.simulator.faults import ConnectionCutError
from tests.simulator.asking import Asker, frames_of, names, read_frames, text_of

CHAT = "app-demo-chat"
CHATFLOW = "app-demo-advanced-chat"
WORKFLOW = "app-demo-workflow"


def test_drop_breaks_the_connection_after_some_events() -> None:
    frames = frames_of(Asker().run(CHAT, "DROP:2 hello"))

    assert [next(frames)["event"], next(frames)["event"]] == ["message", "message"]
    with pytest.raises(ConnectionCutError):
        next(frames)


def test_eof_ends_the_stream_early_and_cleanly() -> None:
    assert names(Asker().stream(CHAT, "EOF:2 hello")) == ["message"]


@pytest.mark.parametrize("streaming", [True, False])
def test_html_is_a_page_with_status_200(streaming: bool) -> None:
    answer = Asker().run(CHAT, "HTML", streaming=streaming)

    assert (answer.status_code, answer.mimetype) == (200, "text/html")


@pytest.mark.parametrize(
    ("status", "mime_type"),
    [
        (400, "application/json"),
        (429, "application/json"),
        (500, "application/json"),
        (502, "text/html"),
        (504, "text/html"),
    ],
)
def test_status_answers_as_dify_or_as_its_nginx(status: int, mime_type: str) -> None:
    answer = Asker().run(CHAT, f"STATUS:{status}")

    assert answer.mimetype == mime_type
    assert answer.status_code == status


def test_hang_sends_nothing_at_all() -> None:
    asker = Asker()
    before = asker.now

    assert asker.run(CHAT, "HANG").get_data() == b""
    assert asker.now - before > 300


def test_a_blocking_answer_breaks_too() -> None:
    asker = Asker()

    assert asker.run(CHAT, "HANG", streaming=False).get_data() == b""
    assert asker.run(CHAT, "BADJSON", streaming=False).get_data()[:9] == b'{"event":'
    with pytest.raises(ConnectionCutError):
        asker.run(CHAT, "DROP", streaming=False).get_data()
    assert asker.counts()["running"] == 0


def test_pingonly_pings_until_the_idle_limit() -> None:
    assert Asker().run(CHAT, "PINGONLY").get_data() == b"event: ping\n\n" * 30


def test_badjson_puts_a_cut_event_between_good_ones() -> None:
    frames = Asker().run(CHAT, "BADJSON").get_data().split(b"\n\n")

    with pytest.raises(json.JSONDecodeError):
        json.loads(frames[1].removeprefix(b"data: "))
    assert json.loads(frames[-2].removeprefix(b"data: "))["event"] == "message_end"


def test_big_is_one_large_event() -> None:
    events = Asker().stream(CHAT, "BIG:200000")

    assert len(events[0]["answer"]) == 200_000


def test_unicode_sends_what_breaks_careless_readers() -> None:
    body = Asker().run(CHAT, "UNICODE").get_data()

    assert "\u2028".encode() in body
    assert "\u0085".encode() in body
    assert b"\\u0000" in body
    assert b"\\ud800" in body
    assert "\U0001f30d".encode() in body


def test_unicode_is_escaped_in_old_versions() -> None:
    assert Asker("0.15.3").run(CHAT, "UNICODE").get_data().isascii()


@pytest.mark.parametrize("key", [CHAT, CHATFLOW])
def test_replace_takes_back_what_was_said(key: str) -> None:
    asker = Asker()
    events = asker.stream(key, "REPLACE me")

    assert "message_replace" in names(events)
    assert events[-1]["event"] == "message_end"
    rows = asker.get(key, "/v1/messages", conversation_id=events[0]["conversation_id"]).get_json()["data"]
    assert rows[0]["answer"] == "Output was moderated."


def test_file_sends_a_picture() -> None:
    asker = Asker()

    in_chat = asker.stream(CHAT, "FILE")
    by_agent = asker.stream("app-demo-agent-chat", "FILE")
    in_chatflow = asker.stream(CHATFLOW, "FILE")
    in_workflow = asker.stream(WORKFLOW, "FILE")

    assert "message_file" in names(in_chat)
    assert "message_file" in names(by_agent)
    assert in_chatflow[-1]["files"][0]["mime_type"] == "image/png"
    assert in_workflow[-1]["data"]["files"][0]["mime_type"] == "image/png"


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
def test_cite_names_its_sources(version: str) -> None:
    end = Asker(version).stream(CHAT, "CITE")[-1]

    assert end["metadata"]["retriever_resources"][0]["document_name"] == "facts.txt"


def test_unknownevent_comes_between_the_known() -> None:
    assert "event_of_tomorrow" in names(Asker().stream(CHAT, "UNKNOWNEVENT"))


def test_an_annotation_answers_letter_by_letter() -> None:
    events = Asker().stream(CHAT, "ANNOTATION")

    assert [event["answer"] for event in events[:3]] == ["C", "a", "n"]
    assert events[-1]["metadata"]["annotation_reply"]["account"]["name"] == "admin"


def test_react_talks_of_its_tool() -> None:
    events = Asker().stream("app-demo-agent-chat", "REACT what time is it?")

    assert {event["tool"] for event in events if event["event"] == "agent_thought"} == {"", "current_time"}


def test_a_workflow_of_two_models_prints_both_outputs() -> None:
    answer = Asker().post(
        "app-demo-workflow-texts",
        "/v1/workflows/run",
        {"inputs": {"title": "A", "body": "B"}, "response_mode": "streaming"},
    )
    events = read_frames(answer.get_data())

    outputs = events[-1]["data"]["outputs"]
    assert outputs.keys() == {"summary", "detail"}
    assert text_of(events) == f"{outputs['summary']}\n{outputs['detail']}"


def test_an_ordinary_question_meets_no_fault() -> None:
    assert text_of(Asker().stream(CHAT, "What is a FILENAME, and is it EMPTYish?")).endswith("EMPTYish?")


def test_a_body_that_is_no_object_is_an_internal_error() -> None:
    answer = Asker().client.post("/v1/chat-messages", json=[1], headers={"Authorization": f"Bearer {CHAT}"})

    assert (answer.status_code, answer.get_json()["code"]) == (500, "unknown")
