"""How the benchmark sums up its runs."""

from pathlib import Path

import pytest

from benchmarks.report import build_report, is_harness_bound, replace_report
from benchmarks.results import (
    Conditions,
    Line,
    Measurement,
    WorkerMemory,
    append_line,
    percentile,
    read_lines,
)
from tests.fakes.benchmark_runs import measured

CONDITIONS = Conditions(
    at="2026-01-02T03:04:05+00:00",
    commit="abc1234",
    cores=2,
    processor="a processor",
    python="3.11.7",
    versions={"flask": "3.1.3"},
    rounds=3,
    seconds=1.0,
    load_average=0.5,
    skipped={"peer": "not installed"},
)


def test_a_table_shows_medians_ranges_and_ratios_of_the_same_round() -> None:
    runs = [measured("opendify", number, us=us * 10) for number, us in ((1, 1.0), (2, 2.0), (3, 9.0))] + [
        measured("nginx", number, us=us) for number, us in ((1, 1.0), (2, 2.0), (3, 3.0))
    ]

    report = build_report([CONDITIONS, *runs])

    assert "| opendify | 20.0 (10.0 to 90.0) | 10.0 (10.0 to 30.0) |" in report
    assert "commit abc1234" in report
    assert "Skipped: peer (not installed)." in report


def test_columns_that_say_nothing_are_left_out() -> None:
    report = build_report([measured("opendify")])

    assert "| target | CPU µs per piece | core |" in report
    assert "of nginx" not in report
    assert "lag" not in report


@pytest.mark.parametrize(
    ("own", "alone_p99", "expected"),
    [
        ([measured("opendify", p99=50.0)], 5.0, False),
        ([measured("opendify", p99=8.0)], 5.0, True),
        ([measured("opendify", p99=50.0, bound=True)], 5.0, True),
        ([measured("opendify", n, p99=50.0, bound=n == 1) for n in (1, 2, 3)], 5.0, False),
    ],
    ids=["far", "as late as alone", "harness as busy", "busy in one round of three"],
)
def test_a_target_that_the_harness_held_up_is_marked(
    own: list[Measurement], alone_p99: float, expected: bool
) -> None:
    assert is_harness_bound(own, [*own, measured("mock", p99=alone_p99)]) is expected


def test_a_target_whose_core_strangers_used_is_marked() -> None:
    report = build_report([measured("nginx", others=0.1), measured("opendify", others=0.6)])

    assert report.count("disturbed") == 1
    assert "| 0 / 0 | disturbed |" in report


def test_the_load_generator_is_no_stranger_to_the_mock() -> None:
    assert "disturbed" not in build_report([measured("mock", others=0.3)])


def test_the_last_session_of_a_file_is_read_whatever_came_before(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_bytes(b'{"type":"conditions","at":"of an older format"}\n')
    lines: list[Line] = [CONDITIONS, measured("nginx"), measured("opendify")]
    for line in lines:
        append_line(results, line)

    assert read_lines(results) == lines


def test_what_a_target_adds_is_more_than_the_same_round_has_without_it() -> None:
    runs = [measured("opendify", n, scenario="paced", lag=lag) for n, lag in ((1, 5.0), (2, 9.0))]
    alone = [measured("mock", n, scenario="paced", lag=lag) for n, lag in ((1, 1.0), (2, 3.0))]

    report = build_report([*runs, *alone])

    assert "| added first piece ms | lag ms | added lag ms |" in report
    assert "| 0.0 / 0.0 | 0.7 / 7.0 | 0.5 / 5.0 |" in report


def test_memory_is_told_for_each_stream_that_was_open() -> None:
    report = build_report([measured("opendify", scenario="idle", clients=250)])

    assert "| MB | MB grown | streams | KB a stream |" in report
    assert "| 50 | 10.0 | 250 | 40 |" in report


def test_what_became_of_those_who_left_is_told() -> None:
    report = build_report([measured("opendify", scenario="leave")])

    assert "| left: stopped / aborted / ran on |" in report
    assert "| 100: 60 / 39 / 1 |" in report


def test_the_most_streams_that_were_held_are_told() -> None:
    runs = [
        measured("opendify", scenario="max", clients=clients, lag=lag)
        for clients, lag in ((100, 9.0), (200, 60.0), (150, 20.0))
    ]
    alone = [measured("mock", scenario="max", clients=200, lag=1.0)]
    peer = [measured("peer", scenario="max", clients=50, errors=1)]

    report = build_report([*runs, *peer, *alone])

    assert "| opendify | 150 | 2.0 / 20.0 | 1.0 / 5.0 | 0.20 | 10.0 | harness-bound |" in report
    assert "| peer | 0 |  |  |  |  |  |" in report
    assert "| mock | 200 | 0.1 / 1.0 |" in report


def test_workers_are_weighed_in_a_sentence() -> None:
    report = build_report([WorkerMemory(first_mb=60.7, further_mb=12.34)])

    assert "takes 61 MB with one worker (master and worker, PSS), and 12.3 MB more" in report


def test_a_report_takes_the_place_of_the_one_before() -> None:
    document = "# Costs\n<!-- results -->\nold\n<!-- end of results -->\nend\n"

    replaced = replace_report(document, "new\n")

    assert replaced == "# Costs\n<!-- results -->\n\nnew\n\n<!-- end of results -->\nend\n"
    assert replace_report(replaced, "new\n") == replaced


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="has no <!-- results -->"):
        replace_report("# Costs", "new")


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 2.0), (99, 3.0)])
def test_percentiles_are_values_that_occurred(percent: float, expected: float) -> None:
    assert percentile([3.0, 1.0, 2.0], percent) == expected


def test_nothing_has_a_percentile_of_nought() -> None:
    assert percentile([], 99) == 0.0
