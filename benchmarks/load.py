"""The load generator: clients that ask, count what they get, and ask again.

Run as `python -m benchmarks.load` with a `Job` as JSON on its standard input; it prints a `Measurement`.
"""

import asyncio
import sys
import time
from dataclasses import dataclass, field

import msgspec

from benchmarks.dialects import DIALECTS, Dialect, WrongAnswer
from benchmarks.directive import PIECE_END, answer_text
from benchmarks.http1 import HEAD_END, LAST_CHUNK, ResponseHead, join_chunks, read_head
from benchmarks.processes import cpu_seconds, memory_mb
from benchmarks.results import Job, Measurement, percentile

_WARM_UP_SECONDS = 0.5
_PATIENCE_SECONDS = 30.0
_MOST_FAULTS = 50
_FAULTS_TOLD = 3


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


class Answer:
    """One response as it arrives: its pieces counted, its end recognised, its body kept on demand."""

    def __init__(self, *, kept: bool) -> None:
        self.pieces = 0
        self.is_whole = False
        self._kept = kept
        self._head: ResponseHead | None = None
        self._unread = b""
        self._tail = b""
        self._body: list[bytes] = []
        self._body_bytes = 0

    def feed(self, received: bytes) -> None:
        """Take what a read gave.

        Raises:
            ValueError: It is not HTTP.
        """
        if self._head is None:
            self._unread += received
            head, found, received = self._unread.partition(HEAD_END)
            if not found:
                return
            self._head = read_head(head)
        self.pieces += received.count(PIECE_END)
        self._body_bytes += len(received)
        if self._kept or self._head.status != 200:
            self._body.append(received)
        self._tail = (self._tail + received[-len(LAST_CHUNK) :])[-len(LAST_CHUNK) :]
        length = self._head.content_length
        self.is_whole = self._tail == LAST_CHUNK if length is None else self._body_bytes >= length

    def check(self, dialect: Dialect, *, whole: bool, pieces: int) -> None:
        """Make sure that all pieces came, and when the body was kept, in order and well formed.

        Raises:
            WrongAnswer: They did not.
        """
        status = self._head.status if self._head else 0
        if status != 200:
            raise WrongAnswer(f"status {status}: {b''.join(self._body)[:200]!r}")
        if self.pieces != pieces:
            raise WrongAnswer(f"{self.pieces} pieces of {pieces}")
        if self._kept and self._text(dialect, whole=whole) != answer_text(pieces):
            raise WrongAnswer("the pieces are not in order")

    def _text(self, dialect: Dialect, *, whole: bool) -> str:
        body = b"".join(self._body)
        if self._head is None or self._head.content_length is None:
            try:
                body = join_chunks(body)
            except ValueError as error:
                raise WrongAnswer(str(error)) from error
        return dialect.read_whole(body) if whole else dialect.read_stream(body)


class Load:
    """Clients at work from `begin` until the time or the requests are used up."""

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
        self._clients: list[Client] = []
        self._busy = 0
        self._stop_at = 0.0
        self._most_requests = 0
        self._all_idle = asyncio.Event()

    async def connect(self) -> None:
        """Open one connection a client."""
        loop = asyncio.get_running_loop()
        for _ in range(self.job.scenario.clients):
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", self.job.port)
            self._clients.append(client)

    async def run(self, seconds: float) -> Tally:
        """Let all clients ask for `seconds`, each finishing what it began then.

        Raises:
            BadRun: An answer never came, or too many were wrong.
        """
        self.tally = Tally()
        self._all_idle.clear()
        self._stop_at = time.perf_counter() + seconds
        self._most_requests = self.job.most_requests
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

    def is_over(self, now: float) -> bool:
        """Whether clients must not ask again."""
        tally = self.tally
        return (
            now >= self._stop_at
            or tally.requests >= self._most_requests
            or len(tally.faults) >= _MOST_FAULTS
        )

    def note_idle(self) -> None:
        """One client less at work."""
        self._busy -= 1
        if not self._busy:
            self._all_idle.set()


class Client(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._answer: Answer | None = None
        self._asked_at = 0.0
        self._first_piece_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - asyncio promises it for sockets.
        self._transport = transport

    def ask(self) -> None:
        """Send the next request."""
        self._answer = Answer(kept=self._load.job.scenario.checked)
        self._first_piece_at = 0.0
        self._asked_at = time.perf_counter()
        self._transport.write(self._load.request)
