"""What is too much is refused before Dify hears of it; and what browsers are told of every answer."""

import json

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Serve
from tests.fakes.mock_dify import MockDify
from tests.fakes.openai_errors import assert_openai_error

CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}
MESSAGE = {"role": "user", "content": "x"}
PART = {"type": "text", "text": "x"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": [MESSAGE] * 10_001}, "messages"),
        ({"messages": [{"role": "user", "content": [PART] * 1_001}]}, "messages[0].content"),
        ({"messages": None, "input": [MESSAGE] * 10_001}, "input"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ],
)
def test_too_many_of_anything_are_refused_by_name(
    serve: Serve, dify: MockDify, fields: dict[str, object], param: str
) -> None:
    answer = serve().post("/v1/chat/completions", json={**CHAT, **fields})

    assert_openai_error(answer, 400, "array_above_max_length", param=param)
    assert dify.requests == []


def test_the_most_that_is_allowed_is_answered(serve: Serve) -> None:
    messages = [MESSAGE] * 9_999 + [{"role": "user", "content": [PART] * 1_000}]

    assert serve().post("/v1/chat/completions", json={**CHAT, "messages": messages}).status_code == 200


@pytest.mark.parametrize("opening", ['{"x":', "["])
def test_json_has_a_depth_that_is_enough_for_everybody(serve: Serve, dify: MockDify, opening: str) -> None:
    head, closing = json.dumps(CHAT)[:-1], "}" if opening == '{"x":' else "]"

    def ask(depth: int) -> TestResponse:
        body = f'{head}, "metadata": {opening * depth}1{closing * depth}}}'
        return serve().post("/v1/chat/completions", data=body)

    assert ask(100).status_code == 200
    asked = len(dify.requests)
    for depth in (300, 100_000):
        assert "nested too deeply" in assert_openai_error(ask(depth), 400, None)
    assert len(dify.requests) == asked


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/", None),
        ("GET", "/health/ready", None),
        ("GET", "/v1/models", None),
        ("GET", "/v1/nothing", None),
        ("DELETE", "/v1/models", None),
        ("OPTIONS", "/v1/chat/completions", None),
        ("POST", "/v1/chat/completions", {}),
        ("POST", "/v1/chat/completions", CHAT),
        ("POST", "/v1/chat/completions", {**CHAT, "stream": True}),
    ],
)
def test_no_answer_is_a_page_or_kept(serve: Serve, method: str, path: str, body: object) -> None:
    headers = serve().open(path, method=method, json=body).headers

    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] in {"no-store", "no-cache"}
    assert not any("werkzeug" in value.lower() or "python" in value.lower() for value in headers.values())
