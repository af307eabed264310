"""Trying again has an end, and all who do it together have one too."""

import pytest

from opendify.dify.retries import Retries, RetryBudget
from tests.fakes.clocks import FakeClock


def retries(
    budget: RetryBudget | None = None,
    *,
    most: int = 2,
    within_seconds: float = 5,
    clock: FakeClock | None = None,
    jitter: float = 0.5,
) -> Retries:
    return Retries(
        budget or RetryBudget(),
        most=most,
        within_seconds=within_seconds,
        clock=clock or FakeClock(),
        jitter=lambda: jitter,
    )


def test_pauses_grow_and_end() -> None:
    here = retries(most=3)

    assert [here.next_pause() for _ in range(5)] == [0.25, 0.75, 2.25, None, None]


@pytest.mark.parametrize(("jitter", "pause"), [(0.0, 0.125), (1.0, 0.375)], ids=["least", "most"])
def test_pauses_differ_so_that_not_all_come_back_together(jitter: float, pause: float) -> None:
    assert retries(jitter=jitter).next_pause() == pause


def test_no_try_begins_after_the_time() -> None:
    clock = FakeClock()
    here = retries(most=9, within_seconds=5, clock=clock)
    here.next_pause()

    clock.advance(4.5)

    assert here.next_pause() is None, "0.75 s from then would be too late"


def test_none_is_allowed_where_none_is_wanted() -> None:
    assert retries(most=0).next_pause() is None


@pytest.mark.parametrize(("requests", "allowed"), [(1, 3), (10, 3), (15, 3), (40, 8), (100, 20)])
def test_a_fifth_of_the_requests_may_try_again_at_once_and_three_always(requests: int, allowed: int) -> None:
    budget = RetryBudget()
    running = [retries(budget) for _ in range(max(requests, 10))]
    for here in running[requests:]:
        here.close()

    pauses = [here.next_pause() for here in running[:requests]]

    assert sum(pause is not None for pause in pauses) == min(allowed, requests)


def test_who_got_through_gives_room_to_the_next() -> None:
    budget = RetryBudget()
    running = [retries(budget) for _ in range(5)]
    assert [here.next_pause() is None for here in running] == [False, False, False, True, True]

    running[0].end_try()
    running[1].close()

    assert [here.next_pause() is None for here in running[3:]] == [False, False]


def test_a_request_that_tries_a_second_time_counts_once() -> None:
    budget = RetryBudget()
    here, *others = (retries(budget) for _ in range(3))
    here.next_pause()
    here.next_pause()

    assert all(other.next_pause() is not None for other in others)


def test_what_is_closed_twice_gives_back_once() -> None:
    budget = RetryBudget()
    running = [retries(budget) for _ in range(20)]
    running[0].next_pause()

    for _ in range(2):
        for here in running[:5]:
            here.close()

    assert sum(here.next_pause() is not None for here in running[5:]) == 3, "a fifth of fifteen"
