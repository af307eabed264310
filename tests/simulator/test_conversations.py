"""What a simulated Dify remembers, and what cuts and stops do to it."""

from __future__ import annotations

import json

import pytest

from tests.simulator.asking import Asker, bearer, frames_of, names, read_frames, text_of

CHAT = "app-demo-chat"
CHATFLOW = "app-demo-advanced-chat"
ECHO = "ECHO prior=0 images=0 :: Hello"
SYSTEM = ["system", "You are a test model."]


def memory_of(asker: Asker, key: str, conversation_id: str) -> list[list[str]]:
    pairs: list[list[str]] = json.loads(asker.ask(key, "MEMORY", conversation_id=conversation_id)["answer"])
    return pairs


def test_the_model_is_given_the_conversation_so_far() -> None:
    asker = Asker()
    first = asker.ask(CHAT, "Hello")

    assert memory_of(asker, CHAT, first["conversation_id"]) == [
        ["user", "Hello"],
        ["assistant", ECHO],
        ["user", "MEMORY"],
    ]


@pytest.mark.parametrize(
    ("key", "history"),
    [
        (CHAT, [["user", "MEMORY"], ["assistant", ""], ["user", "Hello"], ["assistant", ECHO]]),
        (CHATFLOW, [SYSTEM, ["user", "MEMORY"], ["user", "Hello"], ["assistant", ECHO]]),
    ],
    ids=["chat", "chatflow"],
)
def test_two_turns_within_one_second_mix_up_the_memory(key: str, history: list[list[str]]) -> None:
    asker = Asker(naming_delay_seconds=0.0)
    asker.now = 1_799_999_998.7
    first = asker.ask(key, "Hello")
    asker.now = 1_799_999_999.0

    assert memory_of(asker, key, first["conversation_id"]) == [*history, ["user", "MEMORY"]]


def test_without_a_grain_turns_of_one_moment_stay_apart() -> None:
    asker = Asker(message_time_resolution_seconds=0.0)
    first = asker.ask(CHAT, "Hello")
    asker.now -= 1.3

    assert [pair[0] for pair in memory_of(asker, CHAT, first["conversation_id"])] == [
        "user",
        "assistant",
        "user",
    ]


@pytest.mark.parametrize(
    ("key", "kept"),
    [(CHAT, [["user", "Cut LONG:9"], ["assistant", ""]]), (CHATFLOW, [["user", "Cut LONG:9"]])],
    ids=["chat", "chatflow"],
)
def test_a_stream_left_early_stores_no_answer(key: str, kept: list[list[str]]) -> None:
    asker = Asker()
    answer = asker.run(key, "Cut LONG:9")
    conversation_id = next(frames_of(answer))["conversation_id"]
    answer.close()

    memory = [pair for pair in memory_of(asker, key, conversation_id) if pair != SYSTEM]

    assert memory == [*kept, ["user", "MEMORY"]]
    assert asker.counts()["aborted_streams"] == 1


def test_a_worker_stores_the_answer_of_a_stream_left_early() -> None:
    asker = Asker("1.13.3")
    answer = asker.run(CHATFLOW, "Cut LONG:2")
    frames = frames_of(answer)
    next(frames)
    conversation_id = next(frames)["conversation_id"]
    answer.close()

    assert ["assistant", "ECHO prior=0 w0 w1"] in memory_of(asker, CHATFLOW, conversation_id)


@pytest.mark.parametrize(
    ("key", "ends"),
    [
        (CHAT, ["message_end"]),
        ("app-demo-agent-chat", ["message_end"]),
        (CHATFLOW, ["workflow_finished", "message_end"]),
    ],
)
def test_a_stop_while_the_stream_is_read_stores_what_was_said(key: str, ends: list[str]) -> None:
    asker = Asker()
    answer = asker.run(key, "RATE:8 LONG:60")
    frames = frames_of(answer)
    events = [next(frames) for _ in range(8)]
    task_id, conversation_id = events[0]["task_id"], events[0]["conversation_id"]

    stopped = asker.post(key, f"/v1/chat-messages/{task_id}/stop", {})
    events += list(frames)
    rows = asker.get(key, "/v1/messages", conversation_id=conversation_id).get_json()["data"]

    assert (stopped.status_code, stopped.get_json()) == (200, {"result": "success"})
    assert names(events)[-len(ends) :] == ends
    assert rows[0]["answer"] == text_of(events)
    assert len(text_of(events)) < 60
    assert asker.counts()["stops"] == 1


@pytest.mark.parametrize(("version", "end"), [("0.15.3", "message_end"), ("1.12.1", "error")])
def test_another_users_stop_aborts_newer_chatflows_at_their_end(version: str, end: str) -> None:
    asker = Asker(version)
    frames = frames_of(asker.run(CHATFLOW, "LONG:5"))
    first = next(frames)

    asker.post(CHATFLOW, f"/v1/chat-messages/{first['task_id']}/stop", {"user": "eve"})
    events = list(frames)

    assert text_of(events) == "ECHO prior=0 w0 w1 w2 w3 w4"
    assert events[-1]["event"] == end


def test_a_workflow_stops_with_its_own_word() -> None:
    asker = Asker()
    frames = frames_of(asker.run("app-demo-workflow", "RATE:8 LONG:60"))
    events = [next(frames) for _ in range(8)]

    asker.post("app-demo-workflow", f"/v1/workflows/tasks/{events[0]['task_id']}/stop", {})
    last = list(frames)[-1]

    assert (last["data"]["status"], last["data"]["error"]) == ("stopped", "Stopped by user.")


def test_a_conversation_belongs_to_its_user_and_app() -> None:
    asker = Asker()
    conversation_id = asker.ask(CHAT, "Hello")["conversation_id"]

    by_another_user = asker.run(CHAT, "Hi", user="eve", conversation_id=conversation_id)
    by_another_app = asker.run(CHATFLOW, "Hi", conversation_id=conversation_id)

    assert [by_another_user.status_code, by_another_app.status_code] == [404, 404]


def test_all_conversations_can_be_deleted_at_once() -> None:
    asker = Asker()
    conversation_id = asker.ask(CHAT, "Hello")["conversation_id"]

    deleted = asker.client.delete("/_simulator/conversations").get_json()

    assert deleted == {"deleted": 1}
    assert asker.run(CHAT, "Hi", conversation_id=conversation_id).status_code == 404


def test_run_requests_are_kept_for_inspection_without_their_keys() -> None:
    asker = Asker()
    asker.client.post(
        "/v1/chat-messages",
        json={"inputs": {}, "query": "Hi", "user": "ann", "response_mode": "streaming"},
        headers=bearer(CHAT) | {"X-Trace-Id": "t-1"},
    )

    received = asker.client.get("/_simulator/requests").get_json()["requests"]

    assert [(row["path"], row["app_key"], row["body"]["query"]) for row in received] == [
        ("/v1/chat-messages", CHAT, "Hi")
    ]
    assert received[0]["headers"]["X-Trace-Id"] == "t-1"
    assert "Authorization" not in received[0]["headers"]


def test_a_reset_forgets_everything() -> None:
    asker = Asker()
    asker.ask(CHAT, "Hello")

    asker.client.post("/_simulator/reset")

    assert set(asker.counts().values()) == {0}


def test_only_a_newer_version_waits_before_the_first_event_of_a_conversation() -> None:
    seconds = {}
    for version in ("0.15.3", "1.12.1"):
        asker = Asker(version)
        before = asker.now
        first = asker.ask(CHAT, "Hello")
        asker.ask(CHAT, "Hello", conversation_id=first["conversation_id"])
        asker.ask(CHAT, "Hello", auto_generate_name=False)
        seconds[version] = round(asker.now - before - 3 * 1.3, 3)

    assert seconds == {"0.15.3": 0.0, "1.12.1": 1.0}


def test_pings_come_every_ten_seconds_of_silence() -> None:
    events = read_frames(Asker().run(CHAT, "SLOW:25 hello").get_data())

    assert names(events) == ["ping", "ping", "message", "message_end"]
