"""The load generator: clients that ask, count what they get, and ask again.

Run as `python -m benchmarks.load` with a `Job` as JSON on its standard input; it prints a `Measurement`.
"""

import http.client
import socket
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import msgspec

from benchmarks.answers import Answer
from benchmarks.dialects import DIALECTS, WrongAnswer, build_request
from benchmarks.directive import StampReader
from benchmarks.loop import Channel, Loop
from benchmarks.mock_dify import Runs
from benchmarks.processes import core_busy_seconds, cpu_seconds, memory_mb
from benchmarks.results import Job, Measurement, percentile
from benchmarks.scenarios import Scenario

_WARM_UP_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0
_WIND_DOWN_SECONDS = 20.0
_POLL_SECONDS = 0.05
_LONGEST_TURN_SECONDS = 1.0
_SLOW_SOCKET_BYTES = 65_536
# A client that the end of the run finds without any piece after so long was not served.
_UNSERVED_SECONDS = 2.0
_MOST_FAULTS = 50
_FAULTS_TOLD = 3
# A harness that is busy for most of the time, and nearly as long as the target, holds it up.
_BUSY = 0.5
_NEAR = 0.8


class BadRun(Exception):
    """The target does not answer."""


@dataclass
class Tally:
    """What all clients together saw."""

    requests: int = 0
    pieces: int = 0
    pieces_due: float = 0.0
    reads: int = 0
    short: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)
    first_piece_seconds: list[float] = field(default_factory=list)
    whole_seconds: list[float] = field(default_factory=list)
    lag_seconds: list[float] = field(default_factory=list)


class Load:
    """A number of clients at work, each asking again until the time or the requests are used up."""

    def __init__(self, job: Job, scenario: Scenario) -> None:
        self.job = job
        self.scenario = scenario
        self.dialect = DIALECTS[job.door.dialect]
        self.request = build_request(
            job.door,
            scenario.directive,
            whole=scenario.whole,
            prompt_bytes=scenario.prompt_bytes,
            by_sdk=scenario.by_sdk,
        )
        self.tally = Tally()
        self.loop = Loop()
        self._clients = [Client(self) for _ in range(scenario.clients)]
        self._busy = 0
        self._stop_at = 0.0

    def run(self, seconds: float, at_end: Callable[[], None] = lambda: None) -> Tally:
        """Let all clients ask for `seconds`; each finishes what it began, or is cut, as the scenario says.

        Args:
            at_end: Called when the time is up and the last streams are still open.

        Raises:
            BadRun: An answer never came.
        """
        self.tally = Tally()
        began_at = time.perf_counter()
        self._stop_at = began_at + seconds
        self._busy = len(self._clients)
        spread = min(seconds, self.scenario.start_seconds)
        for index, client in enumerate(self._clients):
            self.loop.call_at(began_at + spread * index / len(self._clients), client.ask)
        self.loop.call_at(self._stop_at, at_end)
        if self.scenario.is_cut:
            self.loop.call_at(self._stop_at, self._cut)
        while self._busy:
            self.loop.turn(_LONGEST_TURN_SECONDS)
            if time.perf_counter() > self._stop_at + _PATIENCE_SECONDS:
                raise BadRun(f"{self._busy} clients still wait for their answers")
        return self.tally

    def go_on(self, client: "Client") -> None:
        """Let `client` ask again, unless the run is over."""
        tally = self.tally
        if (
            time.perf_counter() < self._stop_at
            and tally.requests < self.job.most_requests
            and len(tally.faults) < _MOST_FAULTS
        ):
            client.ask()
        else:
            self._busy -= 1

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.drop_connection()
        self.loop.close()

    def _cut(self) -> None:
        for client in self._clients:
            client.cut()


class Client:
    """One client; it keeps its connection as long as the server does."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._connection: _Connection | None = None
        self._answer: Answer | None = None
        self._asked_at = 0.0
        self._first_piece_at = 0.0
        self._stamps = StampReader()

    def ask(self) -> None:
        """Send the next request, on a new connection where there is none."""
        self._answer = Answer(kept=self._load.scenario.checked, copies=self._load.job.door.copies)
        self._first_piece_at = 0.0
        self._asked_at = time.perf_counter()
        if self._connection is None:
            self._connection = _Connection(self._load, self)
        self._connection.send(self._load.request)

    def take(self, received: bytes) -> None:
        """What one read gave."""
        answer, scenario = self._answer, self._load.scenario
        if answer is None:
            return
        self._load.tally.reads += 1
        try:
            answer.feed(received)
        except ValueError as error:
            self.drop_connection()
            self._end(str(error))
            return
        if not self._first_piece_at and answer.pieces:
            self._first_piece_at = time.perf_counter()
        if scenario.stamped:
            self._load.tally.lag_seconds += self._stamps.feed(received, time.monotonic_ns())
        if answer.is_whole:
            self._end_whole(answer)
        elif scenario.leaves_after and answer.pieces >= scenario.leaves_after:
            self._leave()
        elif scenario.pause_ms:
            self._pause()

    def note_lost(self) -> None:
        """The server closed the connection."""
        self._connection = None
        if self._answer:
            self._end("the connection broke off")

    def cut(self) -> None:
        """The run is over; what is open is broken off."""
        if self._answer is None:
            return
        waited = time.perf_counter() - self._asked_at
        self._load.tally.pieces_due += waited * self._load.scenario.pieces_a_second
        if not self._first_piece_at and waited > _UNSERVED_SECONDS:
            self.drop_connection()
            self._end(f"no piece came within {waited:.0f} s")
        else:
            self._leave()

    def drop_connection(self) -> None:
        """Close it, whatever is still to come."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _leave(self) -> None:
        self._load.tally.left += 1
        self.drop_connection()
        self._end(None)

    def _pause(self) -> None:
        connection = self._connection
        if connection:
            connection.pause()
            until = time.perf_counter() + self._load.scenario.pause_ms / 1_000
            self._load.loop.call_at(until, connection.resume)

    def _end_whole(self, answer: Answer) -> None:
        scenario, tally = self._load.scenario, self._load.tally
        if answer.closes_connection:
            self.drop_connection()
        tally.short += answer.pieces < scenario.pieces
        try:
            answer.check(self._load.dialect, whole=scenario.whole, pieces=scenario.pieces)
        except WrongAnswer as error:
            self._end(str(error))
        else:
            tally.whole_seconds.append(time.perf_counter() - self._asked_at)
            self._end(None)

    def _end(self, fault: str | None) -> None:
        answer, self._answer = self._answer, None
        tally = self._load.tally
        tally.requests += 1
        if fault is not None:
            tally.faults.append(fault)
        elif answer:
            tally.pieces += answer.pieces
        if self._first_piece_at:
            tally.first_piece_seconds.append(self._first_piece_at - self._asked_at)
        self._load.go_on(self)


class _Connection(Channel):
    """Tells its client."""

    def __init__(self, load: Load, client: Client) -> None:
        connection = socket.socket()
        if load.scenario.pause_ms:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_SOCKET_BYTES)
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", load.job.door.port))
        self._client = client
        super().__init__(load.loop, connection)

    def on_received(self, received: bytes) -> None:
        """See `Channel.on_received`."""
        self._client.take(received)

    def on_room(self) -> None:
        """See `Channel.on_room`."""

    def on_lost(self) -> None:
        """See `Channel.on_lost`."""
        self._client.note_lost()


class _CpuTimes(NamedTuple):
    """Seconds since the processes began."""

    target: float
    mock: float
    load: float
    target_core: float

    @classmethod
    def now(cls, job: Job) -> Self:
        return cls(
            cpu_seconds(job.target_pid),
            cpu_seconds(job.mock_pid),
            time.process_time(),
            core_busy_seconds(job.target_core),
        )

    def since(self, before: Self) -> Self:
        return type(self)(*(now - then for now, then in zip(self, before, strict=True)))


@dataclass
class _AtEnd:
    """What is seen when the time is up and the last streams are still open."""

    memory_mb: float = 0.0
    live: int = 0


def measure(job: Job) -> Measurement:
    """Warm up, then run the job between two looks at all who take part.

    Raises:
        BadRun: An answer never came.
    """
    seconds = max(job.seconds, job.scenario.least_seconds)
    _warm_up(job, seconds)
    _wait_for_runs(job)
    with closing(Load(job, job.scenario)) as load:
        memory_before, runs_before = memory_mb(job.target_pid), ask_for_runs(job.mock_port)
        before, began_at, at_end = _CpuTimes.now(job), time.perf_counter(), _AtEnd()

        def look() -> None:
            at_end.memory_mb = memory_mb(job.target_pid)
            at_end.live = ask_for_runs(job.mock_port).live

        tally = load.run(seconds, look)
        took, cpu = time.perf_counter() - began_at, _CpuTimes.now(job).since(before)
    _wait_for_runs(job)
    runs = ask_for_runs(job.mock_port).since(runs_before)
    return _sum_up(job, tally, took, cpu, memory_before, at_end, runs)


def _warm_up(job: Job, seconds: float) -> None:
    """Let the target load and open what it needs; one that is to be seen growing gets one client only."""
    scenario = job.scenario
    few = msgspec.structs.replace(scenario, clients=1) if scenario.starts_fresh else scenario
    with closing(Load(job, few)) as load:
        load.run(min(_WARM_UP_SECONDS, seconds))


def _wait_for_runs(job: Job) -> None:
    """Until those that were broken off have ended at the mock, or it is clear that they do not."""
    deadline = time.perf_counter() + _WIND_DOWN_SECONDS
    while ask_for_runs(job.mock_port).live and time.perf_counter() < deadline:
        time.sleep(_POLL_SECONDS)


def ask_for_runs(mock_port: int) -> Runs:
    """What became of the mock's streamed runs up to now."""
    with closing(http.client.HTTPConnection("127.0.0.1", mock_port, timeout=_PATIENCE_SECONDS)) as connection:
        connection.request("GET", "/runs")
        return msgspec.json.decode(connection.getresponse().read(), type=Runs)


def _sum_up(
    job: Job,
    tally: Tally,
    seconds: float,
    cpu: _CpuTimes,
    memory_before: float,
    at_end: _AtEnd,
    runs: Runs,
) -> Measurement:
    finished = len(tally.whole_seconds)
    return Measurement(
        target=job.target,
        scenario=job.scenario.name,
        clients=job.scenario.clients,
        round=job.round,
        seconds=seconds,
        requests=tally.requests,
        pieces=tally.pieces,
        pieces_due=tally.pieces_due,
        reads=tally.reads,
        errors=len(tally.faults),
        short=tally.short,
        left=tally.left,
        faults=tally.faults[:_FAULTS_TOLD],
        target_cpu_seconds=cpu.target,
        mock_cpu_seconds=cpu.mock,
        load_cpu_seconds=cpu.load,
        others_cpu_seconds=max(0.0, cpu.target_core - cpu.target),
        us_per_piece=1e6 * cpu.target / max(1, tally.pieces),
        us_per_request=1e6 * cpu.target / max(1, tally.requests),
        requests_per_second=tally.requests / seconds,
        first_piece_ms_p50=1e3 * percentile(tally.first_piece_seconds, 50),
        first_piece_ms_p99=1e3 * percentile(tally.first_piece_seconds, 99),
        whole_ms_p50=1e3 * percentile(tally.whole_seconds, 50),
        whole_ms_p99=1e3 * percentile(tally.whole_seconds, 99),
        lag_ms_p50=1e3 * percentile(tally.lag_seconds, 50),
        lag_ms_p99=1e3 * percentile(tally.lag_seconds, 99),
        memory_mb_before=memory_before,
        memory_mb=at_end.memory_mb,
        live=at_end.live,
        runs_stopped=runs.stopped,
        runs_aborted=runs.aborted,
        runs_on=runs.live + max(0, runs.whole - finished),
        harness_bound=job.target_pid != job.mock_pid
        and _harness_seconds(job, cpu) > max(_NEAR * cpu.target, _BUSY * seconds),
    )


def _harness_seconds(job: Job, cpu: _CpuTimes) -> float:
    """How long its core was busy, or the busier one of two."""
    return cpu.mock + cpu.load if job.shares_core else max(cpu.mock, cpu.load)


def main() -> None:
    """Read the job, do it, print what came out."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        measurement = measure(job)
    except BadRun as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(measurement))


if __name__ == "__main__":
    main()
