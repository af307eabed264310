"""A Dify server that is away is left alone for a while, and one call finds out that it is back."""

import threading

import pytest

from opendify.dify.circuit import Circuit
from opendify.errors import (
    DifyCircuitOpen,
    DifyError,
    DifyGatewayFailed,
    DifyTimeout,
    DifyUnreachable,
    GatewayError,
    RateLimited,
)
from tests.fakes.clocks import FakeClock

AWAY = DifyUnreachable("away")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def circuit(clock: FakeClock, *, most_failures: int = 3) -> Circuit:
    return Circuit(most_failures=most_failures, open_seconds=10, clock=clock)


def opened(clock: FakeClock) -> Circuit:
    here = circuit(clock)
    for _ in range(3):
        here.report(AWAY)
    return here


@pytest.mark.parametrize("outage", [AWAY, DifyGatewayFailed("502")], ids=["unreachable", "a proxy's 502"])
def test_enough_outages_in_a_row_open_it_and_only_the_last_says_so(
    clock: FakeClock, outage: GatewayError
) -> None:
    here = circuit(clock)

    assert [here.report(outage) for _ in range(4)] == [False, False, True, False]
    assert not here.is_closed
    with pytest.raises(DifyCircuitOpen):
        here.enter()


def test_any_answer_of_dify_between_them_begins_the_count_anew(clock: FakeClock) -> None:
    here = circuit(clock)

    for outcome in (AWAY, AWAY, None, AWAY, AWAY):
        here.report(outcome)

    assert here.is_closed


@pytest.mark.parametrize(
    "error",
    [DifyTimeout("the model is slow"), DifyError("broke off"), RateLimited("full"), DifyCircuitOpen("open")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_outage_proves_nothing_either_way(clock: FakeClock, error: GatewayError) -> None:
    here = circuit(clock)
    for _ in range(9):
        here.report(error)
    assert here.is_closed

    here.report(AWAY)
    here.report(AWAY)
    here.report(error)

    assert here.report(AWAY), "the count went on"


def test_who_is_refused_learns_when_to_come_back(clock: FakeClock) -> None:
    here = opened(clock)
    clock.advance(6.5)

    with pytest.raises(DifyCircuitOpen) as caught:
        here.enter()

    assert caught.value.headers() == {"Retry-After": "4"}
    assert not caught.value.may_have_begun


def test_when_the_time_is_over_one_call_is_the_probe_and_the_others_wait_for_it(clock: FakeClock) -> None:
    here = opened(clock)
    clock.advance(10)
    passes: list[str] = []
    refused: list[GatewayError] = []
    barrier = threading.Barrier(16)

    def try_to_enter() -> None:
        barrier.wait()
        try:
            passes.append(here.enter())
        except DifyCircuitOpen as error:
            refused.append(error)

    threads = [threading.Thread(target=try_to_enter) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (passes, len(refused)) == (["probe"], 15)


def test_who_comes_while_somebody_tries_is_told_to_come_back_soon(clock: FakeClock) -> None:
    here = opened(clock)
    clock.advance(10)
    by = here.enter()

    with pytest.raises(DifyCircuitOpen) as caught:
        here.enter()
    assert caught.value.headers() == {"Retry-After": "1"}

    here.report(AWAY, by)
    with pytest.raises(DifyCircuitOpen) as caught:
        here.enter()
    assert caught.value.headers() == {"Retry-After": "10"}


def test_a_probe_that_is_answered_closes_it_for_everybody(clock: FakeClock) -> None:
    here = opened(clock)
    clock.advance(10)

    here.report(None, here.enter())

    assert here.is_closed
    assert here.enter() == "ordinary"
    assert not here.report(AWAY), "the count begins anew"


def test_a_probe_that_fails_opens_it_again_for_the_whole_time(clock: FakeClock) -> None:
    here = opened(clock)
    clock.advance(10)
    by = here.enter()
    clock.advance(5)

    assert not here.report(AWAY, by), "it was open all the time"

    clock.advance(9.9)
    with pytest.raises(DifyCircuitOpen):
        here.enter()
    clock.advance(0.1)
    assert here.enter() == "probe"


def test_a_probe_that_never_reports_back_is_followed_by_another(clock: FakeClock) -> None:
    here = opened(clock)
    clock.advance(10)
    here.enter()

    clock.advance(10)

    assert here.enter() == "probe"


@pytest.mark.parametrize("outcome", [None, AWAY], ids=["answered", "away"])
def test_calls_from_before_it_opened_say_nothing_of_the_time_since(
    clock: FakeClock, outcome: GatewayError | None
) -> None:
    here = opened(clock)
    clock.advance(9)

    here.report(outcome)

    assert not here.is_closed
    clock.advance(1)
    assert here.enter() == "probe"


def test_it_can_be_switched_off(clock: FakeClock) -> None:
    here = circuit(clock, most_failures=0)

    assert not any(here.report(AWAY) for _ in range(50))

    assert here.enter() == "ordinary"
