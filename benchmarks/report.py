"""Measurements as Markdown: medians, ranges, ratios to nginx."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from statistics import median
from typing import Literal

from benchmarks.maximum import is_held
from benchmarks.results import Conditions, Line, Measurement, WorkerMemory, measurements
from benchmarks.scenarios import SCENARIOS, Scenario, many_streams

_REFERENCES = ("nginx", "opendify-httpx", "stand-in-fastapi")
_DIRECT = "mock"
# What no server of applications can be; to compare these with one says nothing.
_BOUNDS = ("nginx", _DIRECT)
_MAX_COLUMNS = ("lag ms", "first piece ms", "core", "CPU µs per piece", "note")
_START, _END = "<!-- results -->", "<!-- end of results -->"
_NEAR = 0.5
_DISTURBING = 0.25


def build_report(lines: Sequence[Line]) -> str:
    """One paragraph of conditions, and one table a scenario."""
    parts = [_describe(line) for line in lines if isinstance(line, Conditions)]
    parts += [_describe_workers(line) for line in lines if isinstance(line, WorkerMemory)]
    runs = list(measurements(lines))
    for name in dict.fromkeys(run.scenario for run in runs):
        own = [run for run in runs if run.scenario == name]
        parts.append(_build_table(SCENARIOS[name], own) if name in SCENARIOS else _build_max_table(own))
    return "\n\n".join(parts) + "\n"


def replace_report(document: str, report: str) -> str:
    """The document with this report in place of the one between its two marks.

    Raises:
        ValueError: It has no such marks.
    """
    before, start, rest = document.partition(_START)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"the document has no {_START} and {_END}")
    return f"{before}{start}\n\n{report}\n{end}{after}"


def _describe(conditions: Conditions) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    skipped = "".join(f" Skipped: {name} ({reason})." for name, reason in conditions.skipped.items())
    return (
        f"{conditions.at[:10]}, commit {conditions.commit or 'unknown'}, {conditions.cores} cores "
        f"({conditions.processor}), "
        f"Python {conditions.python}, {versions}; {conditions.rounds} rounds of {conditions.seconds:g} s, "
        f"load average at the start {conditions.load_average:.1f}.{skipped}"
    )


def _describe_workers(memory: WorkerMemory) -> str:
    return (
        f"An idle server takes {memory.first_mb:.0f} MB with one worker (master and worker, PSS), "
        f"and {memory.further_mb:.1f} MB more with each further one."
    )


def _build_table(scenario: Scenario, runs: Sequence[Measurement]) -> str:
    rows = [_build_row(target, scenario, runs) for target in dict.fromkeys(run.target for run in runs)]
    return _table(scenario, rows)


def _build_max_table(runs: Sequence[Measurement]) -> str:
    """The largest number of streams that each target held, and how it did with them."""
    rows = [_build_max_row(target, runs) for target in dict.fromkeys(run.target for run in runs)]
    return _table(many_streams(0), rows)


def _build_max_row(target: str, runs: Sequence[Measurement]) -> Mapping[str, str]:
    most = _most_held(target, runs)
    if most is None:
        return {"target": target, "streams": "0", **dict.fromkeys(_MAX_COLUMNS, "")}
    alone = _most_held(_DIRECT, runs)
    is_bound = alone is not None and target != _DIRECT and _NEAR * alone.clients < most.clients
    cells = (
        _pair(most.lag_ms_p50, most.lag_ms_p99),
        _pair(most.first_piece_ms_p50, most.first_piece_ms_p99),
        f"{most.target_cpu_seconds / most.seconds:.2f}",
        _rounded(most.us_per_piece),
        "harness-bound" if is_bound else "",
    )
    return {"target": target, "streams": f"{most.clients:,}", **dict(zip(_MAX_COLUMNS, cells, strict=True))}


def _most_held(target: str, runs: Sequence[Measurement]) -> Measurement | None:
    held = [run for run in runs if run.target == target and is_held(run)]
    return max(held, key=lambda run: run.clients, default=None)


def _table(scenario: Scenario, rows: Sequence[Mapping[str, str]]) -> str:
    """Without the columns that are empty in all rows."""
    columns = [column for column in rows[0] if any(row[column] for row in rows)]
    lines = [
        f"### `{scenario.name}`: {scenario.read_it_for}",
        "",
        f"| {' | '.join(columns)} |",
        f"| --- |{' ---: |' * (len(columns) - 1)}",
    ]
    lines += [f"| {' | '.join(row[column] for column in columns)} |" for row in rows]
    return "\n".join(lines)


def _build_row(target: str, scenario: Scenario, runs: Sequence[Measurement]) -> Mapping[str, str]:
    """What the columns show; those that are empty in all rows are left out."""
    unit = scenario.unit
    own = [run for run in runs if run.target == target]
    costs = [_cost(run, unit) for run in own]
    alone = {run.round: run for run in runs if run.target == _DIRECT and target != _DIRECT}

    def middle(value: Callable[[Measurement], float]) -> float:
        return median(map(value, own))

    return {
        "target": target,
        f"CPU µs per {unit}": _ranged(costs),
        **{f"of {name}": _ranged(_ratios(own, name, runs, unit)) for name in _REFERENCES},
        "core": f"{middle(lambda run: run.target_cpu_seconds / run.seconds):.2f}",
        "others": f"{middle(_others):.2f}",
        "requests/s": f"{middle(lambda run: run.requests_per_second):,.0f}",
        "pieces/read": f"{middle(lambda run: run.pieces / max(1, run.reads)):.1f}",
        "first piece ms": _pair(
            middle(lambda run: run.first_piece_ms_p50), middle(lambda run: run.first_piece_ms_p99)
        ),
        "whole ms": _pair(middle(lambda run: run.whole_ms_p50), middle(lambda run: run.whole_ms_p99))
        if any(run.whole_ms_p50 for run in own)
        else "",
        "added first piece ms": _added(own, alone, "first_piece_ms") if scenario.stamped else "",
        "lag ms": _pair(middle(lambda run: run.lag_ms_p50), middle(lambda run: run.lag_ms_p99))
        if scenario.stamped
        else "",
        "added lag ms": _added(own, alone, "lag_ms") if scenario.stamped else "",
        "MB": f"{middle(lambda run: run.memory_mb):.0f}",
        "MB grown": f"{middle(_grown_mb):.1f}" if scenario.starts_fresh else "",
        "streams": f"{middle(lambda run: run.live):.0f}" if scenario.is_cut else "",
        "KB a stream": f"{middle(lambda run: 1e3 * _grown_mb(run) / max(1, run.live)):.0f}"
        if scenario.is_cut
        else "",
        "errors / short": f"{sum(run.errors for run in own)} / {sum(run.short for run in own)}",
        "left: stopped / aborted / ran on": _fates(own) if scenario.leaves_after else "",
        "note": ", ".join(_notes(own, runs)),
    }


def _notes(own: Sequence[Measurement], runs: Sequence[Measurement]) -> Iterator[str]:
    if is_harness_bound(own, runs):
        yield "harness-bound"
    if median(map(_others, own)) > _DISTURBING:
        yield "disturbed"


def _others(run: Measurement) -> float:
    """Part of the target's core; the load generator shares the mock's own and is no stranger there."""
    own = run.load_cpu_seconds if run.target == _DIRECT else 0.0
    return max(0.0, run.others_cpu_seconds - own) / run.seconds


def is_harness_bound(own: Sequence[Measurement], runs: Sequence[Measurement]) -> bool:
    """Whether mock and load generator, not the target, set the pace.

    In most rounds they were nearly as busy as the target, or their first pieces come
    nearly as late without it.
    """
    if own[0].target == _DIRECT:
        return False
    if 2 * sum(run.harness_bound for run in own) > len(own):
        return True
    alone = [run.first_piece_ms_p99 for run in runs if run.target == _DIRECT]
    return bool(alone) and median(alone) > _NEAR * median(run.first_piece_ms_p99 for run in own)


def _ratios(
    own: Sequence[Measurement], reference: str, runs: Sequence[Measurement], unit: str
) -> Sequence[float]:
    """Within each round, since rounds differ by what else the machine does."""
    if own[0].target in (reference, *_BOUNDS):
        return []
    base = {run.round: _cost(run, unit) for run in runs if run.target == reference}
    return [_cost(run, unit) / base[run.round] for run in own if base.get(run.round)]


def _added(
    own: Sequence[Measurement],
    alone: Mapping[int, Measurement],
    figure: Literal["first_piece_ms", "lag_ms"],
) -> str:
    """What the same round's figure without a target does not explain; nothing where there is none."""

    if not alone:
        return ""
    half, most = attrgetter(f"{figure}_p50"), attrgetter(f"{figure}_p99")
    return _pair(*(median(value(run) - value(alone[run.round]) for run in own) for value in (half, most)))


def _fates(own: Sequence[Measurement]) -> str:
    fates = (
        sum(run.left for run in own),
        sum(run.runs_stopped for run in own),
        sum(run.runs_aborted for run in own),
        sum(run.runs_on for run in own),
    )
    return "{}: {} / {} / {}".format(*fates)


def _grown_mb(run: Measurement) -> float:
    return run.memory_mb - run.memory_mb_before


def _cost(run: Measurement, unit: str) -> float:
    return run.us_per_piece if unit == "piece" else run.us_per_request


def _pair(half_ms: float, most_ms: float) -> str:
    return f"{half_ms:.1f} / {most_ms:.1f}"


def _ranged(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{_rounded(median(values))} ({_rounded(min(values))} to {_rounded(max(values))})"


def _rounded(value: float) -> str:
    decimals = 2 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"
