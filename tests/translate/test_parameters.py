import pytest

from opendify.errors import InvalidRequest
from opendify.translate.parameters import (
    CHAT_COMPLETION_PARAMETERS,
    CHAT_COMPLETION_REFUSALS,
    COMPLETION_PARAMETERS,
    Parameter,
    refuse_unsupported,
)
from opendify.translate.response_parameters import RESPONSE_PARAMETERS
from opendify.wire.openai_chat import AnswerRequest, ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest
from opendify.wire.openai_responses import ResponsesRequest

TABLES = pytest.mark.parametrize(
    ("table", "shape"),
    [
        (CHAT_COMPLETION_PARAMETERS, ChatCompletionRequest),
        (COMPLETION_PARAMETERS, CompletionRequest),
        (RESPONSE_PARAMETERS, ResponsesRequest),
    ],
    ids=["chat completions", "completions", "responses"],
)


def chat(**body: object) -> None:
    refuse_unsupported(CHAT_COMPLETION_REFUSALS, ChatCompletionRequest.model_validate(body))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("modalities", ["audio"]),
        ("modalities", ["text", "audio"]),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("function_call", {"name": "f"}),
    ],
    ids=str,
)
def test_what_would_change_the_meaning_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat(**{name: value})

    error = caught.value
    assert (error.status, error.type, error.param, error.code) == (
        400,
        "invalid_request_error",
        name,
        "unsupported_value",
    )
    assert f"'{name}'" in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 1),
        ("n", None),
        ("modalities", ["text"]),
        ("modalities", None),
        ("response_format", {"type": "text"}),
        ("response_format", None),
        ("tool_choice", "auto"),
        ("tool_choice", "none"),
        ("tool_choice", None),
        ("function_call", "auto"),
        ("function_call", "none"),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("functions", [{"name": "f"}]),
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("logprobs", True),
        ("logit_bias", {"50256": -100}),
        ("reasoning_effort", "high"),
        ("service_tier", "flex"),
        ("max_tokens", 5),
        ("max_completion_tokens", 0),
        ("stream_options", {"include_obfuscation": True}),
    ],
    ids=str,
)
def test_what_changes_nothing_is_accepted(name: str, value: object) -> None:
    chat(**{name: value})


@TABLES
def test_a_parameter_has_one_row(table: tuple[Parameter, ...], shape: type) -> None:
    names = [row.name for row in table]

    assert sorted(set(names)) == sorted(names)


@TABLES
def test_a_row_refuses_if_and_only_if_it_says_so(table: tuple[Parameter, ...], shape: type) -> None:
    for row in table:
        assert (row.treatment == "refused in part") == (row.refusal is not None), row.name
        assert row.note, row.name


@TABLES
def test_what_is_honoured_or_refused_is_read_from_the_body(
    table: tuple[Parameter, ...], shape: type[AnswerRequest]
) -> None:
    read = {row.name for row in table if row.treatment != "ignored"}

    assert read <= shape.model_fields.keys()


@TABLES
def test_what_is_read_from_the_body_has_a_row(
    table: tuple[Parameter, ...], shape: type[AnswerRequest]
) -> None:
    told_under_messages = {"input", "instructions"} if shape is ChatCompletionRequest else set()

    assert shape.model_fields.keys() - told_under_messages <= {row.name for row in table}
