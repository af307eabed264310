"""`python -m benchmarks`: measure, keep the lines, print the table."""

import signal
import sys
from pathlib import Path
from types import FrameType

import click

from benchmarks.processes import PROJECT, CannotStart
from benchmarks.report import build_report
from benchmarks.results import Line, Measurement, append_line, read_lines
from benchmarks.scenarios import SCENARIOS, USUAL
from benchmarks.session import Plan, run_session
from benchmarks.targets import TARGETS

_RESULTS = PROJECT / "benchmarks" / "results.jsonl"


class _Names(click.ParamType[tuple[str, ...]]):
    """A comma list of known names."""

    name = "names"

    def __init__(self, known: dict[str, object]) -> None:
        self._known = known

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """See `click.ParamType.convert`."""
        names = tuple(value.split(",")) if isinstance(value, str) else ()
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
@click.option(
    "--seconds", default=3.0, show_default=True, type=click.FloatRange(0.05, 60), help="Of each run."
)
@click.option("--most-requests", default=200_000, show_default=True, help="Of each run.")
@click.option(
    "--results", default=_RESULTS, type=click.Path(dir_okay=False, path_type=Path), help="Lines are added."
)
@click.option("--report-only", is_flag=True, help="Print the table of the last session in the results.")
def main(
    rounds: int,
    scenarios: tuple[str, ...],
    targets: tuple[str, ...],
    seconds: float,
    most_requests: int,
    results: Path,
    report_only: bool,
) -> None:
    """Measure what OpenDify costs beside a plain pass-through, on two cores of this machine."""
    signal.signal(signal.SIGTERM, _end)
    plan = Plan(
        targets=targets, scenarios=scenarios, rounds=rounds, seconds=seconds, most_requests=most_requests
    )

    def note(line: Line) -> None:
        append_line(results, line)
        if isinstance(line, Measurement):
            click.echo(_progress(line), err=True)

    if not report_only:
        try:
            run_session(plan, note)
        except CannotStart as error:
            sys.exit(str(error))
    click.echo(build_report(read_lines(results)))


def _progress(run: Measurement) -> str:
    return (
        f"round {run.round} {run.scenario:10} {run.target:10} {run.us_per_piece:8.1f} us/piece "
        f"{run.us_per_request:9.1f} us/request {run.requests_per_second:8.0f} requests/s {run.errors} errors"
    )


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - The signature of signal handlers.
    # An exception, so that everything that was started is stopped.
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
