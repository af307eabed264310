"""Where a request's time goes: each stage gets its own, whatever lies within it."""

import time
from collections.abc import Iterator

from benchmarks.stages import DOORS, Stage, StageClock, measured_doors, table

A_MILLISECOND = 1_000_000


def work(milliseconds: float) -> None:
    until = time.thread_time_ns() + milliseconds * A_MILLISECOND
    while time.thread_time_ns() < until:
        pass


def test_time_counts_for_the_stage_whose_door_was_entered_last() -> None:
    clock = StageClock()
    clock.begin_request()
    inner = clock.around(lambda: work(20), "inner")

    def outside() -> None:
        work(10)
        inner()
        work(10)

    clock.around(outside, "outer")()
    (times,) = clock.requests

    assert 20 <= times["inner"] / A_MILLISECOND < 30
    assert 20 <= times["outer"] / A_MILLISECOND < 30


def test_of_a_generator_each_step_counts_and_what_its_reader_does_does_not() -> None:
    clock = StageClock()
    clock.begin_request()

    def steps() -> Iterator[int]:
        for each in range(3):
            work(5)
            yield each

    read = []
    for step in clock.around(steps, "steps")():
        work(20)
        read.append(step)
    (times,) = clock.requests

    assert read == [0, 1, 2]
    assert 15 <= times["steps"] / A_MILLISECOND < 25


def test_all_doors_are_where_requests_pass_and_are_as_before_afterwards() -> None:
    with measured_doors(StageClock()) as kept:
        assert all(getattr(owner, name) is not function for (owner, name), function in kept.items())

    assert len(kept) == len(DOORS)
    assert all(getattr(owner, name) is function for (owner, name), function in kept.items())


def test_the_table_has_each_stage_and_the_whole() -> None:
    lines = list(table("streamed", [dict.fromkeys(Stage, each) for each in (9.0, 10.0, 50.0)]))

    assert lines[2:-1] == [f"| {stage} | 10 | {1 / len(Stage):.0%} |" for stage in Stage]
    assert lines[-1] == f"| the whole request | {10 * len(Stage)} | |"
