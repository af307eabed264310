"""Where the CPU time of one request goes: microseconds a stage, C code and the kernel's work for it included.

`python -m benchmarks.stages` serves one client in one thread, as `benchmarks.calls` does, with clocks at the
doors between the stages. They show the thread's own CPU time, which stands still while others have the core.
Time counts for the stage whose door was entered last and not left yet; what the clocks take is taken off.
"""

import inspect
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import wraps
from pkgutil import resolve_name
from typing import Any, Final

import click

from benchmarks.calls import KINDS, served_by_mock, silent_log
from benchmarks.one_thread import answer_requests


class Stage(StrEnum):
    """What is done for a request, in about this order."""

    WORKER = "the worker: its loop, the request's head and environment, the answer's frame"
    MIDDLEWARE = "around the view: the request's id, CORS, routing, the answer's headers"
    VIEW = "the view: key, body, identity, limits, slot"
    GATEWAY = "the gateway: `Turn`, app, conversation found or begun, what a run is made of"
    ASKED = "the request to Dify, built and sent"
    WAITED = "Dify waited for, its answer received and its HTTP read"
    TRANSLATED = "Dify's events to the client's bytes"
    STORED = "the conversation's head moved and stored"
    SENT = "the answer handed to the kernel"
    WATCHED = "metrics and the log line"


_CLIENT: Final = "the benchmark's own client"

# Each is wrapped where it is looked up when a request comes.
DOORS: Final[Mapping[str, str]] = {
    "benchmarks.one_thread:_Client.go_on": _CLIENT,
    "opendify.telemetry.requests:ObservedRequests.__call__": Stage.MIDDLEWARE,
    "opendify.routes.people:People.caller": Stage.VIEW,
    "opendify.routes.asking:read_whole_body": Stage.VIEW,
    "opendify.routes.asking:parse_request": Stage.VIEW,
    "opendify.routes.people:People.person": Stage.VIEW,
    "opendify.routes.people:People.enter": Stage.VIEW,
    "opendify.gateway:Gateway.stream_chat_completion": Stage.GATEWAY,
    "opendify.gateway:Gateway.create_chat_completion": Stage.GATEWAY,
    "opendify.run_opener:build_request": Stage.ASKED,
    "opendify.dify.client:DifyClient.open_run": Stage.ASKED,
    "opendify.dify.sockets:SocketExchange.take": Stage.WAITED,
    "opendify.gateway:collect_reply": Stage.TRANSLATED,
    "opendify.gateway:chat_completion": Stage.TRANSLATED,
    "opendify.runs.reply_stream:ReplyStream.frames": Stage.TRANSLATED,
    "opendify.turns.held:ConversationTurn.finish": Stage.STORED,
    "opendify.serving.client_socket:PromptSocket.sendall": Stage.SENT,
    "opendify.telemetry.observation:RunRecord.over": Stage.WATCHED,
    "opendify.telemetry.observation:Observation.end": Stage.WATCHED,
    "opendify.telemetry.requests:_tell": Stage.WATCHED,
}
_ENTRANCE: Final = "opendify.telemetry.requests:ObservedRequests.__call__"
_WARM, _REQUESTS = 200, 2_000
_MOST_CROSSINGS: Final = 100_000


class StageClock:
    """Adds up the thread's CPU time by stage, one table a request."""

    def __init__(self) -> None:
        self.requests: list[dict[str, float]] = []
        """Nanoseconds by stage, of each request from its entrance to the next one's."""
        self.crossing_ns = 0.0
        """What one crossing of a door takes of the time that is measured."""
        self._stage: str = Stage.WORKER
        self._times: dict[str, float] = {}
        self._marked_at = time.thread_time_ns()

    def enter(self, stage: str) -> str:
        """Go over to `stage`; the one before."""
        now = time.thread_time_ns()
        before = self._stage
        self._times[before] = self._times.get(before, 0.0) + now - self._marked_at - self.crossing_ns
        self._stage = stage
        self._marked_at = time.thread_time_ns()
        return before

    def begin_request(self) -> None:
        """What follows belongs to the next one."""
        self._times = {}
        self.requests.append(self._times)

    def measure_itself(self) -> None:
        """Find out what a crossing takes where nothing is done behind the door."""
        nothing = self.around(_nothing, _CLIENT)
        self.begin_request()
        for _ in range(_MOST_CROSSINGS):
            nothing()
        self.crossing_ns = sum(self._times.values()) / (2 * _MOST_CROSSINGS)
        self.requests.clear()

    def around(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """`function` behind a door; of a generator each step is."""
        if inspect.isgeneratorfunction(function):

            @wraps(function)
            def stepwise(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
                steps = function(*args, **kwargs)
                step, close = self.around(steps.__next__, stage), self.around(steps.close, stage)
                try:
                    while True:
                        try:
                            item = step()
                        except StopIteration:
                            return
                        yield item
                finally:
                    close()

            return stepwise

        @wraps(function)
        def at_once(*args: Any, **kwargs: Any) -> Any:
            before = self.enter(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.enter(before)

        return at_once


def measure(
    kind: str, environ: Mapping[str, str], requests: int = _REQUESTS
) -> Sequence[Mapping[str, float]]:
    """Microseconds by stage, of each of so many requests of that kind."""
    clock = StageClock()
    clock.measure_itself()
    with measured_doors(clock):
        answer_requests(environ, _WARM + requests, whole=kind == "whole")
    # The last one's table lacks its end.
    measured = clock.requests[_WARM:-1]
    if closed := [stage for stage in Stage if not any(stage in times for times in measured)]:
        raise click.ClickException(f"no request passes a door of: {', '.join(closed)}")
    return [{stage: spent / 1_000 for stage, spent in times.items()} for times in measured]


@contextmanager
def measured_doors(clock: StageClock) -> Iterator[Mapping[tuple[Any, str], Callable[..., Any]]]:
    """Clocks at all doors, and none afterwards; what stood there, by owner and name."""
    kept: dict[tuple[Any, str], Callable[..., Any]] = {}
    for name, stage in DOORS.items():
        module, _, path = name.partition(":")
        owner_path, _, attribute = path.rpartition(".")
        owner = resolve_name(f"{module}:{owner_path}" if owner_path else module)
        function = kept[owner, attribute] = getattr(owner, attribute)
        behind = clock.around(function, stage)
        setattr(owner, attribute, _entrance(clock, behind) if name == _ENTRANCE else behind)
    try:
        yield kept
    finally:
        for (owner, attribute), function in kept.items():
            setattr(owner, attribute, function)


def _entrance(clock: StageClock, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def enter(*args: Any, **kwargs: Any) -> Any:
        clock.enter(Stage.WORKER)
        clock.begin_request()
        return function(*args, **kwargs)

    return enter


def _nothing() -> None:
    pass


def table(kind: str, requests: Sequence[Mapping[str, float]]) -> Iterator[str]:
    """Lines of Markdown: the median of each stage and of the whole, which others' noise moves least."""
    medians = {stage: statistics.median(each.get(stage, 0.0) for each in requests) for stage in Stage}
    whole = statistics.median(sum(each.get(stage, 0.0) for stage in Stage) for each in requests)
    yield f"| stage of a {kind} request | CPU \u00b5s | share |"
    yield "| --- | ---: | ---: |"
    for stage, spent in medians.items():
        yield f"| {stage} | {spent:.0f} | {spent / sum(medians.values()):.0%} |"
    yield f"| the whole request | {whole:.0f} | |"


@click.command()
@click.option("--requests", default=_REQUESTS, show_default=True, help="So many are measured.")
def main(requests: int) -> None:
    """Measure the stages of a streamed and of a whole answer."""
    for kind in KINDS:
        with served_by_mock() as environ, silent_log():
            measured = measure(kind, environ, requests)
        click.echo("\n".join([*table(kind, measured), ""]))


if __name__ == "__main__":
    main()
