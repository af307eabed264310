"""`python -m benchmarks`: measure, keep the lines, print the tables."""

import signal
import sys
from pathlib import Path
from types import FrameType

import click

from benchmarks.plot import build_plot
from benchmarks.processes import PROJECT, CannotStart, raise_file_limit
from benchmarks.report import build_report, replace_report
from benchmarks.results import Line, Measurement, append_line, read_lines
from benchmarks.scenarios import SCENARIOS, USUAL
from benchmarks.session import Plan, run_session
from benchmarks.targets import TARGETS, Target, read_peers

_FOLDER = PROJECT / "benchmarks"
_RESULTS = _FOLDER / "results.jsonl"
_README = _FOLDER / "README.md"
_PLOT = _FOLDER / "results" / "costs.svg"
_FILE = click.Path(dir_okay=False, path_type=Path)


class _Names(click.ParamType[tuple[str, ...]]):
    """A comma list of known names."""

    name = "names"

    def __init__(self, known: dict[str, object]) -> None:
        self._known = known

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """See `click.ParamType.convert`."""
        names = tuple(value.split(",")) if isinstance(value, str) and value else ()
        for unknown in set(names) - set(self._known):
            self.fail(f"{unknown!r} is none of {', '.join(self._known)}", param, ctx)
        return names


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 100))
@click.option(
    "--scenarios",
    default=",".join(USUAL),
    show_default=True,
    type=_Names({**SCENARIOS}),
    help=f"Of {', '.join(SCENARIOS)}.",
)
@click.option("--targets", default=",".join(TARGETS), show_default=True, type=_Names({**TARGETS}))
@click.option("--peers", type=_FILE, help="A TOML file with further targets, which run already.")
@click.option("--mock-port", default=0, help="Where the peers find the mock Dify.")
@click.option(
    "--max",
    "finds_most",
    default="",
    is_flag=False,
    flag_value=",".join(TARGETS),
    type=_Names({**TARGETS}),
    help="Find how many streams these targets hold, or without names all.",
)
@click.option("--workers", "weighs_workers", is_flag=True, help="Weigh OpenDify's workers.")
@click.option(
    "--seconds", default=3.0, show_default=True, type=click.FloatRange(0.05, 60), help="Of each run."
)
@click.option("--most-requests", default=200_000, show_default=True, help="Of each run.")
@click.option("--results", default=_RESULTS, type=_FILE, help="Lines are added.")
@click.option("--report-only", is_flag=True, help="Print the tables of the last session in the results.")
@click.option("--publish", is_flag=True, help="Put tables and plot into benchmarks/README.md.")
def main(
    rounds: int,
    scenarios: tuple[str, ...],
    targets: tuple[str, ...],
    peers: Path | None,
    mock_port: int,
    finds_most: tuple[str, ...],
    weighs_workers: bool,
    seconds: float,
    most_requests: int,
    results: Path,
    report_only: bool,
    publish: bool,
) -> None:
    """Measure what OpenDify costs beside a plain pass-through, on two cores of this machine."""
    signal.signal(signal.SIGTERM, _end)
    plan = Plan(
        targets=_read_targets(targets, peers),
        scenarios=scenarios,
        rounds=rounds,
        seconds=seconds,
        most_requests=most_requests,
        mock_port=mock_port,
        finds_most=finds_most,
        weighs_workers=weighs_workers,
    )
    if not report_only:
        raise_file_limit()
        _measure(plan, results)
    lines = read_lines(results)
    click.echo(build_report(lines))
    if publish:
        _publish(lines)


def _read_targets(names: tuple[str, ...], peers: Path | None) -> dict[str, Target]:
    try:
        further = read_peers(peers) if peers else {}
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{peers}: {error}", param_hint="--peers") from None
    return {**{name: TARGETS[name] for name in names}, **further}


def _measure(plan: Plan, results: Path) -> None:
    def note(line: Line) -> None:
        append_line(results, line)
        if isinstance(line, Measurement):
            click.echo(_progress(line), err=True)

    try:
        run_session(plan, note)
    except CannotStart as error:
        sys.exit(str(error))


def _publish(lines: list[Line]) -> None:
    _PLOT.write_text(build_plot(lines), encoding="utf-8")
    picture = f"![CPU time by scenario and target]({_PLOT.relative_to(_FOLDER)})"
    document = _README.read_text(encoding="utf-8")
    report = f"{picture}\n\n{build_report(lines)}"
    _README.write_text(replace_report(document, report), encoding="utf-8")


def _progress(run: Measurement) -> str:
    fault = f": {run.faults[0][:80]}" if run.faults else ""
    return (
        f"round {run.round} {run.scenario:9} {run.target:14} {run.clients:5} clients "
        f"{run.us_per_piece:7.1f} us/piece {run.us_per_request:9.1f} us/request "
        f"{run.requests_per_second:7.0f} requests/s lag {run.lag_ms_p99:6.1f} ms {run.errors} errors{fault}"
    )


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - The signature of signal handlers.
    # An exception, so that everything that was started is stopped.
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
