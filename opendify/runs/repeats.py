"""A run that was paid for is never repeated by accident: repeats get what the first attempt got.

A repeat waits while the first attempt still goes on. What cannot have begun at Dify is
forgotten at once, and its repeat is a first attempt.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from opendify.errors import (
    ClientLeft,
    ClientLeftEarly,
    GatewayError,
    IdempotencyKeyReused,
    InternalError,
    RepeatRefused,
)
from opendify.records import Client, Clock
from opendify.runs.attempts import IDEMPOTENCY_HEADER, Attempt
from opendify.runs.drain import Drain
from opendify.runs.joined_events import JoinedEvents
from opendify.runs.outcomes import Outcome, read_outcome, write_outcome
from opendify.runs.source import ReplySource
from opendify.stores.answer_keeper import AnswerKeeper, NewRequest, Note
from opendify.stores.answers import NOT_KEPT, StoredAnswer
from opendify.telemetry.instruments import REPEATS
from opendify.translate.turn import ReplyEvent

# A slot is to be free within half a second of its client's leaving.
_LOOK_SECONDS = 0.2
_READ_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Asked(msgspec.Struct, frozen=True):
    """A request that is to be answered, once. `id` is a new one for its answer, `user` Dify's.

    `begin` starts the run; what it raises was raised before anything had to be paid for.
    """

    attempt: Attempt | None
    id: str
    user: str
    begin: Callable[[], ReplySource]
    client: Client


class Answer(msgspec.Struct, frozen=True):
    """What answers a request, and what it is called; `created` is Unix time."""

    id: str
    created: int
    source: ReplySource
    is_repeat: bool = False


@dataclass(frozen=True, slots=True)
class KeepTimes:
    """How long an outcome is kept, in seconds.

    `keyed_seconds` is for answers under an `Idempotency-Key`; `repeat_seconds` for those of
    SDKs, and for every failure: who comes back with a key later than that means to try again.
    """

    repeat_seconds: float
    keyed_seconds: float


class Repeats:
    """Tells first attempts from repeats. Without a `keeper` every attempt is a first one."""

    def __init__(
        self,
        keeper: AnswerKeeper | None,
        times: KeepTimes,
        *,
        patience_seconds: float,
        drain: Drain | None = None,
        now: Clock = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`now` is Unix time; a repeat waits for at most `patience_seconds`."""
        self._keeper = keeper
        self._times = times
        self._patience_seconds = patience_seconds
        self._drain = drain or Drain()
        self._now = now
        self._sleep = sleep

    def answer(self, asked: Asked) -> Answer:
        """What answers the request: a run of its own, or what became of the first attempt.

        Raises:
            IdempotencyKeyReused: The request's key belongs to another request.
            GatewayError: The run could not begin.
        """
        keeper, attempt = self._keeper, asked.attempt
        if keeper is None or attempt is None:
            return Answer(asked.id, int(self._now()), asked.begin())
        found = self._begin(asked, attempt, keeper, asked.id, anew=attempt.is_first)
        if not isinstance(found, StoredAnswer):
            return Answer(asked.id, int(self._now()), found)
        logger.info("a request is answered as before", extra={"still_runs": found.outcome is None})
        REPEATS.add()
        known = found
        source = _FollowedAnswer(
            known,
            keeper.look_again,
            # The client may have seen the id of the attempt in whose place this one begins.
            lambda: self._begin(asked, attempt, keeper, known.id, anew=False),
            client=asked.client,
            drain=self._drain,
            patience_seconds=self._patience_seconds,
            now=self._now,
            sleep=self._sleep,
        )
        return Answer(known.id, int(known.begun_at), source, is_repeat=True)

    def clean_up(self) -> None:
        """Delete what has expired."""
        if self._keeper:
            self._keeper.clean_up()

    def close(self) -> None:
        """Close what was opened."""
        if self._keeper:
            self._keeper.close()

    def _begin(
        self, asked: Asked, attempt: Attempt, keeper: AnswerKeeper, answer_id: str, *, anew: bool
    ) -> StoredAnswer | ReplySource:
        found = keeper.begin(NewRequest(answer_id, attempt.key, attempt.fingerprint, asked.user, anew))
        if isinstance(found, StoredAnswer):
            if found.fingerprint != attempt.fingerprint:
                raise IdempotencyKeyReused(
                    f"This {IDEMPOTENCY_HEADER} was used for another request a short time ago; "
                    "a key stands for one request: the same URL, body and user.",
                    param=IDEMPOTENCY_HEADER,
                )
            return found
        try:
            run = asked.begin()
        except BaseException:
            found.forget()
            raise
        return _RecordedAnswer(run, found, self._times, is_keyed=attempt.has_idempotency_key)


class _RecordedAnswer:
    """A first attempt: the run, whose end is noted before the client learns of it."""

    def __init__(self, run: ReplySource, note: Note, times: KeepTimes, *, is_keyed: bool) -> None:
        self._run = run
        self._note = note
        self._times = times
        self._is_keyed = is_keyed
        self._events = JoinedEvents()
        self._was_noted = False

    @property
    def ended(self) -> bool:
        return self._run.ended

    @property
    def memory_was_lost(self) -> bool:
        return self._run.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        try:
            for event in self._run.read(timeout_seconds):
                self._events.add(event)
                yield event
        except GatewayError as error:
            self._note_failure(error)
            raise
        except Exception:
            self._note_failure(InternalError("An internal error ended the answer"))
            raise

    def replies(self) -> Iterator[ReplyEvent]:
        while not self.ended:
            yield from self.read(_READ_SECONDS)

    def settle(self, answer: str | None) -> None:
        self._run.settle(answer)
        seconds = self._times.keyed_seconds if self._is_keyed else self._times.repeat_seconds
        self._note_outcome(Outcome(self._events.take(), self._run.memory_was_lost), seconds)

    def close(self) -> None:
        self._run.close()
        # It was stopped, and has maybe done half its work: asking once more is for a person to decide.
        self._note_failure(ClientLeft("The client closed the connection, and the run was stopped"))

    def _note_failure(self, error: GatewayError) -> None:
        if error.may_have_begun:
            self._note_outcome(Outcome(failure=error), self._times.repeat_seconds)
        elif not self._was_noted:
            self._was_noted = True
            self._note.forget()

    def _note_outcome(self, outcome: Outcome, keep_seconds: float) -> None:
        if not self._was_noted:
            self._was_noted = True
            self._note.finish(write_outcome(outcome), keep_seconds=keep_seconds)


class _FollowedAnswer:
    """A repeat: waits for the end of the first attempt, and then is the same; or begins in its place."""

    def __init__(
        self,
        first: StoredAnswer,
        look_again: Callable[[StoredAnswer], StoredAnswer | None],
        begin: Callable[[], StoredAnswer | ReplySource],
        *,
        client: Client,
        drain: Drain,
        patience_seconds: float,
        now: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        """`begin` is for a first attempt that never began: it may also find another one."""
        self._first = first
        self._look_again = look_again
        self._begin = begin
        self._client = client
        self._drain = drain
        self._now = now
        self._until = now() + patience_seconds
        self._sleep = sleep
        self._source: ReplySource | None = None
        drain.enter(self)

    @property
    def ended(self) -> bool:
        return self._source is not None and self._source.ended

    @property
    def memory_was_lost(self) -> bool:
        return self._source is not None and self._source.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        if self._source is None:
            self._source = self._find_source(min(timeout_seconds, _LOOK_SECONDS))
        if self._source:
            yield from self._source.read(timeout_seconds)

    def replies(self) -> Iterator[ReplyEvent]:
        while not self.ended:
            yield from self.read(_READ_SECONDS)

    def settle(self, answer: str | None) -> None:
        if self._source:
            self._source.settle(answer)

    def close(self) -> None:
        self._drain.leave(self)
        if self._source:
            self._source.close()

    def _find_source(self, wait_seconds: float) -> ReplySource | None:
        if self._first.outcome is None:
            self._refuse_to_wait_in_vain()
            self._sleep(wait_seconds)
            found = self._look_again(self._first) or self._begin()
            if not isinstance(found, StoredAnswer):
                return found
            self._first = found
        return None if self._first.outcome is None else _RepeatedAnswer(_read(self._first.outcome))

    def _refuse_to_wait_in_vain(self) -> None:
        if self._client.is_gone():
            raise ClientLeftEarly("The client closed the connection before the first attempt had ended")
        self._drain.refuse_new()
        if self._now() >= self._first.claimed_until:
            raise RepeatRefused(
                "This request was sent before, and that attempt broke off in a way that leaves its outcome "
                "unknown. So it is not run once more by itself; a new request will be."
            )
        if self._now() >= self._until:
            raise RepeatRefused("This request was sent before, and that attempt is still not answered.")


class _RepeatedAnswer:
    """What was kept of the first attempt; there is nothing to settle or to close."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self.ended = False
        self.memory_was_lost = outcome.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:  # noqa: ARG002 - All is there.
        if self._outcome.failure:
            raise self._outcome.failure
        self.ended = True
        yield from self._outcome.events

    def replies(self) -> Iterator[ReplyEvent]:
        return self.read(0)

    def settle(self, answer: str | None) -> None:
        """The first attempt was."""

    def close(self) -> None:
        """Nothing is open."""


def _read(outcome: bytes) -> Outcome:
    if outcome == NOT_KEPT:
        raise RepeatRefused(
            "This request was sent and answered before, and its answer was too large to be kept. "
            "So it is not run once more by itself; a new request will be."
        )
    try:
        return read_outcome(outcome)
    except ValueError as error:
        raise RepeatRefused("This request was answered before, by another release.") from error
