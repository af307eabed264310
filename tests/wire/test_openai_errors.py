import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendify.errors import InvalidRequest
from opendify.wire.openai_chat import ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest
from opendify.wire.openai_errors import parse_request

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


HI = {"role": "user", "content": "Hi"}


def fault_in(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(ChatCompletionRequest, raw)
    return caught.value


def user_with(*parts: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"model=m", id="a form"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'"Hi"', id="a string"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"model":"\xff"}', id="not UTF-8"),
    ],
)
def test_a_body_that_is_no_json_object_is_told_so(raw: bytes) -> None:
    error = fault_in(raw)

    assert error.status == 400
    assert error.message.startswith("We could not parse the JSON body of your request.")
    assert error.to_body()["error"] | {"message": ""} == {
        "message": "",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


def test_a_body_nested_too_deeply_is_refused() -> None:
    error = fault_in(b'{"metadata":' + b"[" * 100_000 + b"]" * 100_000 + b"}")

    assert (error.status, error.param) == (400, None)


@pytest.mark.parametrize(
    ("body", "param", "code", "message"),
    [
        pytest.param(
            {"messages": []},
            "messages",
            "empty_array",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            id="no message",
        ),
        pytest.param(
            {"messages": "Hi"},
            "messages",
            "invalid_type",
            "Invalid type for 'messages': expected an array, but got a string instead.",
            id="messages is a string",
        ),
        pytest.param(
            {"messages": ["Hi"]}, "messages[0]", "invalid_type", "got a string", id="a message is a string"
        ),
        pytest.param(
            {"messages": [HI, {"content": "Hi"}]},
            "messages[1].role",
            "missing_required_parameter",
            "Missing required parameter: 'messages[1].role'.",
            id="no role",
        ),
        pytest.param(
            {"messages": [{"role": "robot", "content": "Hi"}]},
            "messages[0].role",
            "invalid_value",
            "Invalid value: 'robot'. Supported values are: ",
            id="unknown role",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": 5}]},
            "messages[0].content",
            "invalid_type",
            "Invalid type for 'messages[0].content': ",
            id="content is a number",
        ),
        pytest.param(
            {"messages": [{"role": "user", "content": {"text": "Hi"}}]},
            "messages[0].content",
            "invalid_type",
            "got an object",
            id="content is an object",
        ),
        pytest.param(
            user_with({"text": "Hi"}),
            "messages[0].content[0].type",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].content[0].type'.",
            id="a part without type",
        ),
        pytest.param(
            user_with({"type": "text", "text": "Hi"}, {"type": "smell", "smell": "x"}),
            "messages[0].content[1].type",
            "invalid_value",
            "Invalid value: 'smell'. Supported values are: ",
            id="a part of unknown type",
        ),
        pytest.param(
            user_with("Hi"), "messages[0].content[0]", "invalid_type", "got a string", id="a part is a string"
        ),
        pytest.param(
            user_with({"type": "text"}),
            "messages[0].content[0].text",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].content[0].text'.",
            id="a text part without text",
        ),
        pytest.param(
            user_with({"type": "text", "text": {"text": 5}}),
            "messages[0].content[0].text",
            "invalid_type",
            "got an object",
            id="a text part that holds an object",
        ),
        pytest.param(
            user_with({"type": "image_url", "image_url": {}}),
            "messages[0].content[0].image_url.url",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].content[0].image_url.url'.",
            id="an image without url",
        ),
        pytest.param(
            user_with({"type": "image_url", "image_url": [None, None]}),
            "messages[0].content[0].image_url",
            "invalid_type",
            "got an array",
            id="image_url is an array",
        ),
        pytest.param({"stream": "yes"}, "stream", "invalid_type", "a boolean", id="stream is a string"),
        pytest.param({"stream": 1}, "stream", "invalid_type", "got an integer", id="stream is a number"),
        pytest.param(
            {"stream_options": {"include_usage": "yes"}},
            "stream_options.include_usage",
            "invalid_type",
            "got a string",
            id="include_usage is a string",
        ),
        pytest.param(
            {"temperature": 3},
            "temperature",
            "decimal_above_max_value",
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
            id="temperature too big",
        ),
        pytest.param(
            {"temperature": -0.5},
            "temperature",
            "decimal_below_min_value",
            "Expected a value >= 0, but got -0.5 instead.",
            id="temperature too small",
        ),
        pytest.param(
            {"temperature": "hot"}, "temperature", "invalid_type", "got a string", id="temperature a string"
        ),
        pytest.param(
            {"top_p": 1.5}, "top_p", "decimal_above_max_value", "Expected a value <= 1", id="top_p too big"
        ),
        pytest.param(
            {"presence_penalty": -3},
            "presence_penalty",
            "decimal_below_min_value",
            "Expected a value >= -2",
            id="presence_penalty too small",
        ),
        pytest.param(
            {"frequency_penalty": 3},
            "frequency_penalty",
            "decimal_above_max_value",
            "Expected a value <= 2",
            id="frequency_penalty too big",
        ),
        pytest.param(
            {"n": 0},
            "n",
            "integer_below_min_value",
            "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            id="n too small",
        ),
        pytest.param({"n": 129}, "n", "integer_above_max_value", "Expected a value <= 128", id="n too big"),
        pytest.param({"n": "one"}, "n", "invalid_type", "an integer", id="n is a string"),
        pytest.param(
            {"top_logprobs": 21},
            "top_logprobs",
            "integer_above_max_value",
            "<= 20",
            id="top_logprobs too big",
        ),
        pytest.param(
            {"stop": list("abcde")}, "stop", "array_above_max_length", "maximum length of 4", id="five stops"
        ),
        pytest.param({"stop": [5]}, "stop[0]", "invalid_type", "got an integer", id="stop is a number"),
        pytest.param({"user": 5}, "user", "invalid_type", "got an integer", id="user is a number"),
        pytest.param({"inputs": []}, "inputs", "invalid_type", "an object, but got an array", id="inputs"),
        pytest.param({"model": 5}, "model", "invalid_type", "a string, but got an integer", id="model"),
    ],
)
def test_the_first_fault_is_named_as_openai_names_it(
    body: object, param: str, code: str, message: str
) -> None:
    error = fault_in(json.dumps(body).encode())

    assert (error.status, error.type, error.param, error.code) == (400, "invalid_request_error", param, code)
    assert message in error.message


def test_a_long_value_is_not_repeated_in_full() -> None:
    error = fault_in(json.dumps({"messages": [{"role": "x" * 5_000, "content": "Hi"}]}).encode())

    assert error.code == "invalid_value"
    assert len(error.message) < 400


def test_text_with_a_lone_surrogate_is_taken() -> None:
    raw = rb'{"messages":[{"role":"user","content":"a\ud83d b"}]}'

    request = parse_request(ChatCompletionRequest, raw)

    assert request.messages
    assert request.messages[0].content == "a? b"


def test_a_fault_beside_a_lone_surrogate_is_named() -> None:
    error = fault_in(rb'{"messages":[{"role":"user","content":"\ud83d"}],"temperature":3}')

    assert error.param == "temperature"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
_names = st.sampled_from([*ChatCompletionRequest.model_fields, *CompletionRequest.model_fields])
_parts = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "input_image", "input_audio", "file", "input_file"])},
    optional={"text": _json, "image_url": _json, "input_audio": _json, "file": _json},
)
_bodies = st.dictionaries(_names, _json, max_size=4) | st.fixed_dictionaries(
    {
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.just("user"), "content": st.lists(_parts, max_size=2)}),
            max_size=2,
        )
    }
)


@unhurried
@given(st.sampled_from([ChatCompletionRequest, CompletionRequest]), _bodies)
def test_no_body_crashes_the_validator(
    shape: type[ChatCompletionRequest] | type[CompletionRequest], body: object
) -> None:
    with suppress(InvalidRequest):
        parse_request(shape, json.dumps(body).encode())


@unhurried
@given(st.binary())
def test_no_bytes_crash_the_validator(raw: bytes) -> None:
    with suppress(InvalidRequest):
        parse_request(ChatCompletionRequest, raw)
