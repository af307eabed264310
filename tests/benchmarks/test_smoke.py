"""The benchmark itself, small: the real service between mock and load generator."""

from benchmarks.results import Conditions, Line, Measurement
from benchmarks.session import Plan, run_session


def test_a_session_of_check_finds_no_fault() -> None:
    lines: list[Line] = []
    plan = Plan(targets=["opendify"], scenarios=["check"], rounds=1, seconds=0.2, most_requests=64)

    run_session(plan, lines.append)

    conditions, measured = lines
    assert isinstance(conditions, Conditions)
    assert isinstance(measured, Measurement)
    assert (measured.errors, measured.short, measured.faults) == (0, 0, [])
    assert measured.requests >= 32
    assert measured.pieces == measured.requests * 40
    assert measured.target_cpu_seconds > 0
