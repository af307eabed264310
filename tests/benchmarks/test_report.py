"""How the benchmark sums up its runs."""

from pathlib import Path

import pytest

from benchmarks.report import build_report, is_harness_bound
from benchmarks.results import (
    Conditions,
    Line,
    Measurement,
    append_line,
    percentile,
    read_lines,
)

CONDITIONS = Conditions(
    at="2026-01-02T03:04:05+00:00",
    commit="abc1234",
    cores=2,
    python="3.11.7",
    versions={"flask": "3.1.3"},
    rounds=3,
    seconds=1.0,
    load_average=0.5,
    skipped={"peer": "not installed"},
)


def run(
    target: str,
    number: int = 1,
    *,
    us: float = 10.0,
    p99: float = 5.0,
    bound: bool = False,
    others: float = 0.0,
) -> Measurement:
    return Measurement(
        target=target,
        scenario="burst",
        round=number,
        seconds=1.0,
        requests=100,
        pieces=20_000,
        reads=1_000,
        errors=0,
        short=0,
        faults=[],
        target_cpu_seconds=us / 50,
        mock_cpu_seconds=0.1,
        load_cpu_seconds=0.1,
        others_cpu_seconds=others,
        us_per_piece=us,
        us_per_request=us * 200,
        requests_per_second=100.0,
        first_piece_ms_p50=1.0,
        first_piece_ms_p99=p99,
        whole_ms_p50=3.0,
        whole_ms_p99=9.0,
        lag_ms_p50=0.0,
        lag_ms_p99=0.0,
        memory_mb_before=40.0,
        memory_mb=50.0,
        left=0,
        harness_bound=bound,
    )


def test_a_table_shows_medians_ranges_and_ratios_of_the_same_round() -> None:
    runs = [run("opendify", number, us=us * 10) for number, us in ((1, 1.0), (2, 2.0), (3, 9.0))] + [
        run("nginx", number, us=us) for number, us in ((1, 1.0), (2, 2.0), (3, 3.0))
    ]

    report = build_report([CONDITIONS, *runs])

    assert "| opendify | 20.0 (10.0 to 90.0) | 10.0 (10.0 to 30.0) |" in report
    assert "commit abc1234" in report
    assert "Skipped: peer (not installed)." in report


def test_columns_that_say_nothing_are_left_out() -> None:
    report = build_report([run("opendify")])

    assert "| target | CPU µs per piece | core |" in report
    assert "of nginx" not in report
    assert "lag" not in report


@pytest.mark.parametrize(
    ("own", "alone_p99", "expected"),
    [
        ([run("opendify", p99=50.0)], 5.0, False),
        ([run("opendify", p99=8.0)], 5.0, True),
        ([run("opendify", p99=50.0, bound=True)], 5.0, True),
        ([run("opendify", n, p99=50.0, bound=n == 1) for n in (1, 2, 3)], 5.0, False),
    ],
    ids=["far", "as late as alone", "harness as busy", "busy in one round of three"],
)
def test_a_target_that_the_harness_held_up_is_marked(
    own: list[Measurement], alone_p99: float, expected: bool
) -> None:
    assert is_harness_bound(own, [*own, run("mock", p99=alone_p99)]) is expected


def test_a_target_whose_core_strangers_used_is_marked() -> None:
    report = build_report([run("nginx", others=0.1), run("opendify", others=0.6)])

    assert report.count("disturbed") == 1
    assert "| 0 / 0 | disturbed |" in report


def test_the_load_generator_is_no_stranger_to_the_mock() -> None:
    assert "disturbed" not in build_report([run("mock", others=0.3)])


def test_the_last_session_of_a_file_is_read_whatever_came_before(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_bytes(b'{"type":"conditions","at":"of an older format"}\n')
    lines: list[Line] = [CONDITIONS, run("nginx"), run("opendify")]
    for line in lines:
        append_line(results, line)

    assert read_lines(results) == lines


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 2.0), (99, 3.0)])
def test_percentiles_are_values_that_occurred(percent: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 2.0], percent) == expected


def test_nothing_has_a_percentile_of_nought() -> None:
    assert percentile([], 99) == 0.0
