"""A run of one app that is begun again while Dify cannot be reached, or where it forgot a file."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Never

from opendify.dify.retries import Retries
from opendify.errors import ClientLeftEarly, DifyUnreachable, GatewayError, UploadForgotten
from opendify.records import NOBODY, Client, Clock
from opendify.runs.source import ReplySource
from opendify.translate.turn import ReplyEvent

_LONGEST_WAIT_SECONDS = 0.5
# A slot is to be free within half a second of its client's leaving.
_LONGEST_SLEEP_SECONDS = 0.2

logger = logging.getLogger(__name__)


class RetriedRun:
    """What `begin` opens, and opens again after a pause as long as nothing was sent.

    Between two tries nothing is held: neither a conversation nor a connection.
    """

    def __init__(
        self,
        begin: Callable[[], ReplySource],
        retries: Retries,
        *,
        model: str = "",
        client: Client = NOBODY,
        clock: Clock = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        renew_files: Callable[[], bool] = lambda: False,
    ) -> None:
        """`retries` is closed with the run, or where it does not even begin; failures name the `model`.

        `renew_files` learns that Dify forgot one, and says whether `begin` would give it anew.
        """
        self._begin = begin
        self._retries = retries
        self._model = model
        self._client = client
        self._clock = clock
        self._sleep = sleep
        self._renew_files = renew_files
        self._begins_at = clock()
        self._spoke = False
        self._run: ReplySource | None = self._begun()

    @property
    def ended(self) -> bool:
        """See `ReplySource.ended`."""
        return self._run is not None and self._run.ended

    @property
    def memory_was_lost(self) -> bool:
        """See `ReplySource.memory_was_lost`."""
        return self._run is not None and self._run.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterable[ReplyEvent]:
        """See `ReplySource.read`; silent during a pause."""
        if self._run is None:
            return self._wait(timeout_seconds)
        return self._run.read(timeout_seconds) if self._spoke else self._first_words(timeout_seconds)

    def replies(self) -> Iterator[ReplyEvent]:
        """See `ReplySource.replies`."""
        while not self.ended:
            yield from self.read(_LONGEST_WAIT_SECONDS)

    def settle(self, answer: str | None) -> None:
        """See `ReplySource.settle`."""
        if self._run is not None:
            self._run.settle(answer)

    def close(self) -> None:
        """See `ReplySource.close`."""
        self._retries.close()
        if self._run is not None:
            self._run.close()

    def _begun(self) -> ReplySource:
        try:
            return self._begin()
        except BaseException as error:
            self._retries.close()
            if isinstance(error, GatewayError):
                error.model = self._model
                error.may_have_begun = False  # Whatever it is, it came before the run.
            raise

    def _first_words(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        run = self._run
        if run is None:
            return
        try:
            for event in run.read(timeout_seconds):
                self._spoke = True
                self._retries.end_try()
                yield event
            if self._spoke:
                self._let_go()
        except GatewayError as error:
            error.model = self._model
            pause = self._pause_after(error)
            if pause is None:
                raise
            run.close()
            self._run, self._begins_at = None, self._clock() + pause

    def _pause_after(self, error: GatewayError) -> float | None:
        """Seconds until it is begun again; None where that would not help."""
        if isinstance(error, UploadForgotten):
            return 0.0 if self._renew_files() else None
        pause = self._retries.next_pause() if isinstance(error, DifyUnreachable) else None
        if pause is not None:
            logger.info("a run is tried again", extra={"seconds": round(pause, 3), "error": error.code})
        return pause

    def _let_go(self) -> None:
        """Of the request and its files, which only another try would need."""
        self._begin = self._renew_files = _never

    def _wait(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        yield from ()
        if self._client.is_gone():
            raise ClientLeftEarly("The client closed the connection before the run began")
        seconds_left = self._begins_at - self._clock()
        if seconds_left > 0:
            self._sleep(min(seconds_left, timeout_seconds, _LONGEST_SLEEP_SECONDS))
        else:
            self._run = self._begun()


def _never() -> Never:
    raise RuntimeError("A run that spoke is not begun again")
