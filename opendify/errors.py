"""Every failure that a client can see: its status, `type`, `code` and retry advice."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self


class GatewayError(Exception):
    """A failure that leaves as `{"error": {"message", "type", "param", "code"}}`.

    `message` is read by the client: it names the thing and what would have been
    right; never a key, a stack or an upstream host. `should_retry` becomes the
    header `x-should-retry`, which SDKs obey over the status; None leaves the
    choice to them. `may_have_begun` says whether Dify may have begun work for the
    request, so that a repeat could pay twice; `is_of_the_app` whether another app
    may do better; `is_outage` whether it speaks of Dify as a whole being away. `model` is the one of
    the table whose failure it is, where that is known.

    Source: https://platform.openai.com/docs/guides/error-codes
    """

    status = 500
    type = "server_error"
    code: str | None = "internal_error"
    should_retry: bool | None = None
    retry_after_seconds: int | None = None
    may_have_begun = True
    is_of_the_app = False
    is_outage = False
    model: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code
        if retry_after_seconds is not None:
            self.advise_retry_after(retry_after_seconds)

    def advise_retry_after(self, seconds: int) -> None:
        """Set `Retry-After`, within a minute: node's SDK 6 sleeps whatever it is told."""
        self.retry_after_seconds = min(60, max(1, seconds))

    def after_work(self) -> Self:
        """The same failure of a run that had begun; repeating that is for people to decide."""
        self.may_have_begun = True
        self.should_retry = False
        return self

    def to_body(self) -> dict[str, dict[str, str | None]]:
        """The JSON body, all four keys always present."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> Mapping[str, str]:
        """Retry advice as response headers."""
        headers = {}
        if self.retry_after_seconds is not None:
            headers["Retry-After"] = str(self.retry_after_seconds)
        if self.should_retry is not None:
            headers["x-should-retry"] = "true" if self.should_retry else "false"
        return headers


class InternalError(GatewayError):
    """A bug of ours. Retrying could repeat a paid run."""

    should_retry = False


class RepeatRefused(GatewayError):
    """A repeat of a request whose outcome is not known, so that running it again could pay twice."""

    code = "repeat_refused"
    should_retry = False


class InvalidRequest(GatewayError):
    """What the client sent cannot be served as it is."""

    status = 400
    type = "invalid_request_error"
    code: str | None = None
    may_have_begun = False


class InvalidInput(InvalidRequest):
    """An app input is missing, or Dify refuses its value."""

    code = "invalid_input"


class UploadForgotten(InvalidInput):
    """Dify does not know a file that it was given before."""


class FileNotFetched(InvalidRequest):
    """A file's URL could not be fetched, or may not be."""

    code = "file_not_fetched"


class ContextLengthExceeded(InvalidRequest):
    """The app's model cannot take that much text."""

    code = "context_length_exceeded"
    is_of_the_app = True


class IdempotencyKeyReused(InvalidRequest):
    """The `Idempotency-Key` was used for another request within its time."""

    code = "idempotency_key_reused"


class Unauthorized(InvalidRequest):
    """No key, or a wrong one."""

    status = 401
    code = "invalid_api_key"


class PermissionDenied(InvalidRequest):
    """The key is good, but may not do this."""

    status = 403
    code = "permission_denied"


class ModelNotFound(InvalidRequest):
    """No such model, or not for this key."""

    status = 404
    code = "model_not_found"


class ConversationNotFound(InvalidRequest):
    """Dify does not know the conversation for this user and app."""

    status = 404
    code = "conversation_not_found"


class ResponseNotFound(InvalidRequest):
    """The caller has no such response, or it is kept no longer."""

    status = 404
    code = "response_not_found"


class ItemNotFound(InvalidRequest):
    """An item to which the input refers is none of the caller's, or kept no longer."""

    status = 404
    code = "item_not_found"


class FileNotStored(InvalidRequest):
    """The caller has no such file."""

    status = 404
    code = "file_not_found"


class MessageNotFound(InvalidRequest):
    """Dify does not know the message for this user, conversation and app."""

    status = 404
    code = "message_not_found"


class WorkflowRunNotFound(InvalidRequest):
    """No workflow run with this id was begun for this user."""

    status = 404
    code = "workflow_run_not_found"


class RouteNotFound(InvalidRequest):
    """No such URL."""

    status = 404
    code = "not_found"


class MethodNotSupported(InvalidRequest):
    """The URL exists, the method does not."""

    status = 405
    code = "method_not_supported"


class RequestTooLarge(InvalidRequest):
    """The body, or a file in it, exceeds a limit."""

    status = 413
    code = "request_too_large"


class FileQuotaExceeded(InvalidRequest):
    """All files of one caller take as much room as they may; to try again does not help."""

    status = 413
    code = "file_quota_exceeded"


class UnsupportedMedia(InvalidRequest):
    """A file type that the app does not take."""

    status = 415
    code = "unsupported_media_type"


class RateLimited(GatewayError):
    """Too many requests: by our limits, or by Dify's.

    `more_headers` tell how much of a limit is left.
    """

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    retry_after_seconds = 5
    may_have_begun = False
    is_of_the_app = True
    more_headers: Mapping[str, str] = MappingProxyType({})

    def headers(self) -> Mapping[str, str]:
        return {**super().headers(), **self.more_headers}


class WorkerBusy(RateLimited):
    """Every slot of the process that took the request is taken; nothing was begun."""

    is_of_the_app = False

    def headers(self) -> Mapping[str, str]:
        """Without the connection the next try may reach a process that has a slot."""
        return {**super().headers(), "Connection": "close"}


class UsageLimited(RateLimited):
    """The key has used what it may at once or in a minute; nothing was begun."""

    is_of_the_app = False


class TooManyWrongKeys(RateLimited):
    """The address has sent as many wrong keys as it may in a minute."""

    is_of_the_app = False


class QuotaExceeded(GatewayError):
    """The model provider's quota behind the app is used up; waiting does not help."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    should_retry = False
    may_have_begun = False
    is_of_the_app = True


class FileStorageFull(GatewayError):
    """All files together take as much room as they may."""

    status = 507
    code = "file_storage_full"
    should_retry = False
    may_have_begun = False


class FileStorageUnavailable(GatewayError):
    """Files cannot be read or written at the moment."""

    status = 503
    code = "file_storage_unavailable"
    retry_after_seconds = 5
    may_have_begun = False


class ResponsesUnavailable(GatewayError):
    """What is kept of responses cannot be looked up at the moment; nothing was begun."""

    status = 503
    code = "response_store_unavailable"
    retry_after_seconds = 5
    may_have_begun = False


class ClientLeft(GatewayError):
    """The client left and the run was stopped; only the log sees it, and a repeat of the request."""

    status = 499
    type = "invalid_request_error"
    code = "client_closed_request"
    should_retry = False


class ClientLeftEarly(ClientLeft):
    """The client left before anything was begun for it."""

    may_have_begun = False


class Draining(GatewayError):
    """The server is restarting; where an answer had begun, `x-should-retry: false` says so."""

    status = 503
    code = "draining"
    retry_after_seconds = 5
    may_have_begun = False


class AccessUnknown(GatewayError):
    """Whether this key may cannot be looked up now; nothing was begun."""

    status = 503
    code = "key_store_unavailable"
    retry_after_seconds = 5
    may_have_begun = False


class DifyError(GatewayError):
    """Dify failed. It may have begun work, so that a retry could pay twice."""

    status = 502
    code = "upstream_error"
    should_retry: bool | None = False
    is_of_the_app = True


class DifyUnreachable(DifyError):
    """No connection could be made, so nothing can have started."""

    status = 503
    code = "upstream_unreachable"
    should_retry = None
    retry_after_seconds = 5
    may_have_begun = False
    is_outage = True


class DifyCircuitOpen(DifyError):
    """Dify could not be reached lately, and is left alone until `Retry-After`; nothing was sent."""

    status = 503
    code = "upstream_circuit_open"
    should_retry = None
    retry_after_seconds = 5
    may_have_begun = False


class DifyGatewayFailed(DifyError):
    """A proxy in front of Dify answered in its place."""

    is_outage = True


class DifyTimeout(DifyError):
    """Dify stayed silent longer than the app's limit."""

    status = 504
    code = "upstream_timeout"


class DifyAuthError(DifyError):
    """Dify refuses our app key: the operator's fault, not the client's."""

    code = "upstream_auth_error"
    may_have_begun = False


class DifyAppError(DifyError):
    """The app cannot run: unpublished, provider absent or refusing, model not allowed, waits for a person."""

    code = "upstream_app_error"
    may_have_begun = False


class DifyWrongMode(DifyAppError):
    """The app is of another mode than the proxy took it for; nothing ran, and it will ask again."""

    should_retry = True


class DifyRunFailed(DifyError):
    """The model or a node failed inside Dify; the message is its own, cleaned."""

    code = "upstream_run_failed"
