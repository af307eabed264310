"""What every failure must look like from outside."""

import json
from typing import Protocol

# DESIGN 5: the `type` belongs to the status, but for two.
_TYPES = {429: "requests"} | dict.fromkeys((500, 502, 503, 504, 507), "server_error")
_TYPES_BY_CODE = {"insufficient_quota": "insufficient_quota"}


class _Headers(Protocol):
    def __getitem__(self, name: str, /) -> str: ...


class AnyResponse(Protocol):
    """Of Flask's test client, or of httpx."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> _Headers: ...


def assert_openai_error(
    response: AnyResponse, status: int, code: str | None, *, param: str | None = None
) -> str:
    """Check all that clients rely on; the message, for what a test wants to know beyond."""
    assert response.status_code == status, (response.status_code, body_of(response)[:300])
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    body = json.loads(body_of(response))
    return assert_error_object(body, status, code, param=param)


def assert_error_object(body: object, status: int, code: str | None, *, param: str | None = None) -> str:
    """The body alone, as it also stands in a stream's last frame."""
    assert isinstance(body, dict)
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param), error
    assert error["type"] == _TYPES_BY_CODE.get(code or "", _TYPES.get(status, "invalid_request_error"))
    message = error["message"]
    assert isinstance(message, str)
    assert message
    for betrayal in ("Traceback", "://", "127.0.0.1", "dify.test", "app-"):
        assert betrayal not in message
    return message


def body_of(response: object) -> bytes:
    """The body, whichever library read it."""
    body = getattr(response, "data", None)
    body = getattr(response, "content", None) if body is None else body
    assert isinstance(body, bytes)
    return body
