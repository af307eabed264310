"""A loop over sockets that never block: all that both ends of the benchmark need, and little more than epoll.

asyncio's own work on each read is more than all of nginx's on a piece.
"""

import contextlib
import heapq
import select
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Protocol

# One for all reads: to allocate so much for each would cost more than the read.
_READ_BUFFER = memoryview(bytearray(262_144))


class Ready(Protocol):
    """What is told that its file can be read, or written to, or is gone."""

    def on_ready(self, mask: int) -> None:
        """`mask` is epoll's."""
        ...


class Loop:
    """Waits for all files and for the next time that somebody wants to be called."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Ready] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def add(self, file: int, ready: Ready) -> None:
        """Watch a file for something to read."""
        self._ready[file] = ready
        self._epoll.register(file, select.EPOLLIN)

    def change(self, file: int, mask: int) -> None:
        """Watch it for something else."""
        self._epoll.modify(file, mask)

    def remove(self, file: int) -> None:
        """Forget a file, which is still open."""
        del self._ready[file]
        self._epoll.unregister(file)

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        """Call once at that time of `time.perf_counter`, or a little later."""
        heapq.heappush(self._due, (when, next(self._numbers), call))

    def turn(self, most_seconds: float) -> None:
        """Wait until something can be done, and do all that can be."""
        wait = min(most_seconds, self._due[0][0] - time.perf_counter()) if self._due else most_seconds
        for file, mask in self._epoll.poll(max(0.0, wait)):
            if ready := self._ready.get(file):
                ready.on_ready(mask)
        for call in self._take_due(time.perf_counter()):
            call()

    def _take_due(self, now: float) -> list[Callable[[], None]]:
        # All of them first: who is late already may ask for a time that is past, and files come before that.
        calls = []
        while self._due and self._due[0][0] <= now:
            calls.append(heapq.heappop(self._due)[2])
        return calls

    def close(self) -> None:
        """Stop watching."""
        self._epoll.close()


class Channel(ABC):
    """A connection; what the socket does not take at once waits for room."""

    def __init__(self, loop: Loop, connection: socket.socket) -> None:
        self._loop = loop
        self._connection = connection
        self._unsent = b""
        self._is_paused = False
        self.is_open = True
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.add(connection.fileno(), self)

    @property
    def has_room(self) -> bool:
        """Whether something may be sent."""
        return not self._unsent

    @abstractmethod
    def on_received(self, received: bytes) -> None:
        """Something was read."""

    @abstractmethod
    def on_room(self) -> None:
        """All that waited has left."""

    @abstractmethod
    def on_lost(self) -> None:
        """The other side is gone."""

    def on_ready(self, mask: int) -> None:
        """See `Ready`."""
        if mask & select.EPOLLOUT:
            self._send_rest()
        if mask & ~select.EPOLLOUT and self.is_open:
            self._receive()

    def send(self, content: bytes) -> bool:
        """Whether all of it left; if not, nothing more may be sent before `on_room`."""
        try:
            sent = self._connection.send(content)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose()
            return False
        if sent == len(content):
            return True
        self._unsent = content[sent:]
        self._watch()
        return False

    def pause(self) -> None:
        """Read nothing more."""
        self._is_paused = True
        self._watch()

    def resume(self) -> None:
        """Read again."""
        self._is_paused = False
        if self.is_open:
            self._watch()

    def close(self) -> None:
        """Let go of the connection; nobody is told."""
        if self.is_open:
            self.is_open = False
            self._loop.remove(self._connection.fileno())
            self._connection.close()

    def _receive(self) -> None:
        try:
            size = self._connection.recv_into(_READ_BUFFER)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size:
            self.on_received(bytes(_READ_BUFFER[:size]))
        else:
            self._lose()

    def _send_rest(self) -> None:
        unsent, self._unsent = self._unsent, b""
        if self.send(unsent):
            self._watch()
            self.on_room()

    def _watch(self) -> None:
        reading = 0 if self._is_paused else select.EPOLLIN
        self._loop.change(self._connection.fileno(), reading | (select.EPOLLOUT if self._unsent else 0))

    def _lose(self) -> None:
        self.close()
        self.on_lost()


class Listener:
    """Takes connections on a free loopback port."""

    def __init__(self, loop: Loop, accept: Callable[[socket.socket], object], port: int = 0) -> None:
        self._accept = accept
        self._socket = socket.create_server(("127.0.0.1", port), backlog=4_096)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        loop.add(self._socket.fileno(), self)

    def on_ready(self, mask: int) -> None:  # noqa: ARG002 - The signature of `Ready`.
        """See `Ready`."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._accept(self._socket.accept()[0])
