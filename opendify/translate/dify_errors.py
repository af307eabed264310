"""What Dify says went wrong → the error that a client sees."""

import re

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
    InvalidRequest,
    MessageNotFound,
    QuotaExceeded,
    RateLimited,
    RequestTooLarge,
    UnsupportedMedia,
    UploadForgotten,
    WorkflowRunNotFound,
)
from opendify.translate.cleaning import clean
from opendify.wire.dify import ErrorBody, ErrorEvent, decode_error_body

# Codes of Dify's `controllers/service_api/app/error.py` whose meaning does not depend on the text.
_BY_CODE: dict[str, type[GatewayError]] = {
    "unauthorized": DifyAuthError,
    "forbidden": DifyAuthError,
    "app_unavailable": DifyAppError,
    "agent_not_published": DifyAppError,
    "provider_not_initialize": DifyAppError,
    "model_currently_not_support": DifyAppError,
    "workflow_version_execution_not_allowed": DifyAppError,
    "not_chat_app": DifyWrongMode,
    "not_workflow_app": DifyWrongMode,
    "not_completion_app": DifyWrongMode,
    "provider_quota_exceeded": QuotaExceeded,
    "too_many_requests": RateLimited,
    "rate_limit_error": RateLimited,
    "completion_request_error": DifyRunFailed,
    "file_too_large": RequestTooLarge,
    "audio_too_large": RequestTooLarge,
    "unsupported_file_type": UnsupportedMedia,
    "unsupported_audio_type": UnsupportedMedia,
    "speech_to_text_disabled": InvalidRequest,
    "provider_not_support_speech_to_text": DifyAppError,
}
_BY_STATUS: dict[int, type[GatewayError]] = {
    401: DifyAuthError,
    403: DifyAuthError,
    413: RequestTooLarge,
    415: UnsupportedMedia,
    429: RateLimited,
    # Dify's own 5xx have a JSON body. Its pings make it send a status within seconds, however slow
    # the model is, so that a proxy's 504 speaks of Dify too.
    502: DifyGatewayFailed,
    503: DifyGatewayFailed,
    504: DifyGatewayFailed,
}
# `invalid_param` says nothing about whose fault it is; only the text does. In Dify's own order of checks.
_BY_TEXT: tuple[tuple[re.Pattern[str], type[GatewayError]], ...] = (
    # The concurrency limit is a `ValueError` inside Dify, which its handler turns into a 400.
    (re.compile(r"^Too many requests\. Please try again later"), RateLimited),
    (
        re.compile(r"context[ _]length|prompt is too long, you can reduce", re.I),
        ContextLengthExceeded,
    ),
    (re.compile(r"^(First )?Message Not Exists"), MessageNotFound),
    (re.compile(r"^(Last )?Conversation Not Exists"), ConversationNotFound),
    (re.compile(r"^Workflow run not found"), WorkflowRunNotFound),
    (
        re.compile(r"^(Speech to text|TTS|Text to speech) is not enabled|^Suggested Questions Is Disabled"),
        InvalidRequest,
    ),
    (
        re.compile(r"^(Workflow|App) not published|^Workflow not found|Model .* not (exist|found)"),
        DifyAppError,
    ),
    (re.compile(r"^Invalid upload file"), UploadForgotten),
    (re.compile(r"^Reached maximum retries \(\d+\) for URL"), FileNotFetched),
    (re.compile(r"does not support blocking mode|only supports streaming"), DifyWrongMode),
    (
        re.compile(
            r"^query is required|^File validation failed|^Number of .*files exceeds"
            r"|^Detected file type does not match"
        ),
        InvalidInput,
    ),
    (re.compile(r"^Run failed:|^queue listening stopped"), DifyRunFailed),
)
# A model's own failure has one code and the status 400, whatever the provider answered (before 1.16 even for
# its rate limit); its words alone tell. They are the descriptions of Dify's invoke errors, and what its
# OpenAI-compatible provider says of a status.
_BY_MODEL_TEXT: tuple[tuple[re.Pattern[str], type[GatewayError]], ...] = (
    (re.compile(r"\binsufficient_quota\b|exceeded your current quota"), QuotaExceeded),
    (
        re.compile(
            r"API request failed with status code 429\b|\bError code: 429\b"
            r"|\] Rate Limit Error\b|\bInvokeRateLimitError\b"
        ),
        RateLimited,
    ),
    (
        re.compile(
            r"API request failed with status code 401\b|\bError code: 401\b"
            r"|^(?:Run failed: )?Incorrect API key provided|\] Incorrect model credentials provided"
            r"|\bInvokeAuthorizationError\b"
        ),
        DifyAppError,
    ),
)
# As in "age in input form must be a valid number" and "(type 'select') lang in input form must be…".
_INPUT_FAULT = re.compile(r"(?P<name>[\w.-]+)'? (?:is required in input form|in input form )")

_OWN_MESSAGE: dict[type[GatewayError], str] = {
    DifyAuthError: "Dify refused the service's key for this model; the operator has to check the app key",
    RateLimited: "The app behind this model takes no more requests at the moment",
    FileNotFetched: "Dify could not fetch a file by its URL",
}


def error_from_response(status: int, body: bytes) -> GatewayError:
    """Map an HTTP answer that is not a stream; `body` may be JSON of any version, HTML or empty."""
    error = _read_response(status, body)
    if type(error) is DifyError and 400 <= status < 500:
        error.may_have_begun = False  # A status refuses; what had begun fails by an event.
    return error


def _read_response(status: int, body: bytes) -> GatewayError:
    shape = decode_error_body(body)
    if shape is None or (shape.code is None and shape.message is None):
        return _make(
            _BY_STATUS.get(status, DifyError), f"Dify answered with status {status} and no usable body"
        )
    if status >= 500 and shape.code not in _BY_CODE:
        kind = DifyError if shape.code else _BY_STATUS.get(status, DifyError)
        return kind(f"Dify failed: {clean(shape.message or 'internal server error')}")
    fallback = InvalidInput if status == 400 else DifyError
    return _classify(shape.code, _describe(shape), _BY_STATUS.get(status, fallback))


def error_from_event(event: ErrorEvent) -> GatewayError:
    """Map an `error` event: the run had begun, so what is not recognised is its failure."""
    fallback = DifyError if event.code in {"internal_server_error", "unknown"} else DifyRunFailed
    return _classify(event.code, event.message or "the run failed", fallback).after_work()


def error_from_failed_run(message: str | None, *, text_was_sent: bool) -> GatewayError:
    """Map the `error` of a `workflow_finished` whose status is `failed`.

    Since 1.15.0 bad inputs arrive this way too, before anything ran.
    """
    error = _classify(None, message or "the run failed", DifyRunFailed)
    if text_was_sent and isinstance(error, InvalidInput):
        return DifyRunFailed(error.message)
    return error.after_work()


def _classify(code: str | None, message: str, fallback: type[GatewayError]) -> GatewayError:
    by_text = next((kind for pattern, kind in _BY_TEXT if pattern.search(message)), None)
    if by_text in {ContextLengthExceeded, RateLimited}:
        return _make(by_text, message)
    input_fault = _INPUT_FAULT.search(message)
    if input_fault and code in {None, "invalid_param"}:
        return InvalidInput(clean(message), param=f"inputs.{input_fault['name']}")
    kind = _BY_CODE.get(code or "") or by_text or fallback
    return _model_failure(message) if kind is DifyRunFailed else _make(kind, message)


def _model_failure(message: str) -> GatewayError:
    """What failed inside Dify, told by the provider's own words."""
    kind = next((kind for pattern, kind in _BY_MODEL_TEXT if pattern.search(message)), DifyRunFailed)
    return kind(clean(message)).after_work()


def _make(kind: type[GatewayError], message: str) -> GatewayError:
    return kind(_OWN_MESSAGE.get(kind) or clean(message))


def _describe(body: ErrorBody) -> str:
    if body.errors:
        return "; ".join(f"{field}: {text}" for field, text in body.errors.items())
    message = body.message or ""
    return f"{message} ({body.params})" if body.params else message
