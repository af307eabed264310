"""Requests that are sent twice, as clients send and see them."""

import json
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import Serve
from tests.fakes.frames import END, event, message, read_frames, text_of
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.openai_errors import assert_openai_error

FIRST = {"x-stainless-retry-count": "0"}
RETRY = {"x-stainless-retry-count": "1"}
KEYED = {"Idempotency-Key": "order-7"}
SHAPES = [(FIRST, RETRY), (KEYED, KEYED)]
both_shapes = pytest.mark.parametrize(("first", "repeat"), SHAPES, ids=["SDK", "Idempotency-Key"])


def ask(
    client: FlaskClient,
    headers: dict[str, str],
    text: str = "Hi",
    path: str = "/v1/chat/completions",
    **fields: object,
) -> TestResponse:
    body = {"model": "bot", "messages": [{"role": "user", "content": text}], "prompt": text, **fields}
    return client.post(path, data=json.dumps(body), headers=headers)


@both_shapes
def test_a_whole_answer_is_given_once_more(
    serve: Serve, dify: MockDify, first: dict[str, str], repeat: dict[str, str]
) -> None:
    client = serve()
    answers = [ask(client, headers) for headers in (first, repeat)]

    assert answers[0].status_code == 200
    assert answers[0].json == answers[1].json
    for name in ("X-Dify-Conversation-Id", "X-Dify-Message-Id", "Content-Type"):
        assert answers[0].headers[name] == answers[1].headers[name]
    assert answers[0].headers["x-request-id"] != answers[1].headers["x-request-id"]
    assert len(dify.asked("run")) == 1


@both_shapes
def test_a_stream_is_given_once_more(
    serve: Serve, dify: MockDify, first: dict[str, str], repeat: dict[str, str]
) -> None:
    dify.answers["run"] = lambda _: stream(
        message("<think>hm</think>") + message("Hel") + message("lo") + END
    )
    client = serve()
    options = {"include_usage": True}
    answers = [
        read_frames([ask(client, each, stream=True, stream_options=options).data]) for each in (first, repeat)
    ]

    assert [text_of(frames[:-2]) for frames in answers] == ["Hello", "Hello"]
    for frames in answers:
        assert frames[-1] == "[DONE]"
        assert any("hm" in str(frame) for frame in frames)
    ids = {
        (frame["id"], frame["created"])
        for frames in answers
        for frame in frames[:-1]
        if isinstance(frame, dict)
    }
    assert len(ids) == 1
    assert answers[0][-3:] == answers[1][-3:], "the finish with Dify's ids, the usage, the end"
    assert len(dify.asked("run")) == 1


@both_shapes
def test_a_failure_is_given_once_more(
    serve: Serve, dify: MockDify, first: dict[str, str], repeat: dict[str, str]
) -> None:
    dify.answers["run"] = lambda _: stream(event("error", code="completion_request_error", message="on fire"))
    client = serve()

    answers = [ask(client, headers) for headers in (first, repeat)]

    assert answers[0].json == answers[1].json
    for answer in answers:
        assert_openai_error(answer, 502, "upstream_run_failed")
        assert answer.headers["x-should-retry"] == "false"
    assert len(dify.asked("run")) == 1


@both_shapes
def test_a_refusal_that_says_come_back_lets_the_client_come_back(
    serve: Serve, dify: MockDify, first: dict[str, str], repeat: dict[str, str]
) -> None:
    dify.answers["run"] = lambda _: refusal(429, "too_many_requests")
    client = serve()
    assert_openai_error(ask(client, first), 429, "rate_limit_exceeded")
    dify.answers["run"] = lambda _: stream()

    assert ask(client, repeat).status_code == 200


def test_the_same_words_once_more_are_a_new_request(serve: Serve, dify: MockDify) -> None:
    client = serve()

    ids = {ask(client, FIRST).get_json()["id"] for _ in range(3)}

    assert len(ids) == len(dify.asked("run")) == 3


@pytest.mark.parametrize("headers", [{}, {"x-stainless-retry-count": "x"}])
def test_clients_that_do_not_repeat_leave_nothing(
    serve: Serve, dify: MockDify, headers: dict[str, str], tmp_path: Path
) -> None:
    client = serve()
    for _ in range(2):
        assert ask(client, headers).status_code == 200

    assert len(dify.asked("run")) == 2
    assert not (tmp_path / "answers.db").exists()


def test_a_key_is_for_one_request(serve: Serve, dify: MockDify) -> None:
    client = serve()
    ask(client, KEYED)

    for other in (
        ask(client, KEYED, text="Something else"),
        ask(client, KEYED, stream=True),
        ask(client, {**KEYED, "X-Chat-Id": "other"}),
        ask(client, KEYED, path="/v1/completions"),
    ):
        assert_openai_error(other, 400, "idempotency_key_reused", param="Idempotency-Key")
    assert len(dify.asked("run")) == 1


def test_another_caller_s_key_is_another_key(serve: Serve, dify: MockDify) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS="anna:sk-anna-key-of-the-tests,ben:sk-ben-key-of-the-tests")

    ids = {
        ask(client, {**KEYED, "Authorization": f"Bearer sk-{name}-key-of-the-tests"}).get_json()["id"]
        for name in ("anna", "ben", "anna")
    }

    assert len(ids) == len(dify.asked("run")) == 2


def test_text_completions_are_repeated_too(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": {"api_key": "app-bot", "mode": "completion"}})

    answers = [ask(client, KEYED, path="/v1/completions").json for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(dify.asked("run")) == 1


def test_switched_off_nothing_is_kept_and_everything_runs(
    serve: Serve, dify: MockDify, tmp_path: Path
) -> None:
    client = serve(ANSWER_STORE="off")

    for _ in range(2):
        assert ask(client, KEYED).status_code == 200
    assert len(dify.asked("run")) == 2
    assert not (tmp_path / "answers.db").exists()


def test_what_a_request_of_an_unknown_model_asked_may_be_asked_again(serve: Serve, dify: MockDify) -> None:
    client = serve()
    for _ in range(2):
        assert_openai_error(ask(client, KEYED, model="none"), 404, "model_not_found", param="model")

    assert ask(client, KEYED).status_code == 200


def test_a_person_who_is_forgotten_leaves_no_answer(serve: Serve, dify: MockDify) -> None:
    admin = {"Authorization": "Bearer sk-the-admin-key-of-the-tests"}
    client = serve(
        AUTH_MODE="keys",
        ADMIN_API_KEY="sk-the-admin-key-of-the-tests",
        API_KEYS="team:sk-the-team-key-of-the-tests",
    )
    headers = {**KEYED, "Authorization": "Bearer sk-the-team-key-of-the-tests"}
    before = ask(client, headers, user="anna").get_json()["id"]

    assert client.delete("/v1/conversation/users/anna?key=team", headers=admin).status_code == 200

    assert ask(client, headers, user="anna").get_json()["id"] != before
    assert len(dify.asked("run")) == 2
