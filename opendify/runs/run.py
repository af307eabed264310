"""One run of an app: its turn, Dify's events and their translation, opened and closed together."""

import time
from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import structs

from opendify.dify.concurrency import UNLIMITED, Place
from opendify.dify.events import EventStream
from opendify.errors import ClientLeft, ConversationNotFound, DifyAppError, GatewayError
from opendify.records import NOBODY, Client, Clock
from opendify.runs.drain import Drain
from opendify.telemetry.instruments import CONVERSATIONS
from opendify.telemetry.observation import Observation, RunRecord
from opendify.translate.human_input import PausedRun
from opendify.translate.reply_pipeline import ReplyPipeline
from opendify.translate.turn import ReplyEvent, ReplyStarted
from opendify.turns.held import HeldTurn
from opendify.wire.dify import StreamEvent

# A slot is to be free within half a second of its client's leaving.
_WATCH_SECONDS = 0.2
# Whoever waits must look up now and then: the process may have to end.
_LONGEST_WAIT_SECONDS = 0.5


class OpenRun(msgspec.Struct, frozen=True):
    """A run at Dify and what reads it."""

    events: EventStream
    pipeline: ReplyPipeline
    place: Place = UNLIMITED

    def close(self, *, whole: bool, on_over: Callable[[], None] = lambda: None) -> None:
        """See `EventStream.close`; its place at Dify is free when nothing goes on there any more."""

        def over() -> None:
            self.place.give_back()
            on_over()

        self.events.close(whole=whole, on_over=over)


class Run:
    """What Dify says to one turn; to be settled when it ended, and to be closed."""

    _was_settled = False
    _was_begun_anew = False
    _gave_content = False
    _was_accepted = False
    _began: ReplyStarted | None = None

    def __init__(
        self,
        open_run: Callable[[Place | None], OpenRun],
        held: HeldTurn,
        *,
        client: Client = NOBODY,
        drain: Drain | None = None,
        clock: Clock = time.monotonic,
        on_app_error: Callable[[], None] = lambda: None,
        seal_run_id: Callable[[str], str] = lambda run_id: run_id,
        on_answered: Callable[[str, PausedRun | None], None] = lambda *_: None,
        record: RunRecord | None = None,
    ) -> None:
        """`open_run` starts the run as `held` tells, at once and again where its conversation is gone:
        then in the place at Dify that the run before hands over.

        `seal_run_id` makes what a client gets of a workflow run's id.
        `on_app_error` learns that the app is not what it was taken for; `record` how the run went;
        `on_answered` what the client was given, and what the run waits for where that is a question.
        """
        self._open_run: Callable[[Place | None], OpenRun] | None = open_run
        self._held = held
        self._client = client
        self._drain = drain or Drain()
        self._clock = clock
        # It was there a moment ago, or the run would not be opened.
        self._looked_at = clock()
        self._on_app_error = on_app_error
        self._seal_run_id = seal_run_id
        self._on_answered = on_answered
        self._record = record or Observation().begin_run("", "")
        self._open = self._open_first(open_run)
        self._drain.enter(self)

    @property
    def ended(self) -> bool:
        """See `ReplySource.ended`."""
        return self._open.pipeline.ended

    @property
    def memory_was_lost(self) -> bool:
        """See `ReplySource.memory_was_lost`."""
        return self._held.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterable[ReplyEvent]:
        """What the next read holds; nothing after that much silence, or a shorter one.

        Raises:
            GatewayError: The run failed; what was said before it was given first.
            ClientLeft: Nobody waits for the answer any more.
            Draining: The process must end.
        """
        if self._clock() >= self._looked_at + _WATCH_SECONDS:
            self._look_for_client()
        try:
            events = self._open.events.read(min(timeout_seconds, _LONGEST_WAIT_SECONDS))
        except ConversationNotFound:
            self._begin_anew()
            return ()
        except GatewayError as error:
            self._record.failed(error)
            if isinstance(error, DifyAppError):
                self._on_app_error()
            raise
        if events and self._open_run is None:
            return self._open.pipeline.feed(events)  # All that follows is only more of it.
        if events or events is None:
            return self._translate(events)
        self._look_for_client()  # Maybe its leaving ended the wait.
        return ()

    def replies(self) -> Iterator[ReplyEvent]:
        """See `ReplySource.replies`."""
        while not self.ended:
            yield from self.read(_LONGEST_WAIT_SECONDS)

    def settle(self, answer: str | None) -> None:
        """See `ReplySource.settle`."""
        if not self._open.pipeline.upstream_ended:
            return  # A `stop` sequence ended it; at Dify it goes on until `close`.
        self._was_settled = True
        if answer is None:
            self._held.abandon(may_have_begun=True)
        else:
            self._held.finish(answer)
            self._on_answered(answer, self._open.pipeline.paused)

    def close(self) -> None:
        """See `ReplySource.close`."""
        pipeline = self._open.pipeline
        if pipeline.failure:
            self._record.failed(pipeline.failure)
        self._record.over(whole=pipeline.upstream_ended)
        is_over_at_dify = pipeline.upstream_ended or pipeline.failure is not None
        self._open.close(whole=is_over_at_dify, on_over=self._leave)

    def _open_first(self, open_run: Callable[[Place | None], OpenRun]) -> OpenRun:
        try:
            return open_run(None)
        except BaseException as error:
            self._record.failed(error)
            self._record.over(whole=False)
            self._held.abandon(may_have_begun=False)
            raise

    def _leave(self) -> None:
        """The place is given up only when nothing goes on in it any more."""
        try:
            if not self._was_settled:
                self._was_settled = True
                self._held.abandon(may_have_begun=not self._open.events.was_refused)
        finally:
            self._drain.leave(self)

    def _translate(self, events: list[StreamEvent] | None) -> Iterator[ReplyEvent]:
        pipeline = self._open.pipeline
        try:
            for reply in pipeline.close() if events is None else pipeline.feed(events):
                if isinstance(reply, ReplyStarted):
                    if not self._held.started(reply):
                        self._begin_anew()
                        return
                    self._began, self._was_accepted = self._as_told(reply), True
                else:
                    self._give_content()
                    if self._began:
                        yield from self._take_beginning()
                    yield reply
            # In a new conversation nothing can turn out to be gone.
            if self._held.conversation_id is None:
                yield from self._take_beginning()
        except ConversationNotFound:
            # Since 1.13 chatflows run behind a queue, and some versions find out only there.
            if self._gave_content:
                raise
            self._begin_anew()

    def _give_content(self) -> None:
        """What the client was given is never taken back; all that a new run would need can go."""
        self._gave_content = True
        if self._was_accepted:
            self._open_run = None

    def _as_told(self, started: ReplyStarted) -> ReplyStarted:
        """With the model that answers, and the run's id as clients get it."""
        run_id = started.workflow_run_id
        sealed_id = self._seal_run_id(run_id) if run_id else None
        return structs.replace(started, answered_by=self._record.model or None, workflow_run_id=sealed_id)

    def _take_beginning(self) -> Iterator[ReplyEvent]:
        beginning, self._began = self._began, None
        if beginning:
            yield beginning

    def _begin_anew(self) -> None:
        """Replay into a new conversation; nothing of the old run was given to anybody.

        Raises:
            ConversationNotFound: The client named that very conversation, or a new one is gone too.
        """
        old_place, new_place = _shared_by_two(self._open.place)
        structs.replace(self._open, place=old_place).close(whole=False)
        try:
            self._open = self._open_anew(new_place)
        except BaseException as error:
            self._record.failed(error)
            new_place.give_back()
            # The old run is closed, so `close` will hear of no end any more.
            self._was_settled = True
            self._held.abandon(may_have_begun=False)
            self._drain.leave(self)
            raise

    def _open_anew(self, place: Place) -> OpenRun:
        if self._open_run is None or self._was_begun_anew or not self._held.begin_anew():
            raise ConversationNotFound("The conversation does not exist, or belongs to another user")
        CONVERSATIONS.add("begun_anew")
        self._was_begun_anew, self._began, self._was_accepted = True, None, False
        return self._open_run(place)

    def _look_for_client(self) -> None:
        self._looked_at = self._clock()
        if self._client.is_gone():
            raise ClientLeft("The client closed the connection before the answer was whole")
        self._drain.cut_short()


def _shared_by_two(place: Place) -> tuple[Place, Place]:
    """`place` for a run and the one that follows it: given back when both were."""
    holders = {1, 2}

    def share(holder: int) -> Place:
        def give_back() -> None:
            holders.discard(holder)
            if not holders:
                place.give_back()

        return Place(give_back)

    return share(1), share(2)
