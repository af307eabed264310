"""One run's answer as typed events, held to its time limits."""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from opendify.dify.failures import dify_errors_mapped
from opendify.dify.pump import Head, ResponsePump
from opendify.errors import DifyError, DifyTimeout, GatewayError, RateLimited
from opendify.records import Clock
from opendify.translate.dify_errors import error_from_response
from opendify.wire.dify import Event, MalformedEvent, StreamEvent, decode_event
from opendify.wire.sse import SSEDecoder

_MAX_ERROR_BODY_BYTES = 1 << 20
_DRAIN_SECONDS = 3.0
_WIND_DOWN_TICK_SECONDS = 0.25
_NOT_STREAMS = ("application/json", "text/html")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How long Dify may take, in seconds: to its first event, between bytes, in all."""

    first_event_seconds: float
    idle_seconds: float
    total_seconds: float


class EventStream:
    """The events of one run; whoever opened it closes it."""

    def __init__(
        self, pump: ResponsePump, limits: RunLimits, clock: Clock, stop: Callable[[str], None]
    ) -> None:
        """`stop` tells Dify to end a task; it may take its time and raises nothing."""
        self._pump = pump
        self._limits = limits
        self._clock = clock
        self._stop = stop
        self._decoder = SSEDecoder()
        self._head: Head | None = None
        self._error_body = bytearray()
        self._failure: GatewayError | None = None
        self._at_end = False
        self._task_id: str | None = None
        self._began_at = self._last_byte_at = clock()
        self._had_event = False

    def read(self, timeout_seconds: float) -> list[StreamEvent] | None:
        """All events that came with the next read; empty after silence or a ping; None at the end.

        Raises:
            GatewayError: Dify answered with an error, broke off, sent what is no
                event, or stayed silent beyond a limit. Events before it were given first.
        """
        self._raise_failure()
        if self._is_over():
            return None
        with dify_errors_mapped():
            items = self._pump.take(min(timeout_seconds, self._seconds_left()))
        if items:
            self._last_byte_at = self._clock()
        elif self._seconds_left() <= 0:
            raise self._timeout()
        events = [event for item in items for event in self._take(item)]
        self._had_event = self._had_event or bool(events)
        if not events:
            self._raise_failure()
        return None if self._is_over() and not events else events

    def close(self, *, whole: bool) -> None:
        """Let go of the run. One that is not whole is stopped at Dify, so that nobody pays for it.

        Does not block: what Dify still sends is read in the background, since it
        keeps the part that was said only while somebody reads.
        """
        if whole or self._at_end:
            self._pump.drain(_DRAIN_SECONDS)
        else:
            threading.Thread(target=self._wind_down, name="dify-wind-down", daemon=True).start()

    def _is_over(self) -> bool:
        return self._at_end

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure

    def _take(self, item: Head | bytes | None) -> list[StreamEvent]:
        if self._failure:
            return []
        if isinstance(item, Head):
            self._head = item
        elif item is None:
            self._finish()
        elif self._is_stream():
            return self._decode(item)
        elif len(self._error_body) < _MAX_ERROR_BODY_BYTES:
            self._error_body += item
        return []

    def _is_stream(self) -> bool:
        # Gateways between may rename the content type, but what names itself JSON or HTML is no stream.
        head = self._head
        return head is not None and head.status == 200 and not head.content_type.startswith(_NOT_STREAMS)

    def _finish(self) -> None:
        self._at_end = True
        if self._head is not None and not self._is_stream():
            self._failure = error_from_response(self._head.status, bytes(self._error_body))
            if isinstance(self._failure, RateLimited) and (self._head.retry_after or "").isdigit():
                self._failure.advise_retry_after(int(self._head.retry_after or 0))

    def _decode(self, chunk: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for payload in self._decoder.feed(chunk):
            try:
                event = decode_event(payload)
            except MalformedEvent as error:
                self._failure = DifyError("Dify sent an event that cannot be read")
                self._failure.__cause__ = error
                return events
            if isinstance(event, Event) and event.task_id:
                self._task_id = event.task_id
            events.append(event)
        return events

    def _seconds_left(self) -> float:
        """Until the nearest limit; pings count as bytes, but not as a first event."""
        now = self._clock()
        waited_for = (
            self._last_byte_at + self._limits.idle_seconds
            if self._had_event
            else self._began_at + self._limits.first_event_seconds
        )
        return min(waited_for, self._began_at + self._limits.total_seconds) - now

    def _timeout(self) -> DifyTimeout:
        seconds = self._clock() - self._began_at
        if seconds >= self._limits.total_seconds:
            return DifyTimeout(f"The answer was not whole after {self._limits.total_seconds:g} seconds")
        if self._had_event:
            return DifyTimeout(f"Dify fell silent for {self._limits.idle_seconds:g} seconds")
        return DifyTimeout(
            f"Dify did not begin to answer within {self._limits.first_event_seconds:g} seconds"
        )

    def _wind_down(self) -> None:
        """Stop the task once its id is known, then let Dify finish speaking for a moment."""
        stopped = False
        deadline = math.inf
        try:
            while self.read(_WIND_DOWN_TICK_SECONDS) is not None and self._clock() < deadline:
                if self._task_id and not stopped:
                    stopped = True
                    self._stop(self._task_id)
                    deadline = self._clock() + _DRAIN_SECONDS
        except GatewayError:
            logger.debug("an abandoned run ended badly", exc_info=True)
        finally:
            self._pump.abort()
