"""Which of several apps answers a turn: the model that was asked for, else its fallbacks."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from opendify.errors import GatewayError
from opendify.runs.joined_events import JoinedEvents
from opendify.runs.opening import Opening
from opendify.runs.source import ReplySource
from opendify.telemetry.instruments import FALLBACKS
from opendify.translate.turn import ReplyEvent, ReplyStarted

_LONGEST_WAIT_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Candidate(msgspec.Struct, frozen=True):
    """One model that may answer; `begin` opens its run, or raises before anything could start.

    What it raises then, and before its first words, names the model.
    """

    model: str
    begin: Callable[[], ReplySource]


class Fallbacks:
    """The answer of the first model that gives one; what a client was given is never taken back.

    The next model has its turn when one failed before it could start, with
    `after_failed_runs` also when its run failed, and only as long as the client was
    given nothing: not even the opening of a stream.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        *,
        after_failed_runs: bool = False,
        opening: Opening | None = None,
        request_id: str = "",
    ) -> None:
        """Begin the first of `candidates` that can be; only a stream has an `opening`.

        `request_id` is for the log.

        Raises:
            GatewayError: None can be, or one failed in a way that no other can mend.
        """
        self._opening = opening
        self._request_id = request_id
        self._waiting = list(candidates[:1] if self._is_committed() else candidates)
        self._after_failed_runs = after_failed_runs
        self._gave = False
        self._held_back = JoinedEvents()
        self._telling_failure: GatewayError | None = None
        self._source, self._model = self._begin_next()

    @property
    def ended(self) -> bool:
        """See `ReplySource.ended`."""
        return self._source.ended

    @property
    def memory_was_lost(self) -> bool:
        """See `ReplySource.memory_was_lost`."""
        return self._source.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterable[ReplyEvent]:
        """See `ReplySource.read`; silent where another model takes over."""
        return self._source.read(timeout_seconds) if self._gave else self._first_words(timeout_seconds)

    def replies(self) -> Iterator[ReplyEvent]:
        """See `ReplySource.replies`."""
        while not self.ended:
            yield from self.read(_LONGEST_WAIT_SECONDS)

    def settle(self, answer: str | None) -> None:
        """See `ReplySource.settle`."""
        self._source.settle(answer)

    def close(self) -> None:
        """See `ReplySource.close`."""
        self._source.close()

    def _first_words(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        try:
            for event in self._source.read(timeout_seconds):
                if self._may_be_taken_back(event):
                    self._held_back.add(event)
                else:
                    yield from self._give(event)
            if self._held_back and (self._is_committed() or self._source.ended):
                yield from self._give()
        except GatewayError as error:
            error.model = self._model
            if self._gave or self._is_committed():
                raise
            self._source.close()
            self._source, self._model = self._begin_next(error)

    def _may_be_taken_back(self, event: ReplyEvent) -> bool:
        """Of a stream nothing that leaves; of an answer that leaves as a whole everything."""
        is_held = isinstance(event, ReplyStarted) or self._opening is None
        return is_held and self._after_failed_runs and bool(self._waiting)

    def _give(self, *events: ReplyEvent) -> Iterator[ReplyEvent]:
        self._gave = True
        self._waiting.clear()
        yield from self._held_back.take()
        yield from events

    def _is_committed(self) -> bool:
        return self._opening is not None and self._opening.is_due

    def _begin_next(self, failure: GatewayError | None = None) -> tuple[ReplySource, str]:
        """The next candidate that can be begun, and its model; `failure` is that of the one before.

        Raises:
            GatewayError: None can, or it would not help.
        """
        self._held_back.take()
        while True:
            if failure:
                self._go_on_after(failure)
            candidate = self._waiting.pop(0)
            try:
                return candidate.begin(), candidate.model
            except GatewayError as error:
                error.may_have_begun, error.model = False, candidate.model
                failure = error

    def _go_on_after(self, failure: GatewayError) -> None:
        """Return if the next model may answer; raise the most telling failure otherwise."""
        may_go_on = not failure.may_have_begun or self._after_failed_runs
        if not (self._waiting and failure.is_of_the_app and may_go_on):
            # That of the model that was asked for, unless something may have been paid for.
            if self._telling_failure and not failure.may_have_begun:
                raise self._telling_failure from failure
            raise failure
        if self._telling_failure is None or (
            failure.may_have_begun and not self._telling_failure.may_have_begun
        ):
            self._telling_failure = failure
        facts = {"from_model": failure.model, "to_model": self._waiting[0].model, "error": failure.code}
        logger.warning("another model takes over", extra={**facts, "request_id": self._request_id})
        FALLBACKS.add(self._waiting[0].model)
