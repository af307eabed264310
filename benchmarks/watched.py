"""What it costs to be watched: metrics, a JSON line a request, audit, traces and reports, all on and all off.

`python -m benchmarks.watched` counts the instructions of a request both ways, which no busy machine changes;
then it starts both servers and a collector, lets them take turns, and compares their processor time. It
fails where being watched costs more than it may by either.
"""

import contextlib
import statistics
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click

from benchmarks.instructions import CannotCount
from benchmarks.processes import CannotStart, raise_file_limit
from benchmarks.results import Line, Measurement
from benchmarks.session import Plan, run_session
from benchmarks.targets import Target, opendify
from benchmarks.watched_work import instructions_a_request

ON, OFF = "watched", "unwatched"
MOST: Mapping[str, float] = {"burst": 0.10, "short": 0.15}
"""How much more processor time a scenario may take."""

_UNWATCHED = {"ENABLE_METRICS": "false", "ENABLE_REQUEST_LOGGING": "false"}
_MOST_REQUESTS = 200_000


def watched_settings(collector: str) -> dict[str, str]:
    """Everything that an operator can switch on to see the service at work; all goes to `collector`."""
    host = collector.removeprefix("http://")
    return {
        "ENABLE_METRICS": "true",
        "LOG_FORMAT": "json",
        "ENABLE_OTEL": "true",
        "OTLP_TRACE_ENDPOINT": f"{collector}/v1/traces",
        "OTLP_METRIC_ENDPOINT": f"{collector}/v1/metrics",
        "SENTRY_DSN": f"http://public@{host}/1",
    }


def more_by_round(runs: Sequence[Measurement]) -> dict[str, list[float]]:
    """How much more processor time each round took watched, as a share, by scenario."""
    used = {(run.scenario, run.round, run.target): run.us_per_request for run in runs}
    rounds = sorted({(scenario, number) for scenario, number, _ in used})
    more: dict[str, list[float]] = {}
    for scenario, number in rounds:
        ratio = used[scenario, number, ON] / used[scenario, number, OFF]
        more.setdefault(scenario, []).append(ratio - 1)
    return more


def more_work(instructions: Mapping[str, int]) -> float:
    """How many more instructions a request takes watched, as a share."""
    return instructions[ON] / instructions[OFF] - 1


def shown(shares: Sequence[float]) -> str:
    """The median of the rounds, the middle half of them, and all of them."""
    low, median, high = statistics.quantiles(shares, method="inclusive")
    rest = f"half of the rounds {low:+.1%} to {high:+.1%}, all {min(shares):+.1%} to {max(shares):+.1%}"
    return f"{median:+.1%} ({rest})"


def faults(more: Mapping[str, Sequence[float]], work: float | None = None) -> Iterator[str]:
    """A line for each scenario whose median is beyond what it may be; `work` is that of a short request."""
    for scenario, shares in more.items():
        if (median := statistics.median(shares)) > MOST[scenario]:
            yield f"{scenario}: {median:.1%} more time, where {MOST[scenario]:.0%} may be"
    if work is not None and work > MOST["short"]:
        yield f"short: {work:.1%} more instructions, where {MOST['short']:.0%} may be"


@contextlib.contextmanager
def collecting() -> Iterator[str]:
    """The URL of a server that takes whatever is sent, and reads none of it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measure(collector: str, rounds: int, seconds: float) -> list[Measurement]:
    """Both servers, in turns.

    Raises:
        CannotStart: A server or a run failed.
    """
    runs: list[Measurement] = []

    def note(line: Line) -> None:
        if isinstance(line, Measurement):
            runs.append(line)
            used = f"{line.us_per_request:9.1f} us"
            click.echo(f"round {line.round} {line.scenario:6} {line.target:9} {used}", err=True)

    plan = Plan(
        targets={OFF: _server(_UNWATCHED), ON: _server(watched_settings(collector))},
        scenarios=tuple(MOST),
        rounds=rounds,
        seconds=seconds,
        most_requests=_MOST_REQUESTS,
    )
    run_session(plan, note)
    return runs


def _server(settings: Mapping[str, str]) -> Target:
    return opendify(transport="sockets", worker_class="sync", settings=settings)


def _count_work(collector: str) -> float | None:
    try:
        counted = instructions_a_request({OFF: _UNWATCHED, ON: watched_settings(collector)})
    except CannotCount as error:
        click.echo(f"instructions are not counted: {error}", err=True)
        return None
    more = more_work(counted)
    click.echo(f"short: {counted[OFF]:,} instructions a request, watched {counted[ON]:,}: {more:+.1%}")
    return more


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(2, 100))
@click.option(
    "--seconds", default=1.0, show_default=True, type=click.FloatRange(0.2, 60), help="Of each run."
)
def main(rounds: int, seconds: float) -> None:
    """Compare a server that is watched in every way with one that is not at all."""
    raise_file_limit()
    try:
        with collecting() as collector:
            work = _count_work(collector)
            more = more_by_round(measure(collector, rounds, seconds))
    except CannotStart as error:
        sys.exit(str(error))
    for scenario, shares in more.items():
        click.echo(f"{scenario}: processor time {shown(shares)}, {MOST[scenario]:.0%} may be")
    if beyond := list(faults(more, work)):
        sys.exit("\n".join(beyond))


if __name__ == "__main__":
    main()
