"""One run of an app: Dify's events and their translation, opened and closed together."""

import logging
import time
from collections.abc import Callable, Generator, Iterator

from opendify.dify.events import EventStream
from opendify.errors import ClientLeft, DifyAppError, GatewayError, InternalError
from opendify.records import ClientGone, Clock
from opendify.translate.reply_pipeline import ReplyPipeline
from opendify.translate.reply_writer import ReplyWriter
from opendify.translate.turn import ReplyEvent, ReplyStarted
from opendify.wire.sse import KEEP_ALIVE

# A slot is to be free within half a second of its client's leaving.
_WATCH_SECONDS = 0.2

logger = logging.getLogger(__name__)


class Run:
    """What Dify says to one turn; to be closed."""

    def __init__(
        self,
        events: EventStream,
        pipeline: ReplyPipeline,
        *,
        client_gone: ClientGone = lambda: False,
        clock: Clock = time.monotonic,
        on_app_error: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_app_error` learns that the app is not what it was taken for."""
        self._events = events
        self._pipeline = pipeline
        self._client_gone = client_gone
        self._clock = clock
        self._watched_at = clock()
        self._on_app_error = on_app_error
        self._failed_at_dify = False

    @property
    def ended(self) -> bool:
        """True once the answer is whole; nothing follows."""
        return self._pipeline.ended

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        """What the next read holds; nothing after that much silence, or a shorter one.

        Raises:
            GatewayError: The run failed; what was said before it was given first.
            ClientLeft: Nobody waits for the answer any more.
        """
        self._watch_client()
        try:
            events = self._events.read(min(timeout_seconds, _WATCH_SECONDS))
        except DifyAppError:
            self._on_app_error()
            raise
        try:
            yield from self._pipeline.close() if events is None else self._pipeline.feed(events)
        except GatewayError:
            self._failed_at_dify = True
            raise

    def replies(self) -> Iterator[ReplyEvent]:
        """All of it, for answers that are not streamed."""
        while not self.ended:
            yield from self.read(_WATCH_SECONDS)

    def _watch_client(self) -> None:
        now = self._clock()
        if now >= self._watched_at + _WATCH_SECONDS:
            self._watched_at = now
            if self._client_gone():
                raise ClientLeft("The client closed the connection before the answer was whole")

    def close(self) -> None:
        """Let go of the run; one that still goes on is stopped at Dify."""
        self._events.close(whole=self._pipeline.upstream_ended or self._failed_at_dify)


class ReplyStream:
    """One streamed answer as bytes, and what its response headers can tell.

    The first piece is held back until Dify's first real event, so that an early
    failure is still an HTTP status, but not longer than `commit_seconds`.
    """

    def __init__(
        self,
        run: Run,
        writer: ReplyWriter,
        *,
        commit_seconds: float,
        keepalive_seconds: float,
        clock: Clock,
    ) -> None:
        self.started: ReplyStarted | None = None
        self.failure: GatewayError | None = None
        self._run = run
        self._writer = writer
        self._keepalive_seconds = keepalive_seconds
        self._clock = clock
        self._commit_at = clock() + commit_seconds
        self._written_at: float | None = None

    def frames(self) -> Generator[bytes, None, None]:
        """One piece a read from Dify, or a comment when there was none for a while.

        Raises:
            GatewayError: Only from the first `next`: nothing was written yet.
        """
        try:
            while not self._run.ended:
                piece = self._next_piece()
                if piece:
                    self._written_at = self._clock()
                    yield piece
        except _BrokenOff as broken:
            yield broken.piece
        finally:
            self._run.close()

    def _next_piece(self) -> bytes:
        pieces = []
        try:
            for event in self._run.read(self._seconds_to_wait()):
                if isinstance(event, ReplyStarted):
                    self.started = event
                pieces.append(self._writer.feed(event))
        except GatewayError as error:
            raise self._broken_off(pieces, error) from error
        except Exception as error:
            logger.exception("a stream failed by a fault of ours")
            raise self._broken_off(pieces, InternalError("An internal error ended the answer")) from error
        return b"".join(pieces) or self._sign_of_life()

    def _broken_off(self, pieces: list[bytes], error: GatewayError) -> Exception:
        self.failure = error
        if self._written_at is None and not self._writer.has_text:
            return error
        return _BrokenOff(b"".join(pieces) + self._writer.fail(error))

    def _seconds_to_wait(self) -> float:
        due = self._commit_at if self._written_at is None else self._written_at + self._keepalive_seconds
        return max(0.0, due - self._clock())

    def _sign_of_life(self) -> bytes:
        if self._seconds_to_wait() > 0:
            return b""
        return self._writer.open() if self._written_at is None else KEEP_ALIVE


class _BrokenOff(Exception):
    def __init__(self, piece: bytes) -> None:
        self.piece = piece
