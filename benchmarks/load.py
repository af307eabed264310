"""The load generator: clients that ask, count what they get, and ask again.

Run as `python -m benchmarks.load` with a `Job` as JSON on its standard input; it prints a `Measurement`.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field

import msgspec

from benchmarks.answers import Answer
from benchmarks.dialects import DIALECTS, WrongAnswer
from benchmarks.processes import cpu_seconds, memory_mb
from benchmarks.results import Job, Measurement, percentile

_WARM_UP_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0
_MOST_FAULTS = 50
_FAULTS_TOLD = 3
# Mock and load generator share a core; busy for this part of the target's time they hold it up.
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
    faults: list[str] = field(default_factory=list)
    first_piece_seconds: list[float] = field(default_factory=list)
    whole_seconds: list[float] = field(default_factory=list)


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
        for client in self._clients:
            client.ask()
        try:
            await asyncio.wait_for(self._all_idle.wait(), seconds + _PATIENCE_SECONDS)
        except TimeoutError:
            raise BadRun(f"{self._busy} clients still wait for their answers") from None
        if len(self.tally.faults) >= _MOST_FAULTS:
            raise BadRun(f"too many faults: {self.tally.faults[:_FAULTS_TOLD]}")
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
        self._transport: asyncio.WriteTransport | None = None
        self._answer: Answer | None = None
        self._asked_at = 0.0
        self._first_piece_at = 0.0

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
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - asyncio promises it for sockets.
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
        if not self._first_piece_at and answer.pieces:
            self._first_piece_at = time.perf_counter()
        if answer.is_whole:
            if answer.closes_connection:
                self._drop_connection()
            self._end(self._fault_of(answer))

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


async def measure(job: Job) -> Measurement:
    """Warm up, then run the job between two looks at the CPU time of all who take part."""
    load = Load(job)
    await load.run(min(_WARM_UP_SECONDS, job.seconds))
    before = _cpu_of_all(job)
    began_at = time.perf_counter()
    tally = await load.run(job.seconds)
    seconds = time.perf_counter() - began_at
    target, mock, own = (after - b for after, b in zip(_cpu_of_all(job), before, strict=True))
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
        faults=tally.faults[:_FAULTS_TOLD],
        target_cpu_seconds=target,
        mock_cpu_seconds=mock,
        load_cpu_seconds=own,
        us_per_piece=1e6 * target / max(1, tally.pieces),
        us_per_request=1e6 * target / max(1, tally.requests),
        requests_per_second=tally.requests / seconds,
        first_piece_ms_p50=1e3 * percentile(tally.first_piece_seconds, 50),
        first_piece_ms_p99=1e3 * percentile(tally.first_piece_seconds, 99),
        whole_ms_p50=1e3 * percentile(tally.whole_seconds, 50),
        whole_ms_p99=1e3 * percentile(tally.whole_seconds, 99),
        memory_mb=memory_mb(job.target_pid),
        harness_bound=job.target_pid != job.mock_pid and mock + own > _NEAR * target,
    )


def _cpu_of_all(job: Job) -> tuple[float, float, float]:
    """Of the target, the mock and this process, in seconds."""
    return cpu_seconds(job.target_pid), cpu_seconds(job.mock_pid), time.process_time()


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
