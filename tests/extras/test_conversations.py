"""`/v1/dify/…` before a simulated Dify, which keeps people apart as the real one does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from opendify.app import create_app
from opendify.simulator import DEMO_MODELS, SimulatorOptions, create_simulator
from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify, always, refusal
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.settings import make_settings

NOBODY_S = "11111111-1111-4111-8111-111111111111"
KEYS = {"AUTH_MODE": "keys", "API_KEYS": "alice:sk-of-alice-1,bob:sk-of-bob-22"}
ALICE = {"Authorization": "Bearer sk-of-alice-1"}
BOB = {"Authorization": "Bearer sk-of-bob-22"}


@dataclass
class Stand:
    """The service, and a conversation that Alice has with a chat app."""

    client: FlaskClient
    conversation_id: str
    message_id: str

    @property
    def conversation(self) -> str:
        return f"/v1/dify/conversations/{self.conversation_id}"

    @property
    def message(self) -> str:
        return f"/v1/dify/messages/{self.message_id}"


@pytest.fixture(params=["0.15.3", "1.12.1"])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    options = SimulatorOptions(
        version=request.param,
        token_delay_seconds=0,
        naming_delay_seconds=0,
        message_time_resolution_seconds=0,
    )
    transport = httpx.WSGITransport(create_simulator(options))
    settings = make_settings({**DEMO_MODELS, "mute": "app-demo-agent-chat"}, **KEYS)
    app = create_app(settings, transport=lambda: transport)
    client = app.test_client()
    chat = {"model": "demo-chat", "messages": [{"role": "user", "content": "Hello there"}]}
    answer = client.post("/v1/chat/completions", json=chat, headers=ALICE)
    yield Stand(client, answer.headers["X-Dify-Conversation-Id"], answer.headers["X-Dify-Message-Id"])
    app.extensions["opendify"].close()


def read(response: TestResponse) -> Any:
    assert response.status_code == 200, response.data
    return response.get_json()


def test_questions_are_suggested_for_an_answer(stand: Stand) -> None:
    suggested = stand.client.get(
        f"{stand.message}/suggested", headers={**ALICE, "X-Dify-Conversation-Id": stand.conversation_id}
    )

    assert len(read(suggested)["data"]) == 3
    assert read(stand.client.get(f"{stand.message}/suggested?model=demo-chat", headers=ALICE))["data"]


def test_the_app_is_found_by_the_conversation_or_the_model_or_not_at_all(stand: Stand) -> None:
    answer = stand.client.get(f"{stand.message}/suggested", headers=ALICE)

    assert "X-Dify-Conversation-Id" in assert_openai_error(
        answer, 400, "missing_required_parameter", param="model"
    )


@pytest.mark.parametrize("rating", ["like", "dislike", None])
def test_a_rating_is_kept_with_the_message(stand: Stand, rating: str | None) -> None:
    url = f"{stand.message}/feedback?conversation_id={stand.conversation_id}"
    shape = {"rating": rating, "content": "because"}

    assert read(stand.client.post(url, json=shape, headers=ALICE)) == {"result": "success"}

    (message,) = read(stand.client.get(f"{stand.conversation}/messages", headers=ALICE))["data"]
    assert message["feedback"] == (rating and {"rating": rating})


@pytest.mark.parametrize("shape", [{}, {"rating": "so so"}, {"rating": 5}])
def test_a_wrong_rating_is_named(stand: Stand, shape: dict[str, object]) -> None:
    answer = stand.client.post(f"{stand.message}/feedback?model=demo-chat", json=shape, headers=ALICE)

    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == "rating"


def test_a_conversation_is_listed_read_and_renamed(stand: Stand) -> None:
    page = read(stand.client.get("/v1/dify/conversations?model=demo-chat&limit=5", headers=ALICE))
    assert [each["id"] for each in page["data"]] == [stand.conversation_id]
    assert (page["limit"], page["has_more"]) == (5, False)

    (message,) = read(stand.client.get(f"{stand.conversation}/messages", headers=ALICE))["data"]
    assert (message["id"], message["query"]) == (stand.message_id, "Hello there")
    assert "agent_thoughts" not in message
    assert "inputs" not in message

    named = stand.client.post(f"{stand.conversation}/name", json={"name": "Greetings"}, headers=ALICE)
    assert read(named)["name"] == "Greetings"
    found = stand.client.post(f"{stand.conversation}/name", json={"auto_generate": True}, headers=ALICE)
    assert read(found)["name"] not in ("", "Greetings")


def test_a_name_or_the_wish_for_one_is_needed(stand: Stand) -> None:
    answer = stand.client.post(f"{stand.conversation}/name", json={}, headers=ALICE)

    assert_openai_error(answer, 400, "missing_required_parameter", param="name")


@pytest.mark.parametrize(
    ("headers", "user"), [(BOB, ""), (ALICE, "&user=somebody")], ids=["another key", "another person"]
)
def test_nobody_else_reaches_it_by_knowing_its_ids(stand: Stand, headers: dict[str, str], user: str) -> None:
    query = f"?model=demo-chat{user}"
    client = stand.client

    listed = client.get(f"/v1/dify/conversations{query}", headers=headers)
    assert read(listed)["data"] == []
    messages = client.get(f"{stand.conversation}/messages{query}", headers=headers)
    assert_openai_error(messages, 404, "conversation_not_found")
    renamed = client.post(f"{stand.conversation}/name{query}", json={"name": "Mine"}, headers=headers)
    assert_openai_error(renamed, 404, "conversation_not_found")
    suggested = client.get(f"{stand.message}/suggested{query}", headers=headers)
    assert_openai_error(suggested, 404, "message_not_found")
    rated = client.post(f"{stand.message}/feedback{query}", json={"rating": "like"}, headers=headers)
    assert_openai_error(rated, 404, "message_not_found")

    (message,) = read(client.get(f"{stand.conversation}/messages", headers=ALICE))["data"]
    assert message["feedback"] is None


def test_without_a_model_another_key_s_conversation_is_not_even_known(stand: Stand) -> None:
    answer = stand.client.get(f"{stand.conversation}/messages", headers=BOB)

    assert_openai_error(answer, 400, "missing_required_parameter", param="model")


def test_what_nobody_has_is_not_found(stand: Stand) -> None:
    url = f"/v1/dify/messages/{NOBODY_S}/suggested?model=demo-chat"

    assert_openai_error(stand.client.get(url, headers=ALICE), 404, "message_not_found")
    assert_openai_error(
        stand.client.get("/v1/dify/messages/..%2Finfo/suggested?model=demo-chat", headers=ALICE),
        404,
        "not_found",
    )


def test_an_app_tells_what_it_needs_and_can_do(stand: Stand) -> None:
    told = read(stand.client.get("/v1/dify/models/demo-chat/parameters", headers=ALICE))

    assert told["opening_statement"] == "Hello from the chat app."
    assert told["suggested_questions"] == ["What can you do?"]
    assert told["speech_to_text"] == {"enabled": True}
    assert told["text_to_speech"] == {"enabled": True, "voice": "", "language": ""}
    assert "sensitive_word_avoidance" not in told
    form = read(stand.client.get("/v1/dify/models/demo-completion/parameters", headers=ALICE))[
        "user_input_form"
    ]
    assert form[0]["paragraph"]["variable"] == "query"


def test_an_app_without_suggestions_or_conversations_says_so(stand: Stand) -> None:
    mute = stand.client.get(f"/v1/dify/messages/{NOBODY_S}/suggested?model=demo-workflow", headers=ALICE)

    assert_openai_error(mute, 400, "unsupported_value", param="model")
    listed = stand.client.get("/v1/dify/conversations?model=demo-completion", headers=ALICE)
    assert_openai_error(listed, 400, "unsupported_value", param="model")
    feedback = f"/v1/dify/messages/{NOBODY_S}/feedback?model=demo-workflow"
    rated = stand.client.post(feedback, json={"rating": "like"}, headers=ALICE)
    assert_openai_error(rated, 400, "unsupported_value", param="model")


@pytest.mark.parametrize("query", ["limit=0", "limit=500", "sort_by=name"])
def test_a_wrong_query_is_named(stand: Stand, query: str) -> None:
    answer = stand.client.get(f"/v1/dify/conversations?model=demo-chat&{query}", headers=ALICE)

    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == query.partition("=")[0]


@pytest.mark.parametrize("query", ["", "?model="])
def test_a_model_is_asked_for_by_name(stand: Stand, query: str) -> None:
    for path in ("conversations", "workflows/runs/x", "workflows/runs/x/events"):
        answer = stand.client.get(f"/v1/dify/{path}{query}", headers=ALICE)
        assert_openai_error(answer, 400, "missing_required_parameter", param="model")


@pytest.mark.parametrize("written", ["chatcmpl-1", "1", "..", "%2e%2e", NOBODY_S + "0", "null"])
def test_what_is_no_id_of_dify_s_is_not_found(stand: Stand, written: str) -> None:
    get, post = stand.client.get, stand.client.post
    messages = f"/v1/dify/messages/{written}"
    suggested = get(f"{messages}/suggested?model=demo-chat", headers=ALICE)
    rated = post(f"{messages}/feedback?model=demo-chat", json={"rating": "like"}, headers=ALICE)
    read_back = get(f"/v1/dify/conversations/{written}/messages?model=demo-chat", headers=ALICE)

    message = assert_openai_error(suggested, 404, "message_not_found")
    assert "X-Dify-Message-Id" in message
    assert_openai_error(rated, 404, "message_not_found")
    assert_openai_error(read_back, 404, "conversation_not_found")


def test_a_key_is_asked_for(stand: Stand) -> None:
    assert_openai_error(stand.client.get("/v1/dify/conversations?model=demo-chat"), 401, "invalid_api_key")
    rated = stand.client.post(f"{stand.message}/feedback", data="no JSON")
    assert_openai_error(rated, 401, "invalid_api_key")


def test_inputs_that_no_request_may_set_are_not_told(serve: Serve, dify: MockDify) -> None:
    form = [{"text-input": {"variable": name}} for name in ("city", "secret")]
    moderation = {"enabled": True, "type": "keywords", "configs": {"keywords": "hush"}}
    parameters = {"user_input_form": form, "sensitive_word_avoidance": moderation, "opening_statement": None}
    dify.answers["parameters"] = lambda _: httpx.Response(200, json=parameters)
    client = serve({"bot": {"api_key": "app-bot", "inputs": {"secret": "x"}, "locked_inputs": ["secret"]}})

    answer = client.get("/v1/dify/models/bot/parameters")

    assert read(answer)["user_input_form"] == [{"text-input": {"variable": "city"}}]
    assert b"hush" not in answer.data


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (refusal(400, "bad_request", "Suggested Questions Is Disabled."), 400, None),
        (refusal(401, "unauthorized"), 502, "upstream_auth_error"),
        (refusal(500, "internal_server_error"), 502, "upstream_error"),
        (httpx.Response(200, html="<h1>login"), 502, "upstream_error"),
        (httpx.Response(200, json=["what is this"]), 502, "upstream_error"),
        (httpx.Response(200, json={"data": "what is this"}), 502, "upstream_error"),
    ],
)
def test_what_dify_refuses_is_an_error_of_ours(
    serve: Serve, dify: MockDify, said: httpx.Response, status: int, code: str | None
) -> None:
    dify.answers["other"] = always(said)

    assert_openai_error(serve().get(f"/v1/dify/messages/{NOBODY_S}/suggested?model=bot"), status, code)
