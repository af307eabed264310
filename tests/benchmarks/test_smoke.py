"""The benchmark itself, small: the real service between mock and load generator."""

from collections.abc import Mapping

import pytest

from benchmarks.results import Conditions, Line, Measurement, WorkerMemory
from benchmarks.session import Plan, run_session
from benchmarks.targets import TARGETS, Peer, Target


def run_small(targets: Mapping[str, Target], *scenarios: str, weighs_workers: bool = False) -> list[Line]:
    lines: list[Line] = []
    plan = Plan(
        targets=targets,
        scenarios=scenarios,
        rounds=1,
        seconds=0.2,
        most_requests=64,
        weighs_workers=weighs_workers,
    )
    run_session(plan, lines.append)
    return lines


def test_a_session_finds_no_fault_and_no_run_that_outlives_its_client() -> None:
    _, weighed, checked, left = run_small(
        {"opendify": TARGETS["opendify"]}, "check", "leave", weighs_workers=True
    )

    assert isinstance(checked, Measurement)
    assert (checked.errors, checked.short, checked.faults) == (0, 0, [])
    assert checked.requests >= 32
    assert checked.pieces == checked.requests * 40
    assert checked.target_cpu_seconds > 0
    assert isinstance(left, Measurement)
    assert left.left >= 32
    assert (left.errors, left.runs_on) == (0, 0)
    assert left.runs_stopped + left.runs_aborted == left.left
    assert isinstance(weighed, WorkerMemory)
    assert weighed.first_mb > weighed.further_mb > 0


def test_a_target_that_is_not_there_is_skipped_by_name() -> None:
    nowhere = Peer("http://127.0.0.1:1/v1/chat/completions")

    (conditions,) = run_small({"peer": nowhere.serve}, "check")

    assert isinstance(conditions, Conditions)
    assert "serves http://127.0.0.1:1/" in conditions.skipped["peer"]


def test_the_stand_ins_answer_as_they_are_asked() -> None:
    pytest.importorskip("fastapi")
    names = ("stand-in-fastapi", "stand-in-flask")

    _, *runs = run_small({name: TARGETS[name] for name in names}, "check", "block")

    assert [(run.target, run.faults) for run in runs if isinstance(run, Measurement)] == [
        (name, []) for _ in range(2) for name in names
    ]
