"""The table of failures: status, `type`, `code` and retry advice of each."""

import pytest

from opendify import errors
from opendify.errors import GatewayError

INVALID = "invalid_request_error"
FALSE = {"x-should-retry": "false"}
SOON = {"Retry-After": "5"}


@pytest.mark.parametrize(
    ("kind", "status", "type_", "code", "headers"),
    [
        (errors.InvalidRequest, 400, INVALID, None, {}),
        (errors.InvalidInput, 400, INVALID, "invalid_input", {}),
        (errors.ContextLengthExceeded, 400, INVALID, "context_length_exceeded", {}),
        (errors.Unauthorized, 401, INVALID, "invalid_api_key", {}),
        (errors.PermissionDenied, 403, INVALID, "permission_denied", {}),
        (errors.ModelNotFound, 404, INVALID, "model_not_found", {}),
        (errors.ConversationNotFound, 404, INVALID, "conversation_not_found", {}),
        (errors.RouteNotFound, 404, INVALID, "not_found", {}),
        (errors.MethodNotSupported, 405, INVALID, "method_not_supported", {}),
        (errors.RequestTooLarge, 413, INVALID, "request_too_large", {}),
        (errors.UnsupportedMedia, 415, INVALID, "unsupported_media_type", {}),
        (errors.RateLimited, 429, "requests", "rate_limit_exceeded", SOON),
        (errors.QuotaExceeded, 429, "insufficient_quota", "insufficient_quota", FALSE),
        (errors.DifyAuthError, 502, "server_error", "upstream_auth_error", FALSE),
        (errors.DifyAppError, 502, "server_error", "upstream_app_error", FALSE),
        (errors.DifyRunFailed, 502, "server_error", "upstream_run_failed", FALSE),
        (errors.DifyError, 502, "server_error", "upstream_error", FALSE),
        (errors.DifyUnreachable, 503, "server_error", "upstream_unreachable", SOON),
        (errors.DifyCircuitOpen, 503, "server_error", "upstream_circuit_open", SOON),
        (errors.DifyTimeout, 504, "server_error", "upstream_timeout", FALSE),
        (errors.InternalError, 500, "server_error", "internal_error", FALSE),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_failure_has_its_row(
    kind: type[GatewayError], status: int, type_: str, code: str | None, headers: dict[str, str]
) -> None:
    error = kind("Something is wrong")

    assert error.status == status
    assert error.to_body() == {
        "error": {"message": "Something is wrong", "type": type_, "param": None, "code": code}
    }
    assert error.headers() == headers


def test_an_app_of_another_mode_ran_nothing_and_may_be_asked_again() -> None:
    error = errors.DifyWrongMode("Not a chat app")

    assert (error.status, error.code) == (502, "upstream_app_error")
    assert error.headers() == {"x-should-retry": "true"}


def test_a_limit_that_was_met_in_mid_run_is_told_and_not_repeated_by_itself() -> None:
    error = errors.RateLimited("Slow down").after_work()

    assert error.may_have_begun
    assert error.headers() == SOON | FALSE


def test_a_failure_may_name_its_parameter_and_a_finer_code() -> None:
    error = errors.InvalidRequest("'n' must be 1", param="n", code="unsupported_value")

    assert error.to_body()["error"]["param"] == "n"
    assert error.to_body()["error"]["code"] == "unsupported_value"


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(7, "7"), (0, "1"), (-3, "1"), (3_600, "60")],
    ids=["as given", "at least one", "never negative", "at most a minute"],
)
def test_clients_are_never_told_to_wait_longer_than_a_minute(seconds: int, header: str) -> None:
    error = errors.RateLimited("Slow down", retry_after_seconds=seconds)

    assert error.headers()["Retry-After"] == header


def test_advice_to_one_client_does_not_reach_the_next() -> None:
    errors.RateLimited("Slow down", retry_after_seconds=40)

    assert errors.RateLimited("Slow down").headers() == {"Retry-After": "5"}
