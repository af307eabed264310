"""How the benchmark finds the most streams that a target holds."""

from collections.abc import Callable, Iterator

import pytest

from benchmarks.maximum import find_most, is_held
from benchmarks.results import Measurement
from tests.fakes.benchmark_runs import measured


def holding(most: int) -> Callable[[int], Measurement]:
    def measure(clients: int) -> Measurement:
        return measured("a", scenario="max", clients=clients, lag=10.0 if clients <= most else 90.0)

    return measure


@pytest.mark.parametrize("most", [1, 7, 49, 50, 51, 199, 1_000, 12_799])
def test_the_most_is_found_to_a_tenth(most: int) -> None:
    tried = list(find_most(holding(most)))

    found = max(run.clients for run in tried if is_held(run))
    assert 0.9 * most <= found <= most
    assert len(tried) < 40


def test_a_target_that_holds_nothing_ends_the_search() -> None:
    assert [run.clients for run in find_most(holding(0))] == [50, 50, 25, 25, 12, 12, 6, 6, 3, 3, 1, 1]


def test_one_failure_may_be_the_machine() -> None:
    outcomes: Iterator[float] = iter([90.0, 10.0])

    def measure(clients: int) -> Measurement:
        return measured("a", scenario="max", clients=clients, lag=next(outcomes, 90.0))

    tried = list(find_most(measure))

    assert max(run.clients for run in tried if is_held(run)) == 50


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (measured("a", lag=49.9, p99=499.9), True),
        (measured("a", lag=50.0), False),
        (measured("a", p99=500.0), False),
        (measured("a", errors=1), False),
        (measured("a", pieces_due=21_000), True),
        (measured("a", pieces_due=22_000), False),
    ],
    ids=["in time", "late pieces", "late first pieces", "errors", "as many as are due", "too few"],
)
def test_streams_are_held_when_all_their_pieces_come_in_time(run: Measurement, expected: bool) -> None:
    assert is_held(run) is expected
