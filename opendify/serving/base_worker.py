"""What all our workers share: their limits, and errors of one shape."""

import contextlib
import math
import secrets
import socket
import time
from http import HTTPStatus
from typing import Any, Final

from gunicorn import util
from gunicorn.http import errors as http
from gunicorn.http.message import Request
from gunicorn.workers.base import Worker

from opendify.errors import GatewayError, InternalError, InvalidRequest
from opendify.serving.housekeeping import close_expired
from opendify.serving.limits import ClientLimits
from opendify.serving.spread import Place
from opendify.wire.sse import encode_json

LINGER_SECONDS: Final = 2.0
"""So long a worker that leaves, or ends a connection, still hears what its client says."""

# exception, status and reason, code, message; the first that fits. None of what was sent is
# repeated: it may hold a key.
_REFUSALS: Final = (
    (http.LimitRequestLine, "414 URI Too Long", "uri_too_long", "The URL of your request is too long."),
    (
        http.LimitRequestHeaders,
        "431 Request Header Fields Too Large",
        "headers_too_large",
        "The headers of your request are too many or too large.",
    ),
    (
        http.ExpectationFailed,
        "417 Expectation Failed",
        "expectation_failed",
        "`Expect` may only be `100-continue`.",
    ),
    (
        http.InvalidHTTPVersion,
        "505 HTTP Version Not Supported",
        "http_version_not_supported",
        "The request must be HTTP/1.1.",
    ),
    (
        http.UnsupportedTransferCoding,
        "501 Not Implemented",
        "unsupported_transfer_coding",
        "`Transfer-Encoding` may only be `chunked`.",
    ),
    (http.ParseException, "400 Bad Request", "bad_request", "The request is not valid HTTP/1.1."),
)


class BaseWorker(Worker):
    """Answers what Gunicorn itself refuses, and no app sees, with OpenAI's JSON too.

    The master sets `limits` and `place` before the fork.
    """

    limits: ClientLimits
    place: Place | None = None
    _left_at: float | None = None

    def notify(self) -> None:
        """As in the base class; whoever lives also tidies up."""
        super().notify()
        close_expired(self)

    def waits_until(self, *, has_head: bool) -> float:
        """In monotonic time, the latest for the rest of a request, with its head there or not.

        It is never unless the worker leaves: whoever has asked for nothing by then need not wait long.
        """
        if self.alive:
            return math.inf
        self._left_at = self._left_at or time.monotonic()
        return self._left_at + (self.limits.drain_seconds if has_head else LINGER_SECONDS)

    def handle_error(
        self,
        req: Request | None,  # noqa: ARG002 - Gunicorn's signature.
        client: socket.socket,
        addr: Any,  # noqa: ARG002 - As above.
        exc: BaseException,
    ) -> None:
        """Answer on `client`, which is closed afterwards."""
        request_id = f"req_{secrets.token_hex(12)}"
        status, error = _refusal(exc)
        if isinstance(error, InternalError):
            self.log.error("A request failed by a fault of ours (%s)", request_id, exc_info=exc)
        else:
            self.log.warning("A request was refused: %s (%s)", type(exc).__name__, request_id)
        # A client that does not even take this line has lost interest.
        with contextlib.suppress(OSError):
            util.write_nonblock(client, _answer(status, error, request_id))


def _refusal(fault: BaseException) -> tuple[str, GatewayError]:
    if isinstance(fault, GatewayError):
        return f"{fault.status} {HTTPStatus(fault.status).phrase}", fault
    # What the app wanted to send is no fault of the client's. The stubs do not know these yet.
    ours = (http.InvalidResponseHeader, http.InvalidResponseHeaderName)  # type: ignore[attr-defined]
    is_ours = isinstance(fault, ours)
    for kind, status, code, message in () if is_ours else _REFUSALS:
        if isinstance(fault, kind):
            return status, InvalidRequest(message, code=code)
    return "500 Internal Server Error", InternalError(
        "The server had an error while processing your request."
    )


def _answer(status: str, error: GatewayError, request_id: str) -> bytes:
    body = encode_json(error.to_body())
    headers = {
        "Connection": "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "x-request-id": request_id,
        **error.headers(),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode("latin-1") + body
