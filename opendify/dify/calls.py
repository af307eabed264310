"""Calls beside runs whose answer takes its time, or is long: speech in both directions, and the like."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

import httpx

from opendify.dify.carriers import app_headers
from opendify.dify.events import RunLimits
from opendify.dify.exchange import Arrival, Exchange, Head
from opendify.dify.pump import ResponsePump
from opendify.errors import DifyError, DifyTimeout, GatewayError, RateLimited
from opendify.records import Clock
from opendify.settings import DifyApp
from opendify.translate.dify_errors import error_from_response
from opendify.wire.sse import encode_json

_MOST_ERROR_BYTES = 1 << 20
_ERROR_BODY_SECONDS = 5.0
# The answer keeps the exact time; this only frees a reader that nobody waits for.
_READ_GRACE_SECONDS = 1.0
# A slot is to be free within half a second of its client's leaving.
_LOOK_UP_SECONDS = 0.2

WhileWaiting = Callable[[], None]
"""Called several times a second; raises where waiting makes no sense any more."""

OnContact = Callable[[GatewayError | None], None]
"""Learns that Dify answered, or why there will be no answer."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A form's file; `content` is at its start, or can be sought there."""

    filename: str
    mime_type: str
    content: IO[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DifyCall:
    """One call; with a `file` it is a form of it and the texts of `body`, else `body` is JSON."""

    method: str
    path: str
    body: Mapping[str, object] | None = field(default=None, repr=False)
    file: FilePart | None = None

    def request(self, client: httpx.Client, app: DifyApp, timeout: httpx.Timeout) -> httpx.Request:
        """As httpx sends it; a file is read while it is sent."""
        url, headers = app.api_base + self.path, {**app_headers(app), "Accept-Encoding": "identity"}
        if self.file:
            part = (self.file.filename, self.file.content, self.file.mime_type)
            return client.build_request(
                self.method, url, data=self.body, files={"file": part}, headers=headers, timeout=timeout
            )
        if self.body is None:
            return client.build_request(self.method, url, headers=headers, timeout=timeout)
        headers["Content-Type"] = "application/json"
        content = encode_json(self.body)
        return client.build_request(self.method, url, content=content, headers=headers, timeout=timeout)


def send_call(
    client: httpx.Client, app: DifyApp, call: DifyCall, limits: RunLimits, *, connect_seconds: float
) -> Exchange:
    """Send `call`; nothing is waited for."""
    timeout = httpx.Timeout(connect_seconds, read=limits.first_event_seconds + _READ_GRACE_SECONDS)
    request = call.request(client, app, timeout)
    return ResponsePump(client, request, body_read_seconds=limits.idle_seconds + _READ_GRACE_SECONDS)


class CallAnswer:
    """One call's answer as it comes, held to its time limits; whoever opened it closes it."""

    def __init__(
        self,
        exchange: Exchange,
        limits: RunLimits,
        clock: Clock,
        on_contact: OnContact = lambda _: None,
    ) -> None:
        self.head: Head | None = None
        """Status and headers once they came; of a success, since all else is raised."""
        self._exchange = exchange
        self._limits = limits
        self._clock = clock
        self._on_contact = on_contact
        self._refusal = bytearray()
        self._is_over = self._came_whole = False
        self._began_at = self._last_byte_at = clock()

    def read(self, timeout_seconds: float) -> list[bytes] | None:
        """The pieces of the body that came with the next read; none after silence; None at the end.

        Raises:
            GatewayError: Dify refused, broke off, or took longer than a limit.
        """
        if self._is_over:
            return None
        try:
            return self._read(min(timeout_seconds, max(0.0, self._seconds_left())))
        except GatewayError as error:
            self._is_over = True
            self._on_contact(error)
            raise

    def close(self) -> None:
        """Let go of it; one that is not whole is broken off."""
        self._is_over = True
        if not self._came_whole:
            self._exchange.abort()

    def _read(self, timeout_seconds: float) -> list[bytes] | None:
        arrivals = self._exchange.take(timeout_seconds)
        if arrivals:
            self._last_byte_at = self._clock()
        pieces = [piece for arrival in arrivals for piece in self._take(arrival)]
        if not arrivals and self._seconds_left() <= 0:
            raise self._timeout()
        return pieces if pieces or not self._is_over else None

    def _take(self, arrival: Arrival) -> list[bytes]:
        self._came_whole = arrival is None
        if isinstance(arrival, Head):
            self.head = arrival
            if arrival.status < 500:
                self._on_contact(None)
        elif self.head is not None and self.head.status >= 300:
            self._take_refusal(self.head, arrival)
        elif arrival is None:
            self._is_over = True
        else:
            return [arrival]
        return []

    def _take_refusal(self, head: Head, piece: bytes | None) -> None:
        self._refusal += piece or b""
        if piece is None or len(self._refusal) > _MOST_ERROR_BYTES:
            raise _refused(head, bytes(self._refusal))

    def _seconds_left(self) -> float:
        limits, head = self._limits, self.head
        if head is None:
            until = self._began_at + limits.first_event_seconds
        elif head.status >= 300:
            until = self._last_byte_at + _ERROR_BODY_SECONDS
        else:
            until = self._last_byte_at + limits.idle_seconds
        return min(until, self._began_at + limits.total_seconds) - self._clock()

    def _timeout(self) -> GatewayError:
        if self.head is None:
            seconds = min(self._limits.first_event_seconds, self._limits.total_seconds)
            return DifyTimeout(f"Dify did not answer within {seconds:g} seconds")
        if self.head.status >= 300:
            return _refused(self.head, bytes(self._refusal))
        return DifyTimeout("Dify fell silent before the answer was whole")


def received(answer: CallAnswer, while_waiting: WhileWaiting) -> Iterator[bytes]:
    """The body of `answer` as it comes; raises as `read` does, or what `while_waiting` raises."""
    while (pieces := answer.read(_LOOK_UP_SECONDS)) is not None:
        yield from pieces
        while_waiting()


def decode_json(body: bytes) -> object:
    """What Dify says in a body.

    Raises:
        DifyError: It is not JSON.
    """
    try:
        shape: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DifyError("Dify answered with something that is not JSON") from error
    return shape


def _refused(head: Head, body: bytes) -> GatewayError:
    if head.status < 400:
        return DifyError("Dify answered with a redirect; the operator has to check its address")
    error = error_from_response(head.status, body)
    if isinstance(error, RateLimited) and head.retry_after and head.retry_after.isdecimal():
        error.advise_retry_after(int(head.retry_after[:9]))
    return error
