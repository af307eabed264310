"""A run's events and limits, in a fake clock's time: nothing here waits."""

from collections.abc import Callable

import pytest

from opendify.dify.events import EventStream, RunLimits
from opendify.dify.exchange import Head
from opendify.errors import DifyError, DifyTimeout, DifyUnreachable, InternalError, RateLimited
from opendify.wire import dify as wire
from tests.fakes.clocks import FakeClock
from tests.fakes.frames import END, PING, WHOLE, event, message
from tests.fakes.scheduled_exchange import STREAM_HEAD, Arrival, ScheduledExchange
from tests.fakes.waiting import NewThreads, wait_until

LIMITS = RunLimits(first_event_seconds=300, idle_seconds=90, total_seconds=1800)


class Stand:
    """One run on a fake clock; `stopped` holds the tasks that Dify was told to stop."""

    def __init__(self, *arrivals: tuple[float, Arrival], limits: RunLimits = LIMITS) -> None:
        self.clock = FakeClock(now=5_000.0)
        self.stopped: list[str] = []
        self.pump = ScheduledExchange(self.clock, arrivals)
        self.events = EventStream(self.pump, limits, self.clock, self.stopped.append)
        self._began_at = self.clock()

    @property
    def elapsed(self) -> float:
        return self.clock() - self._began_at

    def read_all(self, timeout_seconds: float = 5.0) -> list[wire.StreamEvent]:
        """Everything to the end; raises what ends it otherwise."""
        events: list[wire.StreamEvent] = []
        while (read := self.events.read(timeout_seconds)) is not None:
            events += read
        return events


def _texts(events: list[wire.StreamEvent]) -> list[str | None]:
    return [
        message.answer
        for event in events
        for message in (event.one_by_one() if isinstance(event, wire.Messages) else [event])
        if isinstance(message, wire.Message)
    ]


def test_what_one_read_from_dify_holds_comes_in_one_read() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel") + message("lo")), (2, END), (2, None))

    read = stand.events.read(5)

    assert read is not None
    assert _texts(read) == ["Hel", "lo"]
    assert stand.elapsed == 1
    last = stand.events.read(5)
    assert last is not None
    assert isinstance(last[0], wire.MessageEnd)
    assert stand.events.read(5) is None
    assert stand.events.read(5) is None


def test_an_event_cut_anywhere_is_read_once_it_is_whole() -> None:
    pieces = [(float(n), WHOLE[n : n + 1]) for n in range(len(WHOLE))]
    stand = Stand((0, STREAM_HEAD), *pieces, (len(WHOLE), None))

    assert _texts(stand.read_all()) == ["Hel", "lo"]


def test_silence_gives_an_empty_read_after_the_time_that_was_asked_for() -> None:
    stand = Stand()

    assert stand.events.read(7) == []
    assert stand.elapsed == 7


def test_dify_that_never_begins_is_given_the_first_event_limit() -> None:
    stand = Stand()

    with pytest.raises(DifyTimeout, match="300 seconds"):
        stand.read_all()

    assert stand.elapsed == 300


def test_a_ping_is_no_first_event() -> None:
    pings = [(float(at), PING) for at in range(10, 1_000, 10)]
    stand = Stand((0, STREAM_HEAD), *pings)

    with pytest.raises(DifyTimeout, match="did not begin"):
        stand.read_all()

    assert stand.elapsed == pytest.approx(300, abs=10)


def test_a_run_may_wait_in_dify_s_queue_for_longer_than_the_idle_limit() -> None:
    stand = Stand((0, STREAM_HEAD), (0, PING), (250, WHOLE), (250, None))

    assert _texts(stand.read_all()) == ["Hel", "lo"]


def test_silence_between_events_ends_at_the_idle_limit() -> None:
    stand = Stand((0, STREAM_HEAD), (3, message("Hel")))

    with pytest.raises(DifyTimeout, match="silent for 90 seconds"):
        stand.read_all()

    assert stand.elapsed == 93


def test_pings_keep_a_silent_run_alive() -> None:
    pings = [(float(at), PING) for at in range(10, 600, 10)]
    stand = Stand((0, STREAM_HEAD), (1, message("Hel")), *pings, (601, message("lo") + END), (602, None))

    assert _texts(stand.read_all()) == ["Hel", "lo"]


def test_a_run_that_talks_for_ever_ends_at_the_total_limit() -> None:
    words = [(float(at), message("la ")) for at in range(1, 5_000)]
    stand = Stand((0, STREAM_HEAD), *words)

    with pytest.raises(DifyTimeout, match="1800 seconds"):
        stand.read_all()

    assert stand.elapsed == pytest.approx(1_800, abs=2)


def test_the_total_limit_holds_for_a_client_so_slow_that_something_always_waits() -> None:
    words = [(float(at), message("la ")) for at in range(1, 5_000)]
    stand = Stand((0, STREAM_HEAD), *words)

    def read_slowly() -> None:
        while stand.events.read(5) is not None and stand.elapsed < 4_000:
            stand.clock.advance(10)

    with pytest.raises(DifyTimeout):
        read_slowly()

    assert stand.elapsed < 1_900


def test_pings_alone_do_not_stretch_the_first_event_limit_for_a_slow_reader() -> None:
    pings = [(float(at), PING) for at in range(1, 2_000)]
    stand = Stand((0, STREAM_HEAD), *pings)

    def read_slowly() -> None:
        while stand.events.read(5) is not None and stand.elapsed < 1_500:
            stand.clock.advance(10)

    with pytest.raises(DifyTimeout):
        read_slowly()

    assert stand.elapsed < 400


def test_what_came_before_a_broken_connection_is_given_first() -> None:
    stand = Stand((1, STREAM_HEAD), (1, message("Hel")), (1, DifyError("reset")))

    first = stand.events.read(5)

    assert first is not None
    assert _texts(first) == ["Hel"]
    with pytest.raises(DifyError):
        stand.events.read(5)


@pytest.mark.parametrize(
    "payload",
    [
        b"data: {not json}\n\n",
        b"data: [1]\n\n",
        b'data: {"event": "message", "answer": 7}\n\n',
        b"data: \xff\n\n",
    ],
)
def test_what_cannot_be_read_fails_after_what_could(payload: bytes) -> None:
    broken = message("Hel") + payload + message("lo")
    stand = Stand((1, STREAM_HEAD), (1, broken), (1, END), (1, None))

    first = stand.events.read(5)

    assert first is not None
    assert _texts(first) == ["Hel"]
    for _ in range(2):
        with pytest.raises(DifyError, match="cannot be read") as caught:
            stand.events.read(5)
        assert caught.value.code == "upstream_error"


@pytest.mark.parametrize(
    "advice",
    # As `Retry-After` may be given, and as a broken gateway may give it.
    [
        ("7", 7),
        ("1", 1),
        ("0", 1),
        ("600", 60),
        (None, 5),
        ("", 5),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 5),
        ("-3", 5),
        ("1.5", 5),
        ("²", 5),
    ],
    ids=lambda advice: str(advice[0])[:8],
)
def test_dify_s_429_carries_its_advice_within_a_minute(advice: tuple[str | None, int]) -> None:
    said, meant = advice
    stand = Stand((0, Head(429, "application/json", said)), (0, b"{}"), (0, None))

    with pytest.raises(RateLimited) as caught:
        stand.read_all()

    assert caught.value.headers() == {"Retry-After": str(meant)}


def test_advice_of_five_thousand_digits_is_kept_within_a_minute_too() -> None:
    stand = Stand((0, Head(429, "application/json", "9" * 5_000)), (0, b"{}"), (0, None))

    with pytest.raises(RateLimited) as caught:
        stand.read_all()

    assert 1 <= int(caught.value.headers()["Retry-After"]) <= 60


@pytest.mark.parametrize(
    "content_type", ["text/html", "Text/HTML; charset=utf-8", "application/json", "APPLICATION/JSON"]
)
def test_what_names_itself_something_else_is_no_stream(content_type: str) -> None:
    stand = Stand((0, Head(200, content_type, None)), (0, WHOLE), (0, None))

    with pytest.raises(DifyError) as caught:
        stand.read_all()

    assert caught.value.code == "upstream_error"


def test_a_gateway_that_renames_the_content_type_does_no_harm() -> None:
    stand = Stand((0, Head(200, "application/octet-stream", None)), (0, WHOLE), (0, None))

    assert _texts(stand.read_all()) == ["Hel", "lo"]


def test_a_finished_run_is_never_stopped(new_run_threads: NewThreads) -> None:
    stand = Stand((0, STREAM_HEAD), (0, WHOLE), (0, None))
    stand.events.read(5)

    stand.events.close(whole=True)

    assert wait_until(lambda: not new_run_threads())
    assert stand.stopped == []
    assert not stand.pump.aborted, "its connection can be used again"


def test_a_run_that_is_left_is_stopped_and_heard_out_for_a_moment(new_run_threads: NewThreads) -> None:
    words = [(float(at), message("la ")) for at in range(1, 1_000)]
    stand = Stand((0, STREAM_HEAD), *words)
    stand.events.read(5)

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]
    assert stand.elapsed < 10, "drained for 3 s after the stop"
    assert wait_until(lambda: not new_run_threads())


def test_a_run_that_is_left_before_its_task_is_known_is_stopped_when_it_is() -> None:
    stand = Stand((0, STREAM_HEAD), (0, PING), (60, message("Hel")), (200, message("lo")))
    stand.events.read(5)

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]
    assert 60 <= stand.elapsed < 70


def test_a_run_that_ends_by_itself_after_it_was_left_is_not_stopped(new_run_threads: NewThreads) -> None:
    stand = Stand((0, STREAM_HEAD), (0, PING), (60, WHOLE), (60, None))
    stand.events.read(5)

    stand.events.close(whole=False)

    assert wait_until(lambda: not new_run_threads())
    assert stand.elapsed == 60
    assert stand.stopped == []


def test_a_run_that_is_left_after_hours_is_stopped_too() -> None:
    words = [(float(at), message("la ")) for at in range(1, 1_000)]
    stand = Stand((0, STREAM_HEAD), *words)
    while stand.elapsed < 400:
        stand.events.read(5)

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]


def test_a_finished_run_that_dify_keeps_open_is_let_go() -> None:
    stand = Stand((0, STREAM_HEAD), (0, WHOLE))
    stand.events.read(5)

    stand.events.close(whole=True)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.elapsed <= 4
    assert stand.stopped == []


def test_a_run_that_is_left_and_never_begins_ends_at_the_first_event_limit() -> None:
    stand = Stand((0, STREAM_HEAD))

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.elapsed == 300
    assert stand.stopped == []


@pytest.mark.parametrize(
    "limits",
    [RunLimits(300, 90, 1800), RunLimits(300, 90, 40), RunLimits(30, 90, 1800)],
    ids=["idle", "total", "idle, long after the first event"],
)
def test_a_run_that_took_too_long_is_stopped_at_dify(limits: RunLimits) -> None:
    stand = Stand((0, STREAM_HEAD), (1, message("Hel")), limits=limits)
    with pytest.raises(DifyTimeout):
        stand.read_all()

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]


def test_a_run_that_sent_nonsense_is_stopped_at_dify() -> None:
    stand = Stand((0, STREAM_HEAD), (1, message("Hel")), (2, b"data: {nonsense\n\n"))
    with pytest.raises(DifyError):
        stand.read_all()

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.pump.aborted)
    assert stand.stopped == ["task-1"]


def test_nothing_waits_on_for_a_connection_that_broke(new_run_threads: NewThreads) -> None:
    stand = Stand((0, DifyUnreachable("refused")))
    with pytest.raises(DifyUnreachable):
        stand.read_all()
    failed_after = stand.elapsed

    stand.events.close(whole=False)

    assert wait_until(lambda: not new_run_threads())
    assert stand.elapsed - failed_after < 5, "a dead connection was watched until the first-event limit"


def test_nothing_waits_on_for_a_reader_that_failed_by_a_fault_of_ours(new_run_threads: NewThreads) -> None:
    stand = Stand((0, InternalError("a bug")))
    with pytest.raises(InternalError):
        stand.read_all()

    stand.events.close(whole=False)

    assert wait_until(lambda: not new_run_threads())
    assert stand.elapsed < 5


def test_a_task_that_is_named_late_is_stopped_all_the_same(new_run_threads: NewThreads) -> None:
    nameless = event("message", answer="Hel", task_id="")
    stand = Stand((0, STREAM_HEAD), (0, nameless), (1, message("lo")), (9, END), (9, None))
    stand.events.read(0.5)

    stand.events.close(whole=False)

    assert wait_until(lambda: stand.stopped == ["task-1"])
    assert wait_until(lambda: not new_run_threads())


@pytest.mark.parametrize("sent", [True, False], ids=["refused", "not sent"])
def test_what_dify_has_surely_not_begun_is_over_at_once(sent: bool) -> None:
    stand = Stand((0, Head(401, "application/json", None))) if sent else Stand()
    stand.pump.was_sent = sent
    stand.events.read(0.5)
    over: list[float] = []

    stand.events.close(whole=False, on_over=lambda: over.append(stand.elapsed))

    assert len(over) == 1
    assert stand.pump.aborted
    assert stand.events.was_refused


def test_without_a_thread_to_hear_dify_out_the_run_is_let_go() -> None:
    def refuse(_: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    clock = FakeClock(now=0.0)
    exchange = ScheduledExchange(clock, [(0, STREAM_HEAD), (0, message("Hel"))])
    events = EventStream(exchange, LIMITS, clock, lambda _: None, start=refuse)
    events.read(0.5)
    over: list[bool] = []

    events.close(whole=False, on_over=lambda: over.append(True))

    assert over == [True]
    assert exchange.aborted
