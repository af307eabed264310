import json

import pytest

from opendify.errors import (
    ContextLengthExceeded,
    ConversationNotFound,
    DifyAppError,
    DifyAuthError,
    DifyError,
    DifyGatewayFailed,
    DifyRunFailed,
    DifyWrongMode,
    FileNotFetched,
    GatewayError,
    InvalidInput,
    QuotaExceeded,
    RateLimited,
    RequestTooLarge,
    UnsupportedMedia,
    UploadForgotten,
)
from opendify.translate.dify_errors import error_from_event, error_from_failed_run, error_from_response
from opendify.wire.dify import ErrorEvent

TOO_MANY = (
    "Too many requests. Please try again later. The current maximum concurrent requests allowed for "
    "5c1a3ad0-9f2b-4a5c-8c3f-0c5a3f6e1b2d is 10."
)
SUFFIX = (
    ". You have requested this URI [/v1/chat-messages] but did you mean /v1/chat-messages or /v1/messages ?"
)


def from_response(status: int, code: str, message: str) -> GatewayError:
    body = {"code": code, "message": message, "status": status}
    return error_from_response(status, json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (401, "unauthorized", "Access token is invalid", DifyAuthError),
        (403, "forbidden", "The app's API service has been disabled.", DifyAuthError),
        (400, "app_unavailable", "App unavailable, please check your app configurations.", DifyAppError),
        (400, "agent_not_published", "The agent is not published.", DifyAppError),
        (400, "not_chat_app", "Please check if your app mode matches the right API route.", DifyWrongMode),
        (
            400,
            "not_workflow_app",
            "Please check if your app mode matches the right API route.",
            DifyWrongMode,
        ),
        (
            400,
            "not_completion_app",
            "Please check if your app mode matches the right API route.",
            DifyWrongMode,
        ),
        (400, "provider_not_initialize", "No valid model provider credentials found.", DifyAppError),
        (400, "provider_quota_exceeded", "Your quota for Dify Hosted Model is exhausted.", QuotaExceeded),
        (400, "model_currently_not_support", "Dify Hosted OpenAI trial does not support.", DifyAppError),
        (400, "completion_request_error", "[openai] Server Unavailable Error", DifyRunFailed),
        (429, "rate_limit_error", "Rate limit exceeded, please upgrade your plan.", RateLimited),
        (429, "too_many_requests", "Too many requests.", RateLimited),
        (403, "workflow_version_execution_not_allowed", "Not in this plan.", DifyAppError),
        (502, "plugin_runtime_error", "lambda failed", DifyError),
        (500, "internal_server_error", "The server encountered an internal error.", DifyError),
        (500, "unknown", "Internal Server Error", DifyError),
        (503, "service_unavailable", "Later", DifyError),
        (413, "file_too_large", "File size exceeded.", RequestTooLarge),
        (415, "unsupported_file_type", "File type not allowed.", UnsupportedMedia),
        (404, "not_found", "Conversation Not Exists.", ConversationNotFound),
        (404, "not_found", f"Conversation Not Exists{SUFFIX}", ConversationNotFound),
        (404, "not_found", "Workflow not found with id: 7", DifyAppError),
        (400, "invalid_param", "Workflow not published", DifyAppError),
        (400, "invalid_param", "Agent Chat App does not support blocking mode", DifyWrongMode),
        (400, "bad_request", "Agent App only supports streaming response mode.", DifyWrongMode),
        (400, "invalid_param", TOO_MANY, RateLimited),
        (400, "invalid_param", "Run failed: boom", DifyRunFailed),
        (400, "invalid_param", "queue listening stopped unexpectedly.", DifyRunFailed),
        (400, "invalid_param", "query is required", InvalidInput),
        (400, "invalid_param", "Invalid upload file", UploadForgotten),
        (400, "invalid_param", "Reached maximum retries (3) for URL https://a/b?sig=1", FileNotFetched),
        (400, "invalid_param", "File validation failed for file: a.exe", InvalidInput),
        (400, "invalid_param", "Number of files exceeds the maximum limit 3", InvalidInput),
        (400, "invalid_param", "Number of image files exceeds the maximum limit 3", InvalidInput),
        (400, "invalid_param", "Arg user must be provided.", InvalidInput),
        (400, "bad_request", "The browser (or proxy) sent a request", InvalidInput),
        (400, "completion_request_error", "maximum context length is 8192 tokens", ContextLengthExceeded),
        (400, "completion_request_error", "code: context_length_exceeded", ContextLengthExceeded),
        (
            400,
            "invalid_param",
            "Query or prefix prompt is too long, you can reduce the prefix prompt",
            ContextLengthExceeded,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "_" in value else "",
)
def test_each_refusal_of_dify_has_its_row(
    status: int, code: str, message: str, kind: type[GatewayError]
) -> None:
    assert type(from_response(status, code, message)) is kind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(
            400,
            b'{"code":"invalid_param","message":"Missing required parameter","params":"query"}',
            InvalidInput,
            id="up to 1.7",
        ),
        pytest.param(
            400,
            b'{"errors":{"query":"Missing required parameter in the JSON body"},'
            b'"message":"Input payload validation failed"}',
            InvalidInput,
            id="1.8 to 1.10",
        ),
        pytest.param(
            400,
            b'{"code":"invalid_param","message":"1 validation error for ChatRequestPayload\\nquery\\n  '
            b"Field required [type=missing, input_value={'inputs': {'ssn': '078'}}, input_type=dict]\\n    "
            b'For further information visit https://errors.pydantic.dev/2.11/v/missing","status":400}',
            InvalidInput,
            id="from 1.11 on",
        ),
    ],
)
def test_a_refused_body_names_the_field_and_not_its_value(
    status: int, body: bytes, kind: type[GatewayError]
) -> None:
    error = error_from_response(status, body)

    assert type(error) is kind
    assert "query" in error.message
    for echo in ("078", "input_value", "pydantic"):
        assert echo not in error.message


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        pytest.param(
            502, b"<html><h1>502 Bad Gateway</h1>nginx 10.0.0.7</html>", DifyGatewayFailed, id="HTML 502"
        ),
        pytest.param(404, b"<!doctype html><title>404</title>", DifyError, id="HTML 404"),
        pytest.param(400, b"<html></html>", DifyError, id="HTML 400"),
        pytest.param(413, b"<html>413 Request Entity Too Large</html>", RequestTooLarge, id="HTML 413"),
        pytest.param(401, b"<html>login</html>", DifyAuthError, id="HTML 401"),
        pytest.param(429, b"", RateLimited, id="empty 429"),
        pytest.param(500, b"", DifyError, id="empty 500"),
        pytest.param(503, b'{"message": "no Route matched"}', DifyGatewayFailed, id="a gateway's own JSON"),
        pytest.param(504, b"upstream request timeout", DifyGatewayFailed, id="text"),
        pytest.param(500, b"{}", DifyError, id="an empty object"),
        pytest.param(500, b"[]", DifyError, id="an array"),
        pytest.param(500, b"\xff\xfe", DifyError, id="not UTF-8"),
        pytest.param(302, b"", DifyError, id="a redirect"),
    ],
)
def test_an_answer_without_a_usable_body_is_judged_by_its_status(
    status: int, body: bytes, kind: type[GatewayError]
) -> None:
    error = error_from_response(status, body)

    assert type(error) is kind
    assert error.message
    assert "<" not in error.message


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("name is required in input form", "inputs.name"),
        ("age in input form must be a valid number", "inputs.age"),
        ("(type 'select') lang in input form must be one of the following: ['en', 'de']", "inputs.lang"),
        ("name in input form must be less than 48 characters", "inputs.name"),
        ("user-name is required in input form", "inputs.user-name"),
        ("姓名 is required in input form", "inputs.姓名"),
    ],
    ids=["missing", "number", "select", "too long", "hyphen", "Chinese"],
)
def test_a_refused_input_is_named(message: str, param: str) -> None:
    refused = from_response(400, "invalid_param", message)
    synthetic = error_from_failed_run(message, text_was_sent=False)

    for error in (refused, synthetic):
        assert type(error) is InvalidInput
        assert (error.status, error.code, error.param) == (400, "invalid_input", param)
        assert error.message == message


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (ErrorEvent(code="completion_request_error", status=400, message="[openai] Error"), DifyRunFailed),
        (ErrorEvent(code="invalid_param", status=400, message="Run failed: boom"), DifyRunFailed),
        (ErrorEvent(code="invalid_param", status=400, message="Expecting value: line 1"), DifyRunFailed),
        (ErrorEvent(code="rate_limit_error", status=429, message="Slow down"), RateLimited),
        (ErrorEvent(code="provider_not_initialize", status=400, message="No credentials"), DifyAppError),
        (ErrorEvent(code="provider_quota_exceeded", status=400, message="Exhausted"), QuotaExceeded),
        (ErrorEvent(code="model_currently_not_support", status=400, message="Not allowed"), DifyAppError),
        (ErrorEvent(code="internal_server_error", status=500, message="Internal Server Error"), DifyError),
        (ErrorEvent(code="unknown", status=500, message="Internal Server Error"), DifyError),
        (ErrorEvent(code="invented_later", message="boom"), DifyRunFailed),
        (
            ErrorEvent(code="invalid_param", message="This model's maximum context length is 9"),
            ContextLengthExceeded,
        ),
        (ErrorEvent(message="boom"), DifyRunFailed),
        (ErrorEvent(), DifyRunFailed),
    ],
    ids=lambda value: str(value.code) if isinstance(value, ErrorEvent) else "",
)
def test_an_error_event_means_that_the_run_failed(event: ErrorEvent, kind: type[GatewayError]) -> None:
    error = error_from_event(event)

    assert type(error) is kind
    assert error.message


def test_a_failed_run_tells_the_nodes_own_words() -> None:
    error = error_from_failed_run("[openai] Error: the model is overloaded", text_was_sent=False)

    assert type(error) is DifyRunFailed
    assert error.message == "[openai] Error: the model is overloaded"


def test_a_run_that_failed_without_a_word_still_has_a_message() -> None:
    assert error_from_failed_run(None, text_was_sent=False).message
    assert error_from_failed_run("", text_was_sent=False).message


def test_a_run_that_had_spoken_was_not_refused_for_its_inputs() -> None:
    error = error_from_failed_run("name is required in input form", text_was_sent=True)

    assert type(error) is DifyRunFailed


# The first two of each kind are recorded; the others are the descriptions of Dify's invoke errors.
MODEL_FAILURES = (
    ('[openai_api_compatible] Error: API request failed with status code 429: {"error": 1}', RateLimited),
    ('[models] Error: API request failed with status code 429: {"error": {"code": "429"}}', RateLimited),
    ("[openai] Rate Limit Error, Error code: 429 - {'error': {'message': 'Rate limit'}}", RateLimited),
    ('PluginInvokeError: {"args":{},"error_type":"InvokeRateLimitError","message":"slow"}', RateLimited),
    ("Incorrect API key provided", DifyAppError),
    (
        "[openai_api_compatible] Incorrect model credentials provided, please check and try again.",
        DifyAppError,
    ),
    ("[openai_api_compatible] Error: API request failed with status code 401: {}", DifyAppError),
    ("[openai] Rate Limit Error, Error code: 429 - {'code': 'insufficient_quota'}", QuotaExceeded),
    ("[openai] Error: You exceeded your current quota, please check your plan", QuotaExceeded),
    ("[models] Error: API request failed with status code 500: {}", DifyRunFailed),
    ("[models] Error: API request failed with status code 400: {}", DifyRunFailed),
    ("[openai_api_compatible] Error: Response ended prematurely", DifyRunFailed),
    ("the limit of 429 rows is exceeded, status code 401 was not expected", DifyRunFailed),
)


@pytest.mark.parametrize(("message", "kind"), MODEL_FAILURES, ids=[text[:50] for text, _ in MODEL_FAILURES])
def test_a_models_failure_inside_dify_is_told_by_its_words(message: str, kind: type[GatewayError]) -> None:
    errors = (
        error_from_event(ErrorEvent(code="completion_request_error", status=400, message=message)),
        error_from_event(ErrorEvent(code="invalid_param", status=400, message=f"Run failed: {message}")),
        error_from_failed_run(message, text_was_sent=False),
        from_response(400, "completion_request_error", message),
    )

    for error in errors:
        assert type(error) is kind
        assert error.may_have_begun
        assert error.headers()["x-should-retry"] == "false", "other parts of the run may have been paid"


@pytest.mark.parametrize(
    ("error", "may_have_begun"),
    [
        (from_response(400, "invalid_param", TOO_MANY), False),
        (from_response(401, "unauthorized", "no"), False),
        (from_response(400, "provider_not_initialize", "no"), False),
        (from_response(400, "provider_quota_exceeded", "no"), False),
        (from_response(404, "not_found", "Conversation Not Exists."), False),
        (from_response(409, "invented_later", "no"), False),
        (error_from_response(404, b"<html>"), False),
        (from_response(500, "unknown", "no"), True),
        (error_from_response(502, b"<html>"), True),
        (error_from_response(302, b""), True),
        (error_from_event(ErrorEvent(code="rate_limit_error", message="Slow down")), True),
        (error_from_event(ErrorEvent(code="provider_quota_exceeded", message="Exhausted")), True),
        (error_from_event(ErrorEvent(code="provider_not_initialize", message="No credentials")), True),
        (error_from_failed_run("name is required in input form", text_was_sent=False), True),
    ],
    ids=str,
)
def test_a_status_refuses_what_never_began_and_an_event_fails_what_had(
    error: GatewayError, may_have_begun: bool
) -> None:
    assert error.may_have_begun is may_have_begun


def test_only_what_stands_in_front_of_dify_speaks_of_an_outage() -> None:
    assert error_from_response(503, b"<html>").is_outage
    assert not from_response(502, "plugin_runtime_error", "lambda failed").is_outage
    assert not error_from_response(500, b"<html>").is_outage
    assert not error_from_response(429, b"<html>").is_outage


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_app_key_is_the_operators_fault_and_is_not_shown(status: int) -> None:
    error = from_response(status, "unauthorized", "Access token app-Q7wErTy1UiOp2AsDfGh3JkLz is invalid")

    assert error.status == 502
    assert "app-" not in error.message


def test_the_concurrency_limit_of_an_app_tells_neither_its_id_nor_a_400() -> None:
    error = from_response(400, "invalid_param", TOO_MANY)

    assert (error.status, error.type, error.code) == (429, "requests", "rate_limit_exceeded")
    assert "5c1a3ad0" not in error.message


def test_the_suffix_of_a_404_is_left_out() -> None:
    assert from_response(404, "not_found", f"Conversation Not Exists{SUFFIX}").message == (
        "Conversation Not Exists."
    )


def test_a_placeholder_that_dify_forgot_to_fill_is_not_shown() -> None:
    error = from_response(413, "file_too_large", "File size exceeded. {message}")

    assert type(error) is RequestTooLarge
    assert "{message}" not in error.message


PYDANTIC = (
    "1 validation error for LLMResultChunk\nprompt_messages\n  Field required [type=missing, "
    "input_value={'secret': 'Ann is 42'}, input_type=dict]\n    For further information visit "
    "https://errors.pydantic.dev/2.11/v/missing"
)


@pytest.mark.parametrize("text", [PYDANTIC, f"Run failed: {PYDANTIC}"], ids=["alone", "of a chatflow"])
def test_a_validators_text_never_echoes_what_it_validated(text: str) -> None:
    errors = (
        from_response(400, "invalid_param", text),
        from_response(500, "internal_server_error", text),
        error_from_event(ErrorEvent(code="invalid_param", status=400, message=text)),
        error_from_failed_run(text, text_was_sent=False),
    )

    for error in errors:
        assert "Ann is 42" not in error.message
        assert "pydantic.dev" not in error.message
