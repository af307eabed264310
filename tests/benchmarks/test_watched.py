"""What being watched costs, as far as that can be said without measuring."""

import pytest

from benchmarks.results import Measurement
from benchmarks.watched import OFF, ON, collecting, faults, more_by_round, more_work, shown, watched_settings
from tests.fakes.benchmark_runs import measured
from tests.fakes.settings import make_settings


def _run(scenario: str, number: int, target: str, microseconds: float) -> Measurement:
    return measured(target, number, scenario=scenario, us=microseconds)


def test_each_round_is_compared_with_itself() -> None:
    runs = [
        _run("short", 1, OFF, 1_000),
        _run("short", 1, ON, 1_100),
        _run("short", 2, OFF, 2_000),
        _run("short", 2, ON, 2_600),
        _run("burst", 1, ON, 3_300),
        _run("burst", 1, OFF, 3_000),
    ]

    more = more_by_round(runs)

    assert {name: [round(share, 3) for share in shares] for name, shares in more.items()} == {
        "burst": [0.1],
        "short": [0.1, 0.3],
    }


def test_more_than_may_be_is_a_fault() -> None:
    assert list(faults({"burst": [0.09, 0.10, 0.5], "short": [0.14, 0.16, 0.17]})) == [
        "short: 16.0% more time, where 15% may be"
    ]
    assert list(faults({"short": [0.0]}, work=0.2)) == ["short: 20.0% more instructions, where 15% may be"]


def test_the_middle_and_the_range_of_the_rounds_are_told() -> None:
    assert shown([0.3, 0.1, 0.2, -0.1, 0.0]) == (
        "+10.0% (half of the rounds +0.0% to +20.0%, all -10.0% to +30.0%)"
    )


def test_work_is_compared_with_that_of_who_is_not_watched() -> None:
    assert more_work({OFF: 2_000_000, ON: 2_200_000}) == pytest.approx(0.1)


def test_everything_is_on() -> None:
    with collecting() as collector:
        told = make_settings(**watched_settings(collector))

    assert told.metrics.enabled
    assert told.logs.requests
    assert told.tracing.enabled
    assert told.sentry.dsn
