"""A TCP proxy between the real server and a Dify, with toxiproxy's faults.

Faults act on what Dify answers to a run; questions about apps and stops pass unharmed,
as long as connections can be made at all.
"""

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.stores.servers import free_port

_READ_BYTES: Final = 65_536
_RUN: Final = b"POST /v1/chat-messages HTTP"
# Longer than any test waits.
_FOR_EVER_SECONDS: Final = 60.0

Toxic = Callable[[Iterator[bytes], threading.Event], Iterator[bytes]]
"""What becomes of the pieces of an answer; the event ends every waiting."""


class CutError(Exception):
    """The connection ends here."""


class ResetError(CutError):
    """The connection ends here, with RST."""


def unharmed(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
    del closing
    return pieces


def latency(seconds: float, jitter: float) -> Toxic:
    """Each piece comes later, by `seconds` give or take `jitter`."""
    chance = random.Random(7)

    def toxic(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
        for piece in pieces:
            closing.wait(max(0.0, seconds + chance.uniform(-jitter, jitter)))
            yield piece

    return toxic


def bandwidth(bytes_per_second: int) -> Toxic:
    def toxic(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
        for slice_ in slicer(max(1, bytes_per_second // 50))(pieces, closing):
            closing.wait(len(slice_) / bytes_per_second)
            yield slice_

    return toxic


def slicer(size: int) -> Toxic:
    """Pieces of at most `size` bytes, each sent alone."""

    def toxic(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
        del closing
        for piece in pieces:
            yield from (piece[start : start + size] for start in range(0, len(piece), size))

    return toxic


def limit_data(count: int) -> Toxic:
    """The connection ends after `count` bytes."""
    return _ending_after(count, CutError)


def reset_peer(count: int) -> Toxic:
    """The connection is reset after `count` bytes of the answer."""
    return _ending_after(count, ResetError)


def _ending_after(count: int, end: type[CutError]) -> Toxic:
    def toxic(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
        del closing
        left = count
        for piece in pieces:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                raise end

    return toxic


def timeout(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
    """Nothing comes through, and nothing ends."""
    for _ in pieces:
        closing.wait(_FOR_EVER_SECONDS)
    yield b""


def slow_close(seconds: float) -> Toxic:
    """Everything comes, and then the connection lingers."""

    def toxic(pieces: Iterator[bytes], closing: threading.Event) -> Iterator[bytes]:
        yield from pieces
        closing.wait(seconds)

    return toxic


class FaultProxy:
    """Listens on `port`; `passed` is what was answered since it was armed, `connections` how many came."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_port()
        self.connections = 0
        self.passed = bytearray()
        self._upstream_port = upstream_port
        self._toxic: Toxic = unharmed
        self._resets_at_once = False
        self._swallows_requests = False
        self._fails_with: int | None = None
        self._listener: socket.socket | None = None
        self._blockers: list[socket.socket] = []
        self._open: set[socket.socket] = set()
        self._closing = threading.Event()
        self._lock = threading.Lock()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def arm(
        self,
        toxic: Toxic = unharmed,
        *,
        resets_at_once: bool = False,
        swallows_requests: bool = False,
        fails_with: int | None = None,
    ) -> None:
        """From now on; connections of before are closed.

        `resets_at_once`: connections are taken, and reset once something is asked. `swallows_requests`:
        they are taken, and Dify never hears of a run. `fails_with`: it is a gateway that answers a run
        itself, with this status.
        """
        self._let_go()
        self._toxic, self._resets_at_once, self._swallows_requests = toxic, resets_at_once, swallows_requests
        self._fails_with = fails_with
        self.connections, self.passed = 0, bytearray()

    def listen(self) -> None:
        """Take connections, on the port of before."""
        self._stop_listening()
        self._listener = self._bound(256)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def refuse(self) -> None:
        """Nobody listens."""
        self._stop_listening()
        self._let_go()

    def never_accept(self) -> None:
        """Somebody listens who takes no connection: the queue before the door is full."""
        self.refuse()
        self._listener = self._bound(0)
        for _ in range(2):
            blocker = socket.socket()
            blocker.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                blocker.connect(("127.0.0.1", self.port))
            self._blockers.append(blocker)

    def close(self) -> None:
        self._closing.set()
        self.refuse()

    def _bound(self, backlog: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(backlog)
        return listener

    def _stop_listening(self) -> None:
        for each in (self._listener, *self._blockers):
            if each:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()
        self._listener, self._blockers = None, []

    def _let_go(self) -> None:
        """Close all connections, and wake up whatever waits on them."""
        self._closing.set()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._closing = threading.Event()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._resets_at_once:
            # Earlier, whoever connects might see no connection at all.
            connection.recv(1, socket.MSG_PEEK)
            _reset(connection)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        closing, toxic, swallows = self._closing, self._toxic, self._swallows_requests
        with socket.create_connection(("127.0.0.1", self._upstream_port)) as upstream, connection:
            with self._lock:
                self._open |= {connection, upstream}
            try:
                with contextlib.suppress(OSError):
                    request = connection.recv(_READ_BYTES)
                    is_run = request.startswith(_RUN)
                    if is_run and swallows:
                        closing.wait(_FOR_EVER_SECONDS)
                        return
                    if is_run and self._fails_with:
                        connection.sendall(_page_of_a_gateway(self._fails_with))
                        return
                    upstream.sendall(request)
                    threading.Thread(target=_carry, args=(connection, upstream), daemon=True).start()
                    self._answer(connection, _pieces(upstream), toxic if is_run else unharmed, closing)
            finally:
                with self._lock:
                    self._open -= {connection, upstream}
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _answer(
        self, connection: socket.socket, pieces: Iterator[bytes], toxic: Toxic, closing: threading.Event
    ) -> None:
        try:
            for piece in toxic(pieces, closing):
                connection.sendall(piece)
                self.passed += piece
        except ResetError:
            _reset(connection)
        except CutError:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


def _page_of_a_gateway(status: int) -> bytes:
    """As nginx's own."""
    page = f"<html><head><title>{status}</title></head><body><center><h1>{status}</h1></center></body></html>"
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
    return f"{head}Connection: close\r\n\r\n{page}".encode()


def _pieces(upstream: socket.socket) -> Iterator[bytes]:
    while piece := upstream.recv(_READ_BYTES):
        yield piece


def _carry(connection: socket.socket, upstream: socket.socket) -> None:
    """What the client still sends; its leaving is told to Dify."""
    with contextlib.suppress(OSError):
        while piece := connection.recv(_READ_BYTES):
            upstream.sendall(piece)
        upstream.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """Like every end here it begins with `shutdown`: a thread that still reads keeps what is only closed."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def fault_proxy(upstream_port: int) -> Iterator[FaultProxy]:
    """One that listens, and harms nothing yet."""
    proxy = FaultProxy(upstream_port)
    proxy.listen()
    try:
        yield proxy
    finally:
        proxy.close()
