"""A run at Dify that somebody listened to before, listened to again."""

import time
from collections.abc import Callable, Iterator

from opendify.dify.events import EventStream
from opendify.errors import ClientLeft, GatewayError
from opendify.records import Client, Clock
from opendify.runs.drain import Drain
from opendify.telemetry.observation import RunRecord
from opendify.translate.reply_pipeline import ReplyPipeline
from opendify.translate.turn import ReplyEvent

# A slot is to be free within half a second of its client's leaving.
_WATCH_SECONDS = 0.2


class RejoinedRun:
    """A `ReplySource` that no conversation hangs on. Who leaves it stops nothing at Dify."""

    memory_was_lost = False

    def __init__(
        self,
        open_events: Callable[[], EventStream],
        pipeline: ReplyPipeline,
        *,
        client: Client,
        drain: Drain,
        record: RunRecord,
        clock: Clock = time.monotonic,
    ) -> None:
        """`open_events` asks Dify for what is left of the run."""
        self._pipeline = pipeline
        self._client = client
        self._drain = drain
        self._record = record
        self._clock = clock
        self._looked_at = clock()
        drain.refuse_new()
        try:
            self._events = open_events()
        except BaseException as error:
            record.failed(error)
            record.over(whole=False)
            raise
        drain.enter(self)

    @property
    def ended(self) -> bool:
        """See `ReplySource.ended`."""
        return self._pipeline.ended

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        """See `ReplySource.read`."""
        self._look_for_client()
        try:
            events = self._events.read(min(timeout_seconds, _WATCH_SECONDS))
            yield from self._pipeline.close() if events is None else self._pipeline.feed(events)
        except GatewayError as error:
            self._record.failed(error)
            raise

    def replies(self) -> Iterator[ReplyEvent]:
        """See `ReplySource.replies`."""
        while not self.ended:
            yield from self.read(_WATCH_SECONDS)

    def settle(self, answer: str | None) -> None:
        """See `ReplySource.settle`; nothing is kept of it."""

    def close(self) -> None:
        """See `ReplySource.close`."""
        self._record.over(whole=self._pipeline.upstream_ended)
        self._events.close(whole=self._pipeline.upstream_ended, on_over=lambda: self._drain.leave(self))

    def _look_for_client(self) -> None:
        now = self._clock()
        if now < self._looked_at + _WATCH_SECONDS:
            return
        self._looked_at = now
        if self._client.is_gone():
            raise ClientLeft("The client closed the connection before the answer was whole")
        self._drain.cut_short()
