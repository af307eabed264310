"""Measurements as Markdown: medians, ranges, ratios to nginx."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

from benchmarks.results import Conditions, Line, Measurement, measurements
from benchmarks.scenarios import SCENARIOS, Scenario

_REFERENCE = "nginx"
_DIRECT = "mock"
_NEAR = 0.5
_DISTURBING = 0.25


def build_report(lines: Sequence[Line]) -> str:
    """One paragraph of conditions, and one table a scenario."""
    parts = [_describe(line) for line in lines if isinstance(line, Conditions)]
    runs = list(measurements(lines))
    parts += [
        _build_table(SCENARIOS[name], [run for run in runs if run.scenario == name])
        for name in dict.fromkeys(run.scenario for run in runs)
    ]
    return "\n\n".join(parts) + "\n"


def _describe(conditions: Conditions) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    skipped = "".join(f" Skipped: {name} ({reason})." for name, reason in conditions.skipped.items())
    return (
        f"{conditions.at[:10]}, commit {conditions.commit or 'unknown'}, {conditions.cores} cores, "
        f"Python {conditions.python}, {versions}; {conditions.rounds} rounds of {conditions.seconds:g} s, "
        f"load average at the start {conditions.load_average:.1f}.{skipped}"
    )


def _build_table(scenario: Scenario, runs: Sequence[Measurement]) -> str:
    rows = [_build_row(target, scenario, runs) for target in dict.fromkeys(run.target for run in runs)]
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
    ratios = list(_ratios(own, [run for run in runs if run.target == _REFERENCE], unit))

    def middle(value: Callable[[Measurement], float]) -> float:
        return median(map(value, own))

    return {
        "target": target,
        f"CPU µs per {unit}": _ranged(costs),
        f"of {_REFERENCE}": _ranged(ratios) if target != _REFERENCE else "",
        "core": f"{middle(lambda run: run.target_cpu_seconds / run.seconds):.2f}",
        "others": f"{middle(_others):.2f}",
        "requests/s": f"{middle(lambda run: run.requests_per_second):,.0f}",
        "pieces/read": f"{middle(lambda run: run.pieces / max(1, run.reads)):.1f}",
        "first piece ms": _pair(
            middle(lambda run: run.first_piece_ms_p50), middle(lambda run: run.first_piece_ms_p99)
        ),
        "whole ms": _pair(middle(lambda run: run.whole_ms_p50), middle(lambda run: run.whole_ms_p99)),
        "lag ms": _pair(middle(lambda run: run.lag_ms_p50), middle(lambda run: run.lag_ms_p99))
        if scenario.stamped
        else "",
        "MB": f"{middle(lambda run: run.memory_mb):.0f}",
        "errors / short": f"{sum(run.errors for run in own)} / {sum(run.short for run in own)}",
        "left": f"{sum(run.left for run in own)}" if scenario.leaves_after else "",
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


def _ratios(own: Sequence[Measurement], reference: Sequence[Measurement], unit: str) -> Iterator[float]:
    """Within each round, since rounds differ by what else the machine does."""
    base = {run.round: _cost(run, unit) for run in reference}
    for run in own:
        if base.get(run.round):
            yield _cost(run, unit) / base[run.round]


def _cost(run: Measurement, unit: str) -> float:
    return run.us_per_piece if unit == "piece" else run.us_per_request


def _pair(half_ms: float, most_ms: float) -> str:
    return f"{half_ms:.1f} / {most_ms:.1f}"


def _ranged(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{_rounded(median(values))} ({_rounded(min(values))} to {_rounded(max(values))})"


def _rounded(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
