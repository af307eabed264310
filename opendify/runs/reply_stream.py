"""One streamed answer as bytes: the held status, keep-alives, and an honest end."""

import logging
from collections.abc import Generator

from opendify.errors import GatewayError, InternalError
from opendify.records import Clock
from opendify.runs.observed import observe_end, observe_start
from opendify.runs.opening import Opening
from opendify.runs.source import ReplySource
from opendify.telemetry.observation import Observation
from opendify.translate.stream_writer import StreamWriter
from opendify.translate.turn import ReplyEnded, ReplyEvent, ReplyStarted, TextDelta, TextDeltas
from opendify.wire.sse import KEEP_ALIVE

logger = logging.getLogger(__name__)


class ReplyStream:
    """One streamed answer as bytes, and what its response headers can tell.

    The first piece is held back until Dify's first real event, so that an early
    failure is still an HTTP status, but not longer than until its `opening` is due.
    """

    def __init__(
        self,
        run: ReplySource,
        writer: StreamWriter,
        *,
        opening: Opening,
        keepalive_seconds: float,
        clock: Clock,
        observation: Observation | None = None,
    ) -> None:
        self.started: ReplyStarted | None = None
        self.failure: GatewayError | None = None
        self._run = run
        self._writer = writer
        self._keepalive_seconds = keepalive_seconds
        self._clock = clock
        self.observation = observation or Observation()
        self._is_whole = self._has_written = False
        opening.begin()
        self._silent_until = opening.due_at

    @property
    def memory_was_lost(self) -> bool:
        """See `ReplySource.memory_was_lost`."""
        return self._run.memory_was_lost

    @property
    def has_text(self) -> bool:
        """Whether the client was told any of the answer."""
        return self._writer.has_text

    def frames(self) -> Generator[bytes, None, None]:
        """One piece a read from Dify, or a comment when there was none for a while.

        Raises:
            GatewayError: Only from the first `next`: nothing was written yet.
        """
        try:
            while not self._is_whole:
                piece = self._next_piece()
                if piece:
                    self._has_written = True
                    self._silent_until = self._clock() + self._keepalive_seconds
                    yield piece
        except _BrokenOff as broken:
            yield broken.piece
        finally:
            self.observation.memory_was_lost = self._run.memory_was_lost
            self._run.close()

    def _next_piece(self) -> bytes:
        pieces = []
        try:
            for event in self._run.read(max(0.0, self._silent_until - self._clock())):
                if type(event) is not TextDeltas and type(event) is not TextDelta:
                    self._note(event)
                pieces.append(self._writer.feed(event))
        except GatewayError as error:
            raise self._broken_off(pieces, error) from error
        except Exception as error:
            logger.exception("a stream failed by a fault of ours")
            raise self._broken_off(pieces, InternalError("An internal error ended the answer")) from error
        return b"".join(pieces) or self._sign_of_life()

    def _note(self, event: ReplyEvent) -> None:
        match event:
            case ReplyStarted():
                self.started = event
                observe_start(self.observation, event)
            case ReplyEnded():
                self._is_whole = True
                observe_end(self.observation, event)
                self._run.settle(self._writer.text)

    def _broken_off(self, pieces: list[bytes], error: GatewayError) -> Exception:
        self.failure = self.observation.error = error
        if not (self._has_written or self._writer.has_text):
            return error
        return _BrokenOff(b"".join(pieces) + self._writer.fail(error))

    def _sign_of_life(self) -> bytes:
        if self._clock() < self._silent_until:
            return b""
        return KEEP_ALIVE if self._has_written else self._writer.open()


class _BrokenOff(Exception):
    def __init__(self, piece: bytes) -> None:
        self.piece = piece
