"""Measurements as Markdown: medians, ranges, ratios to nginx."""

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.results import Conditions, Line, Measurement, measurements
from benchmarks.scenarios import SCENARIOS, Scenario

_REFERENCE = "nginx"
_DIRECT = "mock"
_NEAR = 0.5


def build_report(lines: Sequence[Line]) -> str:
    """One paragraph of conditions, and one table a scenario."""
    parts = [_describe(line) for line in lines if isinstance(line, Conditions)]
    runs = list(measurements(lines))
    for name in dict.fromkeys(run.scenario for run in runs):
        parts.append(_build_table(SCENARIOS[name], [run for run in runs if run.scenario == name]))
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
    unit = scenario.unit
    rows = [
        f"### `{scenario.name}`: {scenario.read_it_for}",
        "",
        f"| target | CPU µs per {unit} | × nginx | requests/s | pieces/read | first piece ms p50 / p99 "
        "| whole ms p50 / p99 | MB | errors / short | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    targets = dict.fromkeys(run.target for run in runs)
    rows += [_build_row(target, unit, runs) for target in targets]
    return "\n".join(rows)


def _build_row(target: str, unit: str, runs: Sequence[Measurement]) -> str:
    own = [run for run in runs if run.target == target]
    costs = [_cost(run, unit) for run in own]
    ratios = list(_ratios(own, [run for run in runs if run.target == _REFERENCE], unit))
    cells = (
        target,
        f"{_short(median(costs))} [{_short(min(costs))}–{_short(max(costs))}]",
        f"{median(ratios):.1f}" if ratios else "–",
        f"{median(run.requests_per_second for run in own):,.0f}",
        f"{median(run.pieces / max(1, run.reads) for run in own):.1f}",
        f"{median(run.first_piece_ms_p50 for run in own):.1f} / "
        f"{median(run.first_piece_ms_p99 for run in own):.1f}",
        f"{median(run.whole_ms_p50 for run in own):.1f} / {median(run.whole_ms_p99 for run in own):.1f}",
        f"{median(run.memory_mb for run in own):.0f}",
        f"{sum(run.errors for run in own)} / {sum(run.short for run in own)}",
        "harness-bound" if is_harness_bound(own, runs) else "",
    )
    return f"| {' | '.join(cells)} |"


def is_harness_bound(own: Sequence[Measurement], runs: Sequence[Measurement]) -> bool:
    """Whether mock and load generator, not the target, set the pace.

    In most rounds they were nearly as busy as the target, or answered alone nearly
    as late as through it.
    """
    if own[0].target == _DIRECT:
        return False
    if 2 * sum(run.harness_bound for run in own) > len(own):
        return True
    alone = [run.whole_ms_p99 for run in runs if run.target == _DIRECT]
    return bool(alone) and median(alone) > _NEAR * median(run.whole_ms_p99 for run in own)


def _ratios(
    own: Sequence[Measurement], reference: Sequence[Measurement], unit: str
) -> Iterator[float]:
    """Within each round, since rounds differ by what else the machine does."""
    base = {run.round: _cost(run, unit) for run in reference}
    for run in own:
        if base.get(run.round):
            yield _cost(run, unit) / base[run.round]


def _cost(run: Measurement, unit: str) -> float:
    return run.us_per_piece if unit == "piece" else run.us_per_request


def _short(microseconds: float) -> str:
    return f"{microseconds:.1f}" if microseconds < 100 else f"{microseconds:,.0f}"
