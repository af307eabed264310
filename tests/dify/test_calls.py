"""A call's answer: given as it comes, refused as Dify refuses, and held to its limits."""

import pytest

from opendify.dify.calls import CallAnswer
from opendify.dify.events import RunLimits
from opendify.dify.exchange import Head
from opendify.errors import DifyError, DifyTimeout, GatewayError, RateLimited
from tests.fakes.clocks import FakeClock
from tests.fakes.scheduled_exchange import Arrival, ScheduledExchange

FINE = Head(200, "audio/mpeg", None)
LIMITS = RunLimits(first_event_seconds=30, idle_seconds=10, total_seconds=60)


class Stand:
    """An answer whose arrivals come by a timetable, and what was learnt of the server's being there."""

    def __init__(self, *arrivals: tuple[float, Arrival]) -> None:
        self.clock = FakeClock(now=0.0)
        self.exchange = ScheduledExchange(self.clock, arrivals)
        self.contacts: list[GatewayError | None] = []
        self.answer = CallAnswer(self.exchange, LIMITS, self.clock, self.contacts.append)

    def read_all(self) -> list[bytes]:
        pieces: list[bytes] = []
        while (read := self.answer.read(5)) is not None:
            pieces += read
        return pieces


def test_pieces_are_given_as_they_come() -> None:
    stand = Stand((0, FINE), (1, b"a"), (2, b"b"), (2, b"c"), (3, None))

    assert stand.read_all() == [b"a", b"b", b"c"]
    assert stand.answer.head == FINE
    assert stand.contacts == [None]


def test_an_answer_in_one_read_is_given_before_its_end() -> None:
    stand = Stand((0, FINE), (0, b"all"), (0, None))

    assert stand.answer.read(5) == [b"all"]
    assert stand.answer.read(5) is None


def test_a_refusal_is_told_when_all_of_it_came() -> None:
    body = b'{"code": "too_many_requests", "message": "later", "status": 429}'
    stand = Stand((0, Head(429, "application/json", "7")), (1, body[:9]), (2, body[9:]), (2, None))

    with pytest.raises(RateLimited) as refused:
        stand.read_all()

    assert refused.value.retry_after_seconds == 7
    assert stand.contacts == [None, refused.value]


def test_a_refusal_whose_body_does_not_come_is_told_all_the_same() -> None:
    stand = Stand((0, Head(500, "text/html", None)), (1, b"<h1>"))

    with pytest.raises(DifyError):
        stand.read_all()
    assert stand.clock.now == pytest.approx(6)


def test_a_refusal_without_an_end_is_cut() -> None:
    stand = Stand(
        (0, Head(500, "text/html", None)), *((0.1 * number, bytes(1 << 19)) for number in range(1, 9))
    )

    with pytest.raises(DifyError):
        stand.read_all()
    assert stand.clock.now < 1


@pytest.mark.parametrize(
    ("arrivals", "at", "message"),
    [
        ((), 30, "within 30 seconds"),
        (((29, FINE),), 39, "fell silent"),
        (((0, FINE), *((number, b"x") for number in range(5, 100, 5))), 60, "fell silent"),
    ],
    ids=["no head", "silence", "in all"],
)
def test_a_limit_that_is_reached_ends_it(
    arrivals: tuple[tuple[float, Arrival], ...], at: float, message: str
) -> None:
    stand = Stand(*arrivals)

    with pytest.raises(DifyTimeout, match=message):
        stand.read_all()
    assert stand.clock.now == pytest.approx(at)


def test_what_is_not_whole_is_broken_off() -> None:
    stand = Stand((0, FINE), (1, b"a"))
    stand.answer.read(5)

    stand.answer.close()

    assert stand.exchange.aborted
    assert stand.answer.read(5) is None


def test_the_connection_of_what_came_whole_is_left_alone() -> None:
    stand = Stand((0, FINE), (0, b"a"), (0, None))
    stand.read_all()

    stand.answer.close()

    assert not stand.exchange.aborted


def test_a_connection_that_breaks_says_so() -> None:
    broken = DifyError("broke off")
    stand = Stand((0, FINE), (1, b"a"), (2, broken))

    with pytest.raises(DifyError, match="broke off"):
        stand.read_all()
    assert stand.contacts == [None, broken]
