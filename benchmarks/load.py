"""The load generator: clients that ask, count what they get, and ask again.

Run as `python -m benchmarks.load` with a `Job` as JSON on its standard input; it prints a `Measurement`.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import msgspec

from benchmarks.answers import Answer
from benchmarks.dialects import DIALECTS, WrongAnswer
from benchmarks.directive import StampReader
from benchmarks.processes import core_busy_seconds, cpu_seconds, memory_mb
from benchmarks.results import Job, Measurement, percentile

_WARM_UP_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0
_MOST_FAULTS = 50
_FAULTS_TOLD = 3
# Mock and load generator share a core; busy for most of the time, and nearly as long as the target,
# they hold it up.
_BUSY = 0.5
_NEAR = 0.8


class BadRun(Exception):
    """The target does not answer."""


@dataclass
class Tally:
    """What all clients together saw."""

    requests: int = 0
    pieces: int = 0
    reads: int = 0
    short: int = 0
    left: int = 0
    faults: list[str] = field(default_factory=list)
    first_piece_seconds: list[float] = field(default_factory=list)
    whole_seconds: list[float] = field(default_factory=list)
    lag_seconds: list[float] = field(default_factory=list)


class Load:
    """A number of clients at work, each asking again until the time or the requests are used up."""

    def __init__(self, job: Job) -> None:
        scenario = job.scenario
        self.job = job
        self.dialect = DIALECTS[job.dialect]
        self.request = self.dialect.build_request(
            f"127.0.0.1:{job.port}",
            scenario.directive,
            whole=scenario.whole,
            prompt_bytes=scenario.prompt_bytes,
        )
        self.tally = Tally()
        self._clients = [Client(self) for _ in range(scenario.clients)]
        self._connecting: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._stop_at = 0.0
        self._all_idle = asyncio.Event()

    async def run(self, seconds: float) -> Tally:
        """Let all clients ask for `seconds`; each finishes what it began.

        Raises:
            BadRun: An answer never came, or too many were wrong.
        """
        self.tally = Tally()
        self._all_idle.clear()
        self._stop_at = time.perf_counter() + seconds
        self._busy = len(self._clients)
        self._start_clients(seconds)
        try:
            await asyncio.wait_for(self._all_idle.wait(), seconds + _PATIENCE_SECONDS)
        except TimeoutError:
            raise BadRun(f"{self._busy} clients still wait for their answers") from None
        if len(self.tally.faults) >= _MOST_FAULTS:
            raise BadRun(f"too many faults: {self.tally.faults[:_FAULTS_TOLD]}")
        return self.tally

    def _start_clients(self, seconds: float) -> None:
        # Paced streams that begin together stay together, as those of real people do not.
        scenario = self.job.scenario
        spread = min(seconds, scenario.pieces * scenario.least_gap_ms / 1_000)
        for index, client in enumerate(self._clients):
            delay = spread * index / len(self._clients)
            asyncio.get_running_loop().call_later(delay, client.ask)

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
            self._note_idle()

    def connect(self, client: "Client") -> None:
        """Give `client` a new connection, on which it asks."""
        task = asyncio.create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: "Client") -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: client, "127.0.0.1", self.job.port)
        except OSError as error:
            self.tally.faults.append(f"no connection: {error}")
            self._note_idle()
        else:
            client.ask()

    def _note_idle(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._all_idle.set()


class Client(asyncio.Protocol):
    """One client; it keeps its connection as long as the server does."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._asked_at = 0.0
        self._first_piece_at = 0.0
        self._stamps = StampReader()

    def ask(self) -> None:
        """Send the next request, on a new connection where there is none."""
        if self._transport is None:
            self._load.connect(self)
            return
        self._answer = Answer(kept=self._load.job.scenario.checked)
        self._first_piece_at = 0.0
        self._asked_at = time.perf_counter()
        self._transport.write(self._load.request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - asyncio promises it for sockets.
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.BaseProtocol.connection_lost`."""
        self._transport = None
        if self._answer:
            self._end(f"the connection broke off: {error or 'closed'}")

    def data_received(self, received: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        answer = self._answer
        if answer is None:
            return
        self._load.tally.reads += 1
        try:
            answer.feed(received)
        except ValueError as error:
            self._drop_connection()
            self._end(str(error))
            return
        self._note_pieces(answer, received)
        scenario = self._load.job.scenario
        if answer.is_whole:
            if answer.closes_connection:
                self._drop_connection()
            self._end(self._fault_of(answer))
        elif scenario.leaves_after and answer.pieces >= scenario.leaves_after:
            self._load.tally.left += 1
            self._drop_connection()
            self._end(None)
        elif scenario.pause_ms and self._transport:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(scenario.pause_ms / 1_000, self._read_on)

    def _note_pieces(self, answer: Answer, received: bytes) -> None:
        if not self._first_piece_at and answer.pieces:
            self._first_piece_at = time.perf_counter()
        if self._load.job.scenario.stamped:
            self._load.tally.lag_seconds += self._stamps.feed(received, time.monotonic_ns())

    def _read_on(self) -> None:
        if self._transport:
            self._transport.resume_reading()

    def _fault_of(self, answer: Answer) -> str | None:
        scenario = self._load.job.scenario
        self._load.tally.short += answer.pieces < scenario.pieces
        try:
            answer.check(self._load.dialect, whole=scenario.whole, pieces=scenario.pieces)
        except WrongAnswer as error:
            return str(error)
        return None

    def _end(self, fault: str | None) -> None:
        answer, self._answer = self._answer, None
        tally = self._load.tally
        tally.requests += 1
        if fault is None and answer:
            tally.pieces += answer.pieces
            tally.first_piece_seconds.append(self._first_piece_at - self._asked_at)
            tally.whole_seconds.append(time.perf_counter() - self._asked_at)
        else:
            tally.faults.append(fault or "")
        self._load.go_on(self)

    def _drop_connection(self) -> None:
        if self._transport:
            self._transport.abort()
            self._transport = None


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


async def measure(job: Job) -> Measurement:
    """Warm up, then run the job between two looks at the CPU time of all who take part."""
    load = Load(job)
    memory_samples = [memory_mb(job.target_pid)]
    await load.run(min(_WARM_UP_SECONDS, job.seconds))
    before, began_at = _CpuTimes.now(job), time.perf_counter()
    asyncio.get_running_loop().call_later(
        job.seconds, lambda: memory_samples.append(memory_mb(job.target_pid))
    )
    tally = await load.run(job.seconds)
    seconds = time.perf_counter() - began_at
    return _sum_up(job, tally, seconds, _CpuTimes.now(job).since(before), memory_samples)


def _sum_up(
    job: Job, tally: Tally, seconds: float, cpu: _CpuTimes, memory_samples: Sequence[float]
) -> Measurement:
    return Measurement(
        target=job.target,
        scenario=job.scenario.name,
        round=job.round,
        seconds=seconds,
        requests=tally.requests,
        pieces=tally.pieces,
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
        memory_mb_before=memory_samples[0],
        memory_mb=memory_samples[-1],
        harness_bound=job.target_pid != job.mock_pid
        and cpu.mock + cpu.load > max(_NEAR * cpu.target, _BUSY * seconds),
    )


def main() -> None:
    """Read the job, do it, print what came out."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        measurement = asyncio.run(measure(job))
    except BadRun as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(msgspec.json.encode(measurement))


if __name__ == "__main__":
    main()
