"""A request takes no more calls than it did, by more than a tenth."""

import os
import platform
import subprocess
import sys

import pytest

from benchmarks.calls import KINDS, compare, read_baseline
from benchmarks.processes import PROJECT


@pytest.mark.skipif(platform.python_version_tuple()[:2] != ("3", "11"), reason="others count other calls")
def test_a_request_takes_about_as_many_calls_as_is_kept() -> None:
    # A process of its own: the worker that it runs, and what counts, are the whole process's.
    counted = subprocess.run(
        [sys.executable, "-m", "benchmarks.calls"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert counted.returncode == 0, counted.stdout + counted.stderr


@pytest.mark.parametrize(
    ("calls", "fault"),
    [(1_100, None), (1_101, "a whole request takes 1,101 calls, 10% more than 1,000")],
    ids=["a tenth", "more than a tenth"],
)
def test_a_request_may_take_a_tenth_more_than_before(calls: int, fault: str | None) -> None:
    assert list(compare({"whole": calls}, {"whole": 1_000})) == ([fault] if fault else [])


def test_the_measure_that_is_kept_has_all_that_is_counted() -> None:
    assert tuple(read_baseline()) == KINDS
