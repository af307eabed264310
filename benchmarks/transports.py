"""What reading Dify's answer costs with one HTTP client or another.

`python -m benchmarks.transports`. All candidates run in one process, in turn within each round, against the
mock on another core; figures are CPU time of this process, with all its threads. Those that are not installed
(dependency group `bench`) are left out.
"""

import http.client
import os
import platform
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import product
from pathlib import Path
from statistics import median

import click
import httptools
import httpx

from benchmarks.dialects import DIFY
from benchmarks.directive import PIECE_END, Directive
from benchmarks.http1 import LAST_CHUNK
from benchmarks.processes import target_core
from benchmarks.targets import mock_dify

_READ_BYTES = 65_536
_PACKAGES = ("httpx", "httpcore", "h11", "httptools", "pycurl", "pyreqwest")
_HEADERS = {
    "Authorization": f"Bearer {DIFY.key}",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
}

Ask = Callable[[bytes], Iterator[bytes]]
"""Posts a body; what it yields is the answer's, in the pieces in which the client hands it out."""

Candidate = Callable[[int], AbstractContextManager[Ask]]
"""A client of the port that it is given."""


@dataclass(frozen=True)
class Load:
    """So many answers; the CPU time is divided by their number, or by that of their events."""

    unit: str
    directive: Directive
    answers: int
    is_per_event: bool

    @property
    def units(self) -> int:
        """By how many the CPU time is divided."""
        return self.answers * (self.directive.pieces if self.is_per_event else 1)


LOADS = (
    Load("event, burst", Directive(200), 50, is_per_event=True),
    Load("request", Directive(1), 500, is_per_event=False),
    Load("event, 2 ms apart", Directive(200, 2, 2), 1, is_per_event=True),
)


@dataclass(frozen=True)
class Cost:
    """Of one load in one round; `events_a_piece` tells whether the client holds events back."""

    microseconds: float
    events_a_piece: float


class _Body:
    """An answer as httptools tells it; what one read completes is handed out in one piece."""

    def __init__(self) -> None:
        self.has_head = False
        self.is_whole = False
        self.headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools.HTTPProtocol`."""
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See `httptools.HTTPProtocol`."""
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        """See `httptools.HTTPProtocol`."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """See `httptools.HTTPProtocol`."""
        self.is_whole = True

    def take(self) -> bytes:
        """What came since the last time."""
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


class _Exchange(httpx.SyncByteStream):
    """One request on a connection, and its answer."""

    def __init__(self, connection: socket.socket, request: bytes) -> None:
        self.body = _Body()
        self.parser = httptools.HttpResponseParser(self.body)
        self._connection = connection
        connection.sendall(request)

    def read(self) -> None:
        """Take what one read gives."""
        self.parser.feed_data(self._connection.recv(_READ_BYTES))

    def __iter__(self) -> Iterator[bytes]:
        yield self.body.take()
        while not self.body.is_whole:
            self.read()
            yield self.body.take()


class _SocketTransport(httpx.BaseTransport):
    """As little as a transport can do, on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = _connect(port)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport.handle_request`."""
        fields = b"".join(b"%b: %b\r\n" % field for field in request.headers.raw)
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (request.method.encode(), request.url.raw_path, fields)
        exchange = _Exchange(self._connection, head + request.read())
        while not exchange.body.has_head:
            exchange.read()
        return httpx.Response(
            exchange.parser.get_status_code(), headers=exchange.body.headers, stream=exchange
        )

    def close(self) -> None:
        """See `httpx.BaseTransport.close`."""
        self._connection.close()


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _request_bytes(port: int, content: bytes) -> bytes:
    fields = {"Host": f"127.0.0.1:{port}", **_HEADERS, "Content-Length": str(len(content))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {DIFY.path} HTTP/1.1\r\n{lines}\r\n".encode() + content


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}{DIFY.path}"


@contextmanager
def recv_only(port: int) -> Iterator[Ask]:
    """Nothing is parsed: what the kernel and Python's sockets cost."""
    with _connect(port) as connection:

        def ask(content: bytes) -> Iterator[bytes]:
            connection.sendall(_request_bytes(port, content))
            received = b""
            while not received.endswith(LAST_CHUNK):
                received = connection.recv(_READ_BYTES)
                yield received

        yield ask


@contextmanager
def socket_httptools(port: int) -> Iterator[Ask]:
    """A socket, and a parser in C."""
    with _connect(port) as connection:
        yield lambda content: iter(_Exchange(connection, _request_bytes(port, content)))


@contextmanager
def http_client(port: int) -> Iterator[Ask]:
    """The standard library's."""
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:

        def ask(content: bytes) -> Iterator[bytes]:
            connection.request("POST", DIFY.path, content, _HEADERS)
            response = connection.getresponse()
            while piece := response.read1(_READ_BYTES):
                yield piece

        yield ask


@contextmanager
def curl(port: int) -> Iterator[Ask]:
    """Handed out only when the answer is whole: the least that libcurl costs."""
    import pycurl

    with closing(pycurl.Curl()) as handle:
        handle.setopt(pycurl.URL, _url(port))
        handle.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in _HEADERS.items()])
        handle.setopt(pycurl.NOSIGNAL, 1)

        def ask(content: bytes) -> Iterator[bytes]:
            pieces: list[bytes] = []
            handle.setopt(pycurl.WRITEFUNCTION, pieces.append)
            handle.setopt(pycurl.POSTFIELDS, content)
            handle.perform()
            return iter(pieces)

        yield ask


@contextmanager
def reqwest(port: int) -> Iterator[Ask]:
    """Rust's, without httpx."""
    from pyreqwest.client import SyncClientBuilder

    with SyncClientBuilder().build() as client:

        def ask(content: bytes) -> Iterator[bytes]:
            request = client.post(_url(port)).headers(_HEADERS).body_bytes(content)
            with request.build_streamed() as response:
                while (piece := response.body_reader.read_chunk()) is not None:
                    yield bytes(piece)

        yield ask


@contextmanager
def httpx_transport_alone(port: int) -> Iterator[Ask]:
    """httpx's own transport, without the client's work around it."""
    with httpx.HTTPTransport() as transport:

        def ask(content: bytes) -> Iterator[bytes]:
            request = httpx.Request("POST", _url(port), headers=_HEADERS, content=content)
            with closing(transport.handle_request(request)) as response:
                yield from response.iter_raw()

        yield ask


def through_httpx(
    make_transport: Callable[[int], httpx.BaseTransport],
    read: Callable[[httpx.Response], Iterator[bytes]] = httpx.Response.iter_bytes,
) -> Candidate:
    """An `httpx.Client` over a transport."""

    @contextmanager
    def connect(port: int) -> Iterator[Ask]:
        with httpx.Client(transport=make_transport(port)) as client:

            def ask(content: bytes) -> Iterator[bytes]:
                with client.stream("POST", _url(port), headers=_HEADERS, content=content) as response:
                    yield from read(response)

            yield ask

    return connect


def _reqwest_transport(_port: int) -> httpx.BaseTransport:
    from pyreqwest.compatibility.httpx import SyncHttpxTransport

    transport: httpx.BaseTransport = SyncHttpxTransport()
    return transport


def _own_transport(_port: int) -> httpx.BaseTransport:
    return httpx.HTTPTransport()


CANDIDATES: Mapping[str, Candidate] = {
    "raw `recv`, nothing parsed": recv_only,
    "socket + httptools": socket_httptools,
    "`httpx.Client` over socket + httptools": through_httpx(_SocketTransport),
    "`http.client`, `read1`": http_client,
    "pycurl": curl,
    "pyreqwest": reqwest,
    "`httpx.Client` over pyreqwest": through_httpx(_reqwest_transport),
    "`httpx.HTTPTransport` alone": httpx_transport_alone,
    "`httpx.Client`, `iter_raw`": through_httpx(_own_transport, httpx.Response.iter_raw),
    "`httpx.Client`, `iter_bytes`": through_httpx(_own_transport),
}


def measure(load: Load, ask: Ask) -> Cost:
    """One round of one load.

    Raises:
        ValueError: Events are missing.
    """
    content = DIFY.build_content(load.directive, whole=False)
    events = pieces = 0
    began = time.process_time()
    for _ in range(load.answers):
        for piece in ask(content):
            events += piece.count(PIECE_END)
            pieces += 1
    seconds = time.process_time() - began
    if events != load.answers * load.directive.pieces:
        raise ValueError(f"{events} events came")
    return Cost(1e6 * seconds / load.units, events / pieces)


def build_table(costs: Mapping[tuple[str, Load], Sequence[Cost]]) -> str:
    """Markdown: medians, and in brackets the lowest and the highest."""
    names = dict.fromkeys(name for name, _ in costs)
    loads = dict.fromkeys(load for _, load in costs)
    lines = [
        f"| CPU µs per | {' | '.join(load.unit for load in loads)} | events a piece |",
        f"| --- |{' ---: |' * (len(loads) + 1)}",
    ]
    for name in names:
        cells = [_spread([cost.microseconds for cost in costs[name, load]]) for load in loads]
        pieces = " / ".join(
            f"{median(cost.events_a_piece for cost in costs[name, load]):.1f}"
            for load in loads
            if load.is_per_event
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {pieces} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


@click.command()
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1, 1_000))
def main(rounds: int) -> None:
    """Measure what an HTTP client costs for each event and for each request."""
    os.sched_setaffinity(0, {target_core()})
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-"))
        port = stack.enter_context(mock_dify(Path(folder))).door.port
        asks = dict(_connect_all(port, stack))
        costs: dict[tuple[str, Load], list[Cost]] = {pair: [] for pair in product(asks, LOADS)}
        for number, (load, (name, ask)) in product(range(rounds + 1), product(LOADS, asks.items())):
            cost = measure(load, ask)
            if number:  # The first round warms up.
                costs[name, load].append(cost)
    click.echo(f"Python {platform.python_version()}, {_versions()}; {rounds} rounds.\n\n{build_table(costs)}")


def _connect_all(port: int, stack: ExitStack) -> Iterator[tuple[str, Ask]]:
    for name, connect in CANDIDATES.items():
        try:
            yield name, stack.enter_context(connect(port))
        except ImportError as error:
            click.echo(f"left out: {name} ({error})", err=True)


def _versions() -> str:
    installed = {found.name: found.version for found in distributions()}
    return ", ".join(f"{package} {installed.get(package, 'missing')}" for package in _PACKAGES)


if __name__ == "__main__":
    main()
