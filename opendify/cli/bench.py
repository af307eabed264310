"""`opendify bench`: how a running service does under a load of streams, as its clients see it."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import click
from rich.console import Console
from rich.table import Table

from opendify.cli.api import Api, ApiFailure
from opendify.cli.asking import asks_service, opened_service
from opendify.cli.completion import complete_model


@dataclass
class _Measured:
    """Seconds, of all streams together."""

    first_pieces: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note_answer(self, asked: float, arrivals: Sequence[float], ended: float) -> None:
        with self.lock:
            self.first_pieces += [each - asked for each in arrivals[:1]]
            self.pauses += [later - earlier for earlier, later in pairwise(arrivals)]
            self.answers.append(ended - asked)

    def note_failure(self, failure: ApiFailure) -> None:
        with self.lock:
            self.failures[str(failure)] += 1


@click.command()
@click.argument("model", required=False, shell_complete=complete_model)
@asks_service
@click.option("--streams", type=click.IntRange(1, 1000), default=10, show_default=True, help="At once.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=10.0, show_default=True)
@click.option("--message", "-m", default="Count to ten", show_default=True, help="What is asked.")
def bench(
    model: str | None, url: str | None, key: str | None, streams: int, seconds: float, message: str
) -> None:
    """Ask MODEL through the running service, in many streams at once, and say how long things take.

    Every answer is a run of the app at Dify, which may cost. After SECONDS no more are
    begun, and those that go on are waited for. The exit code is 1 where an answer failed.
    """
    measured = _Measured()
    with opened_service(url, key, model) as (api, name):
        began = time.monotonic()
        _load(lambda: _ask_until(began + seconds, api.url, api.key, name, message, measured), streams)
        lasted = time.monotonic() - began
    _show(measured, lasted)
    raise SystemExit(bool(measured.failures))


def _load(ask: Callable[[], None], streams: int) -> None:
    with ThreadPoolExecutor(streams) as threads:
        for asking in [threads.submit(ask) for _ in range(streams)]:
            asking.result()


def _ask_until(end: float, url: str, key: str | None, model: str, message: str, measured: _Measured) -> None:
    messages = [{"role": "user", "content": message}]
    # A client of its own, as each person has.
    with Api(url, key) as api:
        while time.monotonic() < end:
            asked = time.monotonic()
            try:
                arrivals = [time.monotonic() for _ in api.stream(model, messages)]
            except ApiFailure as failure:
                measured.note_failure(failure)
            else:
                measured.note_answer(asked, arrivals, time.monotonic())


def _show(measured: _Measured, lasted: float) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("milliseconds", "median", "95 of 100", "longest"):
        table.add_column(title, justify="left" if title == "milliseconds" else "right")
    for name, times in (
        ("first piece", measured.first_pieces),
        ("between pieces", measured.pauses),
        ("whole answer", measured.answers),
    ):
        table.add_row(name, *_spread(times))
    console = Console(highlight=False)
    console.print(table)
    pieces = len(measured.first_pieces) + len(measured.pauses)
    failed = measured.failures.total()
    console.print(
        f"{len(measured.answers)} answers, {failed} failed, in {lasted:.1f} seconds: "
        f"{len(measured.answers) / lasted:.1f} answers and {pieces / lasted:.0f} pieces a second"
    )
    for failure, count in measured.failures.most_common(5):
        console.print(f"{count} x {failure}", style="red", markup=False, soft_wrap=True)


def _spread(times: Sequence[float]) -> Iterator[str]:
    if not times:
        return iter(("-", "-", "-"))
    ordered = sorted(times)
    shown = (statistics.median(ordered), ordered[int(len(ordered) * 0.95)], ordered[-1])
    return (f"{each * 1000:.1f}" for each in shown)
