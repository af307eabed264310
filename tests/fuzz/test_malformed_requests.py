"""Whatever a client sends, it gets an answer or an error it can read, and Dify gets only what is sound."""

import json
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from werkzeug.test import TestResponse

from opendify.app import create_app
from tests.fakes.settings import make_settings
from tests.fuzz import requests as odd
from tests.fuzz.requests import OddRequest

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
_RUNS = {"/v1/chat-messages", "/v1/completion-messages", "/v1/workflows/run"}
_FORM = {"user_input_form": [{"paragraph": {"variable": "query", "label": "query", "required": True}}]}
_ANSWER = b"".join(
    b"data: %s\n\n" % json.dumps({"task_id": "t", "message_id": "m", "conversation_id": "c"} | event).encode()
    for event in (
        {"event": "message", "answer": "Hello"},
        {"event": "text_chunk", "data": {"text": "Hello"}},
        {
            "event": "message_end",
            "metadata": {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
        },
        {"event": "workflow_finished", "data": {"status": "succeeded", "outputs": {"text": "Hello"}}},
    )
)

_TestT = TypeVar("_TestT", bound=Callable[..., None])


def examples(count: int) -> Callable[[_TestT], _TestT]:
    """The same `count` examples in every run, however slow the machine."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def sound_dify(request: httpx.Request) -> httpx.Response:
    """A Dify with nothing wrong, which insists on sound requests."""
    path = request.url.path
    if path in _RUNS:
        body = json.loads(request.content.decode("utf-8"))
        assert isinstance(body["inputs"], dict)
        assert isinstance(body["user"], str)
        assert body["user"]
        assert isinstance(body.get("query", ""), str)
        return httpx.Response(200, content=_ANSWER, headers={"Content-Type": "text/event-stream"})
    if path == "/v1/files/upload":
        return httpx.Response(201, json={"id": "upload"})
    return httpx.Response(200, json=_FORM if path == "/v1/parameters" else {"result": "success"})


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    models = {mode: {"api_key": f"app-{mode}", "mode": mode} for mode in ("chat", "completion", "workflow")}
    app = create_app(make_settings(models), transport=lambda: httpx.MockTransport(sound_dify))
    with app.test_client() as test_client:
        yield test_client


def assert_readable(response: TestResponse) -> None:
    """A whole answer, a whole stream, or an error with its four keys."""
    assert response.status_code < 500, response.get_data(as_text=True)
    if response.status_code >= 400:
        assert_readable_error(response)
    elif response.mimetype == "text/event-stream":
        last = response.get_data().removesuffix(b"\n\n").rpartition(b"\n\n")[2]
        assert last == b"data: [DONE]" or last.startswith(b"event: response.completed\n")
    else:
        assert response.mimetype == "application/json"
        assert isinstance(json.loads(response.get_data().decode("utf-8")), dict)


def assert_readable_error(response: TestResponse) -> None:
    assert response.mimetype == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    body = json.loads(response.get_data().decode("utf-8"))
    assert body.keys() == {"error"}
    error = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"].strip()
    assert isinstance(error["type"], str)
    assert isinstance(error["param"], str | None)
    assert isinstance(error["code"], str | None)


@given(body=odd.encoded(odd.mutated(odd.CHAT_BODY)))
@example(
    b'{"model":"chat","messages":[{"role":"user","content":[{"type":"image_url","image_url":[null,null]}]}]}'
)
@examples(1_200)
def test_a_chat_request_changed_at_random_is_answered_or_refused(client: FlaskClient, body: bytes) -> None:
    assert_readable(client.post(CHAT, data=body))


@given(body=odd.encoded(odd.mutated(odd.CHAT_BODY | {"stream": True})))
@examples(400)
def test_a_streamed_chat_request_changed_at_random_is_answered_or_refused(
    client: FlaskClient, body: bytes
) -> None:
    assert_readable(client.post(CHAT, data=body))


@pytest.mark.parametrize("endpoint", [CHAT, RESPONSES])
@given(body=odd.encoded(odd.mutated(odd.RESPONSES_SHAPED_BODY)))
@examples(200)
def test_a_responses_shaped_request_changed_at_random_is_answered_or_refused(
    client: FlaskClient, endpoint: str, body: bytes
) -> None:
    assert_readable(client.post(endpoint, data=body))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@given(body=odd.mutated(odd.COMPLETION_BODY))
@examples(400)
def test_a_text_completion_request_changed_at_random_is_answered_or_refused(
    client: FlaskClient, stream: bool, body: odd.Json
) -> None:
    if stream and isinstance(body, dict):
        body = body | {"stream": True}

    assert_readable(client.post(COMPLETIONS, data=json.dumps(body)))


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
@given(body=odd.encoded(odd.json_values) | odd.broken_bytes(odd.CHAT_BODY))
@examples(400)
def test_what_is_no_request_at_all_is_refused(client: FlaskClient, endpoint: str, body: bytes) -> None:
    response = client.post(endpoint, data=body)

    assert_readable(response)


@given(headers=odd.odd_headers)
@examples(300)
def test_headers_of_any_content_leave_a_sound_request_readable(
    client: FlaskClient, headers: dict[str, str]
) -> None:
    assert_readable(client.post(CHAT, data=json.dumps(odd.CHAT_BODY), headers=headers))


@given(request=odd.odd_requests)
@examples(800)
def test_any_method_on_any_url_is_answered_in_json(client: FlaskClient, request: OddRequest) -> None:
    response = client.open(
        request.path,
        method=request.method,
        query_string=request.query,
        headers=dict(request.headers),
        data=request.body,
    )

    if request.method == "OPTIONS":
        assert (response.status_code, response.get_data()) == (204, b"")
    elif request.method == "HEAD":
        assert response.status_code < 500
        assert response.get_data() == b""
    else:
        assert_readable(response)
