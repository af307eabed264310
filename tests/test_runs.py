"""One streamed answer, in a fake clock's time: its status, its signs of life, how it breaks."""

import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise

import pytest

from opendify.dify.concurrency import Place
from opendify.dify.events import EventStream, RunLimits
from opendify.dify.exchange import Head
from opendify.errors import (
    ClientLeft,
    ConversationNotFound,
    DifyError,
    DifyRunFailed,
    DifyTimeout,
    DifyUnreachable,
    GatewayError,
    InternalError,
)
from opendify.records import Client
from opendify.runs.opening import Opening
from opendify.runs.reply_stream import ReplyStream
from opendify.runs.run import OpenRun, Run
from opendify.telemetry.observation import Observation
from opendify.translate.dify_reply import reply_reader
from opendify.translate.openai_chat import ChatChoice
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.reply_writer import ReplyWriter
from opendify.translate.turn import (
    ReplyEvent,
    ReplyFilter,
    ReplyStarted,
    TextDelta,
    collect_reply,
    lets_none_pass,
)
from tests.fakes.clocks import FakeClock
from tests.fakes.frames import END, PING, WHOLE, event, message, read_frames, text_of
from tests.fakes.held_turn import FakeHeldTurn
from tests.fakes.openai_errors import assert_error_object
from tests.fakes.scheduled_exchange import STREAM_HEAD, Arrival, ScheduledExchange
from tests.fakes.waiting import NewThreads, wait_until

LIMITS = RunLimits(first_event_seconds=300, idle_seconds=90, total_seconds=1800)
ERROR = event("error", code="completion_request_error", status=400, message="The model is on fire")


class Explodes:
    """A filter with a bug of ours in it."""

    heeds = (TextDelta,)
    lets_pass = staticmethod(lets_none_pass)

    def __init__(self, on: str) -> None:
        self._on = on

    def feed(self, reply_event: ReplyEvent) -> Iterator[ReplyEvent]:
        if isinstance(reply_event, TextDelta) and self._on in reply_event.text:
            raise KeyError("a-secret-of-the-code")
        yield reply_event


class PatientExchange(ScheduledExchange):
    """Everything after the first read comes only when it may end."""

    def __init__(
        self, clock: FakeClock, arrivals: Sequence[tuple[float, Arrival]], may_end: threading.Event
    ) -> None:
        super().__init__(clock, arrivals)
        self._reads = 0
        self._may_end = may_end

    def take(self, timeout_seconds: float) -> list[Head | bytes | None]:
        self._reads += 1
        if self._reads > 1:
            self._may_end.wait(10)
        return super().take(timeout_seconds)


class Stand:
    def __init__(
        self,
        *arrivals: tuple[float, Arrival],
        stop: Sequence[str] = (),
        more_filters: Sequence[ReplyFilter] = (),
        commit_seconds: float = 5,
        keepalive_seconds: float = 10,
        client_leaves_at: float = math.inf,
        held: FakeHeldTurn | None = None,
    ) -> None:
        self.clock = FakeClock(now=0.0)
        self.stopped: list[str] = []
        self.pump = ScheduledExchange(self.clock, arrivals)
        events = EventStream(self.pump, LIMITS, self.clock, self.stopped.append)
        filters = [*reply_filters("separate", stop), *more_filters]
        self.app_errors = 0
        self.held = held or FakeHeldTurn()
        self.record = Observation(clock=self.clock).begin_run("", "chat")
        pipeline = ReplyPipeline(reply_reader("chat", None), filters)
        self.run = Run(
            lambda _: OpenRun(events, pipeline),
            self.held,
            client=Client(lambda: self.clock() >= client_leaves_at),
            clock=self.clock,
            on_app_error=self._note_app_error,
            record=self.record,
        )
        writer = ReplyWriter(
            ChatChoice(), completion_id="chatcmpl-1", created=1, model="bot", include_usage=True
        )
        self.stream = ReplyStream(
            self.run,
            writer,
            opening=Opening(commit_seconds, self.clock),
            keepalive_seconds=keepalive_seconds,
            clock=self.clock,
        )
        self.frames = self.stream.frames()

    def _note_app_error(self) -> None:
        self.app_errors += 1

    def pieces_with_times(self) -> list[tuple[float, bytes]]:
        return [(self.clock(), piece) for piece in self.frames]


def test_the_status_waits_for_the_first_real_event() -> None:
    stand = Stand((1, STREAM_HEAD), (1, PING), (3, message("Hel")), (4, message("lo")), (5, END), (5, None))

    next(stand.frames)

    assert stand.clock() == 3, "a ping is not one"
    assert stand.stream.started == ReplyStarted("task-1", "message-1", "conversation-1")


def test_a_whole_answer_is_opening_deltas_finish_usage_and_done() -> None:
    stand = Stand((0, STREAM_HEAD), (1, message("Hel")), (2, message("lo")), (3, END), (3, None))

    frames = read_frames(stand.frames)

    deltas = [frame["choices"][0]["delta"] for frame in frames[:4] if isinstance(frame, dict)]
    assert deltas == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hel"},
        {"content": "lo"},
        {},
    ]
    finish, usage, done = frames[3:]
    assert isinstance(finish, dict)
    assert isinstance(usage, dict)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 3)
    assert done == "[DONE]"
    heads = {(frame["id"], frame["created"], frame["model"]) for frame in frames if isinstance(frame, dict)}
    assert heads == {("chatcmpl-1", 1, "bot")}


def test_what_one_read_holds_leaves_in_one_piece() -> None:
    stand = Stand((1, STREAM_HEAD), (1, WHOLE), (1, None))

    assert len(list(stand.frames)) == 1


def test_after_the_commit_time_the_role_goes_out_and_dify_may_take_longer() -> None:
    stand = Stand((20, STREAM_HEAD), (20, WHOLE), (20, None))

    pieces = stand.pieces_with_times()

    assert [at for at, _ in pieces] == [5, 15, 20]
    (opening,) = read_frames([pieces[0][1]])
    assert isinstance(opening, dict)
    assert opening["choices"][0]["delta"]["role"] == "assistant"
    frames = read_frames(piece for _, piece in pieces)
    roles = [frame for frame in frames if isinstance(frame, dict) and "role" in str(frame["choices"])]
    assert len(roles) == 1
    assert stand.stream.started is not None


def test_a_commit_time_of_zero_sends_the_role_at_once() -> None:
    stand = Stand((20, STREAM_HEAD), (20, WHOLE), (20, None), commit_seconds=0)

    next(stand.frames)

    assert stand.clock() == 0


@pytest.mark.parametrize(
    ("arrivals", "kind"),
    [
        ([(1, STREAM_HEAD), (1, ERROR), (1, None)], DifyRunFailed),
        ([(1, STREAM_HEAD), (1, None)], DifyError),
        ([(1, DifyError("reset"))], DifyError),
        ([(1, STREAM_HEAD), (1, b"data: nonsense\n\n")], DifyError),
        # The first real event and the failure in one read: nothing was written yet.
        ([(1, STREAM_HEAD), (1, event("message", answer="") + ERROR), (1, None)], DifyRunFailed),
    ],
)
def test_an_early_failure_is_raised_so_that_it_becomes_a_status(
    arrivals: list[tuple[float, Arrival]], kind: type[GatewayError]
) -> None:
    stand = Stand(*arrivals)

    with pytest.raises(kind):
        next(stand.frames)


@pytest.mark.parametrize("breaks", [ERROR, DifyError("reset"), None, b"data: nonsense\n\n"])
def test_a_failure_after_the_first_byte_is_one_error_frame_without_done(breaks: Arrival) -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (2, breaks))

    frames = read_frames(stand.frames)

    assert text_of(frames[:-1]) == "Hel"
    code = "upstream_run_failed" if breaks == ERROR else "upstream_error"
    assert_error_object(frames[-1], 502, code)
    assert not any(
        choice["finish_reason"]
        for frame in frames[:-1]
        if isinstance(frame, dict)
        for choice in frame["choices"]
    )


def test_a_failure_after_the_commit_alone_is_an_error_frame_too() -> None:
    stand = Stand((30, DifyError("reset")))

    frames = read_frames(stand.frames)

    assert frames[1] == ": keep-alive"
    assert_error_object(frames[-1], 502, "upstream_error")


def test_text_in_the_same_read_as_the_failure_is_not_lost() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (2, message("lo") + ERROR), (2, None))

    frames = read_frames(stand.frames)

    assert text_of(frames[:-1]) == "Hello"
    assert_error_object(frames[-1], 502, "upstream_run_failed")


def test_text_before_a_failure_in_the_very_first_read_is_not_lost() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel") + ERROR), (1, None))

    frames = read_frames(stand.frames)

    assert text_of(frames[:-1]) == "Hel"
    assert_error_object(frames[-1], 502, "upstream_run_failed")


def test_a_silence_beyond_the_limit_is_an_error_frame() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")))

    frames = read_frames(stand.frames)

    assert_error_object(frames[-1], 504, "upstream_timeout")
    assert wait_until(lambda: stand.pump.aborted)
    assert stand.clock() < 100


def test_comments_keep_the_line_open_before_and_after_the_first_token() -> None:
    pings = [(float(at), PING) for at in (4, 14, 24, 34, 44, 54)]
    stand = Stand((0, STREAM_HEAD), *pings[:3], (27, message("Hel")), *pings[3:], (58, END), (58, None))

    pieces = stand.pieces_with_times()

    comments = [at for at, piece in pieces if piece == b": keep-alive\n\n"]
    assert comments == [15, 25, 37, 47, 57]
    times = [at for at, _ in pieces]
    assert max(later - earlier for earlier, later in pairwise(times)) <= 10


def test_no_comment_goes_between_words_that_flow() -> None:
    words = [(float(at), message("la ")) for at in range(1, 60)]
    stand = Stand((0, STREAM_HEAD), *words, (60, END), (60, None))

    assert b": keep-alive" not in b"".join(stand.frames)


def test_a_finished_run_is_let_pass_and_not_stopped(new_run_threads: NewThreads) -> None:
    stand = Stand((1, STREAM_HEAD), (1, WHOLE), (9, None))

    list(stand.frames)

    assert wait_until(lambda: not new_run_threads())
    assert stand.stopped == []


def test_a_stream_closed_early_stops_the_run() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (50, message("lo")))
    next(stand.frames)

    stand.frames.close()

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]


def test_a_stream_closed_after_the_last_piece_stops_nothing(new_run_threads: NewThreads) -> None:
    stand = Stand((1, STREAM_HEAD), (1, WHOLE), (9, None))
    next(stand.frames)

    stand.frames.close()

    assert wait_until(lambda: not new_run_threads())
    assert stand.stopped == []


def test_a_failed_run_is_not_stopped_as_it_has_ended(new_run_threads: NewThreads) -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (2, ERROR))

    list(stand.frames)

    assert wait_until(lambda: not new_run_threads())
    assert stand.stopped == []


def test_a_stop_sequence_ends_the_answer_and_the_run() -> None:
    stand = Stand(
        (1, STREAM_HEAD),
        (1, message("One. ")),
        (2, message("END Two. ")),
        (50, message("Three.")),
        stop=["END"],
    )

    frames = read_frames(stand.frames)

    assert text_of(frames[:-1]) == "One. "
    assert frames[-1] == "[DONE]"
    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]


def test_a_stop_sequence_at_the_very_end_stops_nothing() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("One. END")), (2, END), (2, None), stop=["NEVER"])

    assert read_frames(stand.frames)[-1] == "[DONE]"
    assert stand.stopped == []


def test_a_fault_of_ours_in_mid_stream_is_an_error_frame_that_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stand = Stand(
        (1, STREAM_HEAD),
        (1, message("Hel")),
        (2, message("boom")),
        (50, END),
        more_filters=[Explodes("boom")],
    )

    frames = read_frames(stand.frames)

    assert text_of(frames[:-1]) == "Hel"
    message_shown = assert_error_object(frames[-1], 500, "internal_error")
    assert "secret" not in message_shown
    assert "KeyError" in caplog.text, "the operator sees the cause"
    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"], "the run itself went on"


def test_a_fault_of_ours_before_the_first_byte_is_an_internal_error() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("boom")), more_filters=[Explodes("boom")])

    with pytest.raises(InternalError):
        next(stand.frames)


def test_a_whole_answer_is_the_same_events_collected() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (40, message("lo") + END), (40, None))

    reply = collect_reply(stand.run.replies())

    assert reply.text == "Hello"
    assert reply.started.conversation_id == "conversation-1"
    assert reply.ended.usage is not None


def test_a_whole_answer_times_out_as_a_stream_does() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")))

    with pytest.raises(DifyTimeout):
        collect_reply(stand.run.replies())

    assert stand.clock() < 100


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
def test_a_client_that_leaves_is_noticed_within_half_a_second_while_dify_is_silent(streams: bool) -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (50, END), (50, None), client_leaves_at=7)

    if streams:
        list(stand.frames)
    else:
        with pytest.raises(ClientLeft), closing(stand.run):
            collect_reply(stand.run.replies())

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]
    assert stand.clock() <= 7.5 + 3.5, "with the time in which Dify is heard out"


def test_a_client_that_leaves_while_dify_talks_is_noticed_too() -> None:
    words = [(at / 10, message("la ")) for at in range(1, 1_000)]
    stand = Stand((0, STREAM_HEAD), *words, client_leaves_at=7)

    list(stand.frames)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.clock() <= 11.5


def test_a_client_that_leaves_before_dify_speaks_is_noticed_before_the_commit() -> None:
    stand = Stand((60, STREAM_HEAD), (60, WHOLE), (60, None), client_leaves_at=2)

    with pytest.raises(ClientLeft):
        next(stand.frames)


@pytest.mark.parametrize(("code", "errors"), [("not_chat_app", 1), ("completion_request_error", 0)])
def test_only_an_app_that_is_not_what_it_was_taken_for_is_asked_again(code: str, errors: int) -> None:
    body = f'{{"code": "{code}", "message": "no", "status": 400}}'.encode()
    stand = Stand((1, Head(400, "application/json", None)), (1, body), (1, None))

    with pytest.raises(GatewayError):
        next(stand.frames)

    assert stand.app_errors == errors


def test_a_whole_answer_s_turn_is_settled_before_its_last_piece_leaves() -> None:
    stand = Stand((1, STREAM_HEAD), (1, WHOLE), (1, None))

    piece = next(stand.frames)

    assert b"[DONE]" in piece
    assert stand.held.story == ["started", "finished: Hello"]
    list(stand.frames)
    assert stand.held.story == ["started", "finished: Hello"], "once"


@pytest.mark.parametrize("breaks", [ERROR, DifyError("reset"), None])
def test_a_broken_turn_is_abandoned_once(breaks: Arrival) -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (2, breaks))

    list(stand.frames)

    assert stand.held.story == ["started", "abandoned"]


def test_a_turn_that_cannot_begin_anew_is_abandoned() -> None:
    gone = b'{"code": "not_found", "message": "Conversation Not Exists.", "status": 404}'
    held = FakeHeldTurn(can_begin_anew=False)
    stand = Stand((0, Head(404, "application/json", None)), (0, gone), (0, None), held=held)

    with pytest.raises(ConversationNotFound):
        next(stand.frames)

    assert held.story == ["begun anew", "abandoned"]
    assert isinstance(stand.record.error, ConversationNotFound)


def test_a_run_that_failed_is_noted_as_failed_and_not_stopped() -> None:
    stand = Stand((0, STREAM_HEAD), (1, message("Hel")), (2, ERROR))

    list(stand.frames)

    assert isinstance(stand.record.error, DifyRunFailed)
    assert stand.record.ended_at == 2
    assert stand.stopped == []


def test_a_run_in_the_wrong_conversation_that_cannot_begin_anew_is_stopped_once(
    new_run_threads: NewThreads,
) -> None:
    words = [(float(at), message("la ")) for at in range(1, 100)]
    held = FakeHeldTurn(accepts=False, can_begin_anew=False)
    stand = Stand((0, STREAM_HEAD), *words, held=held)

    with pytest.raises(ConversationNotFound):
        next(stand.frames)

    assert wait_until(lambda: not new_run_threads())
    assert stand.stopped == ["task-1"], "two readers of one stream would stop it twice"


@pytest.mark.parametrize("first_over", ["old", "new"])
def test_a_run_that_is_begun_anew_keeps_its_place_until_both_are_over(
    first_over: str, new_run_threads: NewThreads
) -> None:
    given_back: list[bool] = []
    places: list[Place | None] = []
    may_end = threading.Event()
    clock = FakeClock(now=0.0)
    old = PatientExchange(clock, [(0, STREAM_HEAD), (0, message("la")), (1, None)], may_end)
    new = ScheduledExchange(clock, [(0, STREAM_HEAD), (0, WHOLE), (0, None)])
    exchanges = [old, new]

    def open_run(place: Place | None) -> OpenRun:
        places.append(place)
        events = EventStream(exchanges.pop(0), LIMITS, clock, lambda _: None)
        pipeline = ReplyPipeline(reply_reader("chat", None), [])
        return OpenRun(events, pipeline, place or Place(lambda: given_back.append(True)))

    run = Run(open_run, FakeHeldTurn(accepts=False), clock=clock)
    assert list(run.read(1)) == []
    assert collect_reply(run.replies()).text == "Hello"
    if first_over == "old":
        may_end.set()
        assert wait_until(lambda: not new_run_threads(), 10)
        assert not given_back
        run.close()
    else:
        run.close()
        assert not given_back
        may_end.set()

    assert wait_until(lambda: given_back, 10)
    assert places[0] is None
    assert places[1] is not None


def test_a_run_that_cannot_be_begun_anew_gives_its_place_back(new_run_threads: NewThreads) -> None:
    given_back: list[bool] = []
    clock = FakeClock(now=0.0)
    exchange = ScheduledExchange(clock, [(0, STREAM_HEAD), (0, message("la")), (1, None)])
    events = EventStream(exchange, LIMITS, clock, lambda _: None)

    def open_run(place: Place | None) -> OpenRun:
        if place:
            raise DifyUnreachable("away")
        pipeline = ReplyPipeline(reply_reader("chat", None), [])
        return OpenRun(events, pipeline, Place(lambda: given_back.append(True)))

    run = Run(open_run, FakeHeldTurn(accepts=False), clock=clock)
    with pytest.raises(DifyUnreachable), closing(run):
        collect_reply(run.replies())

    assert wait_until(lambda: given_back, 10)


@pytest.mark.parametrize("reads", [1, 3])
def test_ids_that_come_after_the_first_text_are_noted_however_they_arrive(reads: int) -> None:
    nameless = event("message", answer="Hel", task_id=None, message_id=None, conversation_id=None)
    spoken = [nameless, nameless, message("lo")]
    pieces = [b"".join(spoken)] if reads == 1 else spoken
    arrivals = [(float(at), piece) for at, piece in enumerate(pieces, 1)]
    stand = Stand((0, STREAM_HEAD), *arrivals, (5, END), (5, None))

    assert text_of(read_frames(stand.frames)) == "HelHello"
    assert stand.held.story == ["started", "finished: HelHello"]


def test_a_run_that_gave_content_lets_go_of_all_that_a_new_one_would_need() -> None:
    clock = FakeClock(now=0.0)
    exchange = ScheduledExchange(clock, [(0, STREAM_HEAD), (0, message("la")), (1, message("li"))])

    def open_run(_: Place | None) -> OpenRun:
        events = EventStream(exchange, LIMITS, clock, lambda _: None)
        return OpenRun(events, ReplyPipeline(reply_reader("chat", None), []))

    run = Run(open_run, FakeHeldTurn(), clock=clock)
    request = weakref.ref(open_run)
    del open_run
    while not any(isinstance(event, TextDelta) for event in run.read(1)):
        assert request() is not None

    assert request() is None
