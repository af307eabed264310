"""A model that cannot answer is stood in for, and the client sees the model that it asked for."""

import json
from collections.abc import Callable

import httpx
import pytest
from flask.testing import FlaskClient

from tests.conftest import Serve
from tests.fakes.frames import event, message, read_frames, text_of
from tests.fakes.mock_dify import Answer, MockDify, refusal, stream
from tests.fakes.openai_errors import assert_openai_error

CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
TABLE: dict[str, object] = {
    "bot": {"api_key": "app-bot", "fallbacks": ["替补"], "aliases": ["gpt-4o"]},
    "替补": "app-spare",
}
FAILED_TABLE = TABLE | {"bot": {"api_key": "app-bot", "fallbacks": ["替补"], "fallback_on": "failed"}}
SPARE = "%E6%9B%BF%E8%A1%A5"
Break = Callable[[httpx.Request], httpx.Response]


def _unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("no", request=request)


def only_for_bot(broken: Break, good: Answer = lambda _: stream()) -> Answer:
    return lambda request: broken(request) if _key(request) == "app-bot" else good(request)


def _key(request: httpx.Request) -> str:
    return request.headers["Authorization"].removeprefix("Bearer ")


def ask(client: FlaskClient, *, streams: bool, **more: object) -> tuple[str, str]:
    """The text, and the model that answered by the headers; whole in either way."""
    response = client.post("/v1/chat/completions", json={**CHAT, "stream": streams, **more})
    assert response.status_code == 200, response.data
    if streams:
        frames = read_frames([response.data])
        assert frames[-1] == "[DONE]"
        assert {frame["model"] for frame in frames if isinstance(frame, dict)} == {CHAT["model"]}
        return text_of(frames[:-1]), response.headers["X-OpenDify-Model"]
    body = response.get_json()
    assert body["model"] == CHAT["model"]
    return body["choices"][0]["message"]["content"], response.headers["X-OpenDify-Model"]


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["run", "info", "upload"])
@pytest.mark.parametrize(
    "broken",
    [
        _unreachable,
        lambda _: refusal(401, "unauthorized"),
        lambda _: refusal(429, "too_many_requests"),
        lambda _: refusal(400, "app_unavailable"),
    ],
    ids=["unreachable", "wrong key", "full", "cannot run"],
)
def test_the_next_model_answers_under_the_name_that_was_asked_for(
    serve: Serve, dify: MockDify, streams: bool, name: str, broken: Break
) -> None:
    good = {"run": lambda _: stream(), "upload": lambda _: httpx.Response(201, json={"id": "upload-1"})}
    dify.answers[name] = only_for_bot(
        broken, good.get(name, lambda _: httpx.Response(200, json={"mode": "chat"}))
    )
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [{"type": "text", "text": "Hi"}, picture]

    answer = ask(serve(TABLE), streams=streams, messages=[{"role": "user", "content": content}])

    assert answer == ("Hello", SPARE)
    assert _key(dify.asked("run")[-1]) == "app-spare"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_run_that_failed_is_replaced_only_where_the_model_says_so(
    serve: Serve, dify: MockDify, streams: bool
) -> None:
    on_fire = event("error", code="completion_request_error", message="on fire")
    dify.answers["run"] = only_for_bot(lambda _: stream(on_fire))

    response = serve(TABLE).post("/v1/chat/completions", json={**CHAT, "stream": streams})
    assert_openai_error(response, 502, "upstream_run_failed")
    assert len(dify.asked("run")) == 1

    assert ask(serve(FAILED_TABLE), streams=streams) == ("Hello", SPARE)


def test_half_an_answer_is_replaced_for_a_client_that_takes_it_whole(serve: Serve, dify: MockDify) -> None:
    half = message("Hal") + event("error", code="completion_request_error", message="on fire")
    dify.answers["run"] = only_for_bot(lambda _: stream(half))

    assert ask(serve(FAILED_TABLE), streams=False) == ("Hello", SPARE)
    streamed = serve(FAILED_TABLE).post("/v1/chat/completions", json={**CHAT, "stream": True})
    frames = read_frames([streamed.data])

    assert text_of(frames[:-1]) == "Hal"
    assert isinstance(frames[-1], dict)
    assert frames[-1]["error"]["code"] == "upstream_run_failed"


def test_a_good_model_names_itself_also_under_an_alias(serve: Serve, dify: MockDify) -> None:
    response = serve(TABLE).post("/v1/chat/completions", json={**CHAT, "model": "gpt-4o"})

    assert response.headers["X-OpenDify-Model"] == "bot"
    assert response.get_json()["model"] == "gpt-4o"
    assert {_key(request) for request in dify.requests} == {"app-bot"}


def test_what_the_client_did_wrong_is_not_tried_elsewhere(serve: Serve, dify: MockDify) -> None:
    dify.answers["run"] = only_for_bot(
        lambda _: refusal(400, "invalid_param", "age is required in input form")
    )

    response = serve(TABLE).post("/v1/chat/completions", json=CHAT)

    assert_openai_error(response, 400, "invalid_input", param="inputs.age")
    assert len(dify.asked("run")) == 1


def test_a_conversation_that_the_client_names_is_no_other_model_s(serve: Serve, dify: MockDify) -> None:
    dify.answers["run"] = only_for_bot(_unreachable)

    response = serve(TABLE).post(
        "/v1/chat/completions", json=CHAT, headers={"X-Dify-Conversation-Id": "conversation-1"}
    )

    assert_openai_error(response, 503, "upstream_unreachable")


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_failed_answer_names_the_model_whose_failure_it_is(
    serve: Serve, dify: MockDify, streams: bool, caplog: pytest.LogCaptureFixture
) -> None:
    on_fire = stream(event("error", code="completion_request_error", message="on fire"))
    dify.answers["run"] = only_for_bot(_unreachable, lambda _: on_fire)

    response = serve(TABLE).post("/v1/chat/completions", json={**CHAT, "stream": streams})

    assert_openai_error(response, 502, "upstream_run_failed")
    assert response.headers["X-OpenDify-Model"] == SPARE
    (record,) = [each for each in caplog.records if each.message == "another model takes over"]
    told = {name: vars(record)[name] for name in ("from_model", "to_model", "error", "request_id")}
    assert told == {
        "from_model": "bot",
        "to_model": "替补",
        "error": "upstream_unreachable",
        "request_id": response.headers["x-request-id"],
    }


def test_where_no_model_can_answer_the_client_learns_why_its_own_did_not(
    serve: Serve, dify: MockDify
) -> None:
    dify.answers["run"] = only_for_bot(lambda _: refusal(429, "too_many_requests"), _unreachable)

    response = serve(TABLE).post("/v1/chat/completions", json=CHAT)

    assert_openai_error(response, 429, "rate_limit_exceeded")


def test_a_chat_goes_on_in_its_own_model_once_that_is_back(serve: Serve, dify: MockDify) -> None:
    client = serve(TABLE)
    conversations = {"app-bot": "conversation-of-bot", "app-spare": "conversation-of-spare"}
    dify.answers["run"] = lambda request: stream(_answer_in(conversations[_key(request)]))
    shown = [{"role": "user", "content": "Hi"}]

    def say(text: str) -> str:
        response = client.post("/v1/chat/completions", json={"model": "bot", "messages": [*shown]})
        assert response.status_code == 200, response.data
        reply = response.get_json()["choices"][0]["message"]["content"]
        shown.extend([{"role": "assistant", "content": reply}, {"role": "user", "content": text}])
        return str(response.headers["X-Dify-Conversation-Id"])

    assert say("second") == "conversation-of-bot"
    dify.answers["run"] = only_for_bot(_unreachable, dify.answers["run"])
    assert say("third") == "conversation-of-spare"
    assert json.loads(dify.asked("run")[-1].content).get("conversation_id") is None
    assert say("fourth") == "conversation-of-spare"
    assert json.loads(dify.asked("run")[-1].content)["conversation_id"] == "conversation-of-spare"


def _answer_in(conversation_id: str) -> bytes:
    ids = {"task_id": "task-1", "message_id": "message-1", "conversation_id": conversation_id}
    return event("message", answer="Hello", **ids) + event("message_end", **ids)


def test_the_place_that_a_failed_model_held_is_free_at_once(serve: Serve, dify: MockDify) -> None:
    client = serve(TABLE)
    first = client.post("/v1/chat/completions", json=CHAT).get_json()["choices"][0]["message"]
    later = [*CHAT["messages"], first, {"role": "user", "content": "And?"}]
    dify.answers["run"] = only_for_bot(_unreachable)
    client.post("/v1/chat/completions", json={**CHAT, "messages": later})
    del dify.answers["run"]

    client.post("/v1/chat/completions", json={**CHAT, "messages": later})

    last = json.loads(dify.asked("run")[-1].content)
    assert last["conversation_id"] == "conversation-1", "it goes on, since nobody holds it any more"
