"""A call is waited for as long as its client waits, and sent again while it reaches nobody."""

import pytest

from opendify.dify.calls import CallAnswer
from opendify.dify.concurrency import Place
from opendify.dify.events import RunLimits
from opendify.dify.exchange import Head
from opendify.dify.retries import Retries, RetryBudget
from opendify.errors import ClientLeft, DifyCircuitOpen, DifyError, DifyUnreachable, Draining, GatewayError
from opendify.records import Client
from opendify.runs.calls import WatchedCall
from opendify.runs.drain import Drain
from tests.fakes.clocks import FakeClock
from tests.fakes.scheduled_exchange import Arrival, ScheduledExchange

FINE = Head(200, "audio/mpeg", None)
HELLO: tuple[tuple[float, Arrival], ...] = ((0, FINE), (0, b"Hel"), (1, b"lo"), (1, None))
UNREACHABLE = DifyUnreachable("away")
NOBODY_THERE: tuple[tuple[float, Arrival], ...] = ((0, UNREACHABLE),)
SILENCE: tuple[tuple[float, Arrival], ...] = ()

Try = tuple[tuple[float, Arrival], ...] | GatewayError


class Stand:
    """Each of `tries` is what one sending gets."""

    def __init__(self, *tries: Try, leaves_at: float = 1e9) -> None:
        self.clock = FakeClock(now=0.0)
        self.drain = Drain(clock=self.clock)
        self.exchanges: list[ScheduledExchange] = []
        self.given_back: list[float] = []
        self._tries = list(tries)
        self._leaves_at = leaves_at

    def send(self) -> CallAnswer:
        step = self._tries.pop(0)
        if isinstance(step, GatewayError):
            raise step
        self.exchanges.append(ScheduledExchange(self.clock, step))
        limits = RunLimits(first_event_seconds=30, idle_seconds=10, total_seconds=60)
        return CallAnswer(self.exchanges[-1], limits, self.clock)

    def call(self) -> WatchedCall:
        return WatchedCall(
            self.send,
            retries=Retries(RetryBudget(), most=1, within_seconds=5, clock=self.clock, jitter=lambda: 0.5),
            client=Client(lambda: self.clock() >= self._leaves_at),
            drain=self.drain,
            place=Place(lambda: self.given_back.append(self.clock())),
            clock=self.clock,
            sleep=self.clock.advance,
        )


def test_what_came_with_the_head_is_not_lost() -> None:
    call = Stand(HELLO).call()

    assert call.head() == FINE
    assert b"".join(call.pieces()) == b"Hello"


def test_it_is_sent_again_where_it_reached_nobody() -> None:
    stand = Stand(NOBODY_THERE, HELLO)

    assert stand.call().whole(10) == b"Hello"
    assert len(stand.exchanges) == 2


def test_the_last_failure_is_told() -> None:
    with pytest.raises(DifyUnreachable):
        Stand(NOBODY_THERE, NOBODY_THERE).call().head()
    with pytest.raises(DifyCircuitOpen):
        Stand(NOBODY_THERE, DifyCircuitOpen("no")).call().head()


@pytest.mark.parametrize("tries", [(SILENCE,), (HELLO[:2],)], ids=["before the head", "after it"])
def test_a_client_that_leaves_ends_the_wait(tries: tuple[Try, ...]) -> None:
    stand = Stand(*tries, leaves_at=3)
    call = stand.call()

    with pytest.raises(ClientLeft):
        call.whole(10)
    call.close()

    assert stand.clock.now == pytest.approx(3, abs=0.3)
    assert stand.exchanges[0].aborted
    assert stand.given_back == [stand.clock.now]


def test_a_client_that_leaves_during_a_pause_ends_it_too() -> None:
    stand = Stand(NOBODY_THERE, HELLO, leaves_at=0.1)

    with pytest.raises(ClientLeft):
        stand.call().head()
    assert len(stand.exchanges) == 1


def test_a_process_that_must_end_waits_no_longer() -> None:
    stand = Stand(SILENCE)
    call = stand.call()
    assert stand.drain.open_answers == 1

    stand.drain.end_now()
    with pytest.raises(Draining):
        call.head()
    call.close()

    assert stand.drain.open_answers == 0


def test_a_call_that_cannot_begin_holds_nothing() -> None:
    stand = Stand(DifyCircuitOpen("no"))

    with pytest.raises(DifyCircuitOpen):
        stand.call()

    assert stand.given_back == [0.0]
    assert stand.drain.open_answers == 0


def test_a_body_longer_than_it_can_be_is_refused() -> None:
    with pytest.raises(DifyError, match="longer"):
        Stand(HELLO).call().whole(4)


def test_closing_twice_is_no_fault() -> None:
    stand = Stand(HELLO)
    call = stand.call()
    call.close()
    call.close()

    assert stand.drain.open_answers == 0
