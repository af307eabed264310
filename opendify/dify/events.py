"""One run's answer as typed events, held to its time limits."""

import re
import threading
from collections.abc import Callable

import msgspec

from opendify.dify.exchange import Arrival, Exchange, Head
from opendify.errors import DifyError, DifyTimeout, DifyUnreachable, GatewayError, RateLimited
from opendify.records import Clock
from opendify.translate.dify_errors import error_from_response
from opendify.wire.dify import (
    ErrorEvent,
    Event,
    MessageEnd,
    StreamEvent,
    WorkflowFinished,
)
from opendify.wire.dify_stream import EventDecoder

_MAX_ERROR_BODY_BYTES = 1 << 20
_ERROR_BODY_SECONDS = 5.0
_DRAIN_SECONDS = 3.0
_WIND_DOWN_TICK_SECONDS = 0.25
_NOT_STREAMS = ("application/json", "text/html")
_SECONDS = re.compile(r"[0-9]{1,18}")
_ENDS = (MessageEnd, ErrorEvent, WorkflowFinished)


class RunLimits(msgspec.Struct, frozen=True):
    """How long Dify may take, in seconds: to its first event, between bytes, in all."""

    first_event_seconds: float
    idle_seconds: float
    total_seconds: float


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="dify-wind-down", daemon=True).start()


class EventStream:
    """The events of one run; whoever opened it closes it."""

    _head: Head | None = None
    _is_stream = False
    _failure: GatewayError | None = None
    _connection_broke = False
    _was_closed = False
    _was_silent = False
    _at_end = False
    _had_event = False
    _task_id: str | None = None

    def __init__(
        self,
        exchange: Exchange,
        limits: RunLimits,
        clock: Clock,
        stop: Callable[[str], None],
        on_contact: Callable[[GatewayError | None], None] = lambda _: None,
        start: Callable[[Callable[[], None]], None] = _start_thread,
    ) -> None:
        """`stop` tells Dify to end a task; it may take its time and raises nothing.

        `on_contact` learns that Dify answered, or why there will be no answer.
        `start` has what a closed run still needs done beside everything else.
        """
        self._start = start
        self._exchange = exchange
        self._limits = limits
        self._clock = clock
        self._stop = stop
        self._on_contact = on_contact
        self._decoder = EventDecoder()
        self._error_body = bytearray()
        self._began_at = self._last_byte_at = clock()
        self._ends_at = self._began_at + limits.total_seconds
        # The nearest limit; pings count as bytes, but not as a first event.
        self._due_at = min(self._began_at + limits.first_event_seconds, self._ends_at)

    def read(self, timeout_seconds: float) -> list[StreamEvent] | None:
        """All events that came with the next read; empty after silence or a ping; None at the end.

        Raises:
            GatewayError: Dify answered with an error, broke off, sent what is no
                event, or took longer than a limit. Events before it were given first.
        """
        if self._failure is None and not self._at_end:
            events = self._receive(min(timeout_seconds, self._due_at - self._clock()))
            # Where there is an event, only the run as a whole may have taken too long.
            if not events or self._last_byte_at >= self._ends_at:
                self._check_limits()
            if events:
                return events
        if self._failure:
            self._on_contact(self._failure)
            raise self._failure
        return None if self._at_end else []

    @property
    def was_refused(self) -> bool:
        """Whether Dify surely did not begin: no connection was made, or it said no at once."""
        refused = self._head is not None and 400 <= self._head.status < 500
        return refused or not (self._failure is None or self._failure.may_have_begun)

    def close(self, *, whole: bool, on_over: Callable[[], None] = lambda: None) -> None:
        """Let go of the run. One that is not whole is stopped at Dify, so that nobody pays for it.

        Does not block: what Dify still sends is read in the background, since it
        keeps the part that was said only while somebody reads. `on_over` is called when
        nothing goes on at Dify any more, maybe from another thread.
        """
        if self._was_closed:
            return
        self._was_closed = True
        self._exchange.forget_client()
        if whole:
            # By now the end has usually come too, and the connection is free for the next run.
            self._receive(0)
            on_over()
            self._go_on_in_background(self._hear_end, lambda: None)
        elif self._exchange.was_sent and (self._head is None or self._is_stream):
            self._go_on_in_background(self._stop_and_hear_out, on_over)
        else:
            if not self._exchange.was_sent:
                self._failure = DifyUnreachable("The request was given up before it was sent")
            self._exchange.abort()
            on_over()

    def _go_on_in_background(self, work: Callable[[], None], on_over: Callable[[], None]) -> None:
        def wind_down() -> None:
            try:
                work()
            finally:
                if not self._at_end:
                    self._exchange.abort()
                on_over()

        if self._is_over:
            on_over()
            return
        try:
            self._start(wind_down)
        except RuntimeError:  # The system allows no more threads.
            self._exchange.abort()
            on_over()

    @property
    def _is_over(self) -> bool:
        return self._at_end or self._connection_broke

    def _receive(self, timeout_seconds: float) -> list[StreamEvent]:
        try:
            items = self._exchange.take(timeout_seconds)
        except GatewayError as error:
            self._failure, self._connection_broke = error, True
            return []
        self._was_silent = not items
        if not items:
            return []
        self._last_byte_at = self._clock()
        events: list[StreamEvent] = []
        for item in items:
            events += self._take(item)
        if events or self._had_event:
            self._had_event = True
            self._due_at = min(self._last_byte_at + self._limits.idle_seconds, self._ends_at)
        return events

    def _take(self, item: Arrival) -> list[StreamEvent]:
        if self._is_stream and type(item) is bytes and self._failure is None:
            return self._decode(item)
        if isinstance(item, Head):
            self._head = item
            self._is_stream = _announces_stream(item)
            if not self._is_stream:
                self._due_at = self._last_byte_at + _ERROR_BODY_SECONDS
            if item.status < 500:
                self._on_contact(None)
        elif item is None:
            self._finish()
        elif self._failure is None:  # What follows an unreadable event is not the answer any more.
            self._take_error(item)
        return []

    def _take_error(self, piece: bytes) -> None:
        self._error_body += piece
        if len(self._error_body) > _MAX_ERROR_BODY_BYTES and self._head:
            self._failure = error_from_response(self._head.status, b"")

    def _finish(self) -> None:
        self._at_end = True
        if self._head is not None and not self._is_stream:
            self._failure = error_from_response(self._head.status, bytes(self._error_body))
            if isinstance(self._failure, RateLimited) and _SECONDS.fullmatch(self._head.retry_after or ""):
                self._failure.advise_retry_after(int(self._head.retry_after or ""))

    def _decode(self, chunk: bytes) -> list[StreamEvent]:
        events = self._decoder.feed(chunk)
        if self._decoder.failure:
            self._failure = DifyError("Dify sent an event that cannot be read")
            self._failure.__cause__ = self._decoder.failure
        if not self._task_id:
            ids = (event.task_id for event in events if isinstance(event, Event))
            self._task_id = next(filter(None, ids), None)
        return events

    def _check_limits(self) -> None:
        if self._failure is None:
            self._failure = self._slow_error() or self._exceeded_limit()

    def _slow_error(self) -> GatewayError | None:
        """The error whose status came and whose body does not."""
        head = self._head
        if head is None or self._is_stream or self._at_end:
            return None
        too_slow = self._clock() >= self._due_at
        return error_from_response(head.status, bytes(self._error_body)) if too_slow else None

    def _exceeded_limit(self) -> DifyTimeout | None:
        limits, elapsed = self._limits, self._clock() - self._began_at
        if self._at_end:
            return None
        if elapsed >= limits.total_seconds:
            return DifyTimeout(f"The answer was not whole after {limits.total_seconds:g} seconds")
        if not self._had_event and elapsed >= limits.first_event_seconds:
            return DifyTimeout(f"Dify did not begin to answer within {limits.first_event_seconds:g} seconds")
        # Time that a slow client took is not Dify's silence.
        if self._had_event and self._was_silent and self._clock() >= self._due_at:
            return DifyTimeout(f"Dify fell silent for {limits.idle_seconds:g} seconds")
        return None

    def _hear_end(self) -> None:
        """Let Dify finish speaking for a moment, after all that matters was said."""
        self._failure = None
        until = self._clock() + _DRAIN_SECONDS
        while not self._is_over and self._clock() < until:
            self._receive(_WIND_DOWN_TICK_SECONDS)

    def _stop_and_hear_out(self) -> None:
        """Stop the run once its task is known, unless it ends by itself; what it says meanwhile is read."""
        self._failure = None
        ends_by_itself = self._hear_of_task()
        if self._is_over or not self._task_id:
            return
        if not ends_by_itself:
            self._stop(self._task_id)
        self._hear_end()

    def _hear_of_task(self) -> bool:
        """Wait until the task is known, or its time is up; whether the run's end came with it."""
        until = self._began_at + self._limits.first_event_seconds
        while not (self._is_over or self._task_id) and self._clock() < until:
            events = self._receive(_WIND_DOWN_TICK_SECONDS)
            if any(isinstance(event, _ENDS) for event in events):
                return True
        return False


def _announces_stream(head: Head) -> bool:
    # Gateways between may rename the content type, but what names itself JSON or HTML is no stream.
    return head.status == 200 and not head.content_type.lower().startswith(_NOT_STREAMS)
