"""Connections to Dify, kept for a moment between two requests."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable

import msgspec

from opendify.dify.http_answer import AnswerParser
from opendify.kernel import is_ready


class Origin(msgspec.Struct, frozen=True):
    """Where connections lead; `tls` is None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


Address = tuple[int, int, int, str, tuple[object, ...]]
"""As `getaddrinfo` gives them: family, type, protocol, canonical name, socket address."""


def look_up(origin: Origin) -> list[Address]:
    """The addresses of `origin`; blocks as long as the system's resolver does.

    Raises:
        OSError: There are none.
        UnicodeError: The name cannot be one.
    """
    found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    return [(*each[:4], each[4]) for each in found]


class Connection:
    """A socket, and the parser of what comes over it."""

    def __init__(self, origin: Origin, stream: socket.socket) -> None:
        self.origin = origin
        self.socket = stream
        self.answer = AnswerParser()
        self.idle_since = 0.0

    def is_silent(self) -> bool:
        """Whether there is neither an end nor bytes that nobody asked for."""
        return not can_be_read(self.socket)


class ConnectionPool:
    """Idle connections, the last used first. One object a process."""

    def __init__(
        self,
        *,
        idle_seconds: float,
        connect_seconds: float,
        look_up: Callable[[Origin], list[Address]] = look_up,
    ) -> None:
        """An idle connection is not used again after `idle_seconds`."""
        self.connect_seconds = connect_seconds
        self.look_up = look_up
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[Connection]] = {}

    def take(self, origin: Origin) -> Connection | None:
        """An idle connection that still stands, if there is one."""
        while connection := self._pop(origin):
            if time.monotonic() < connection.idle_since + self._idle_seconds and connection.is_silent():
                return connection
            connection.socket.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next exchange; those that idled too long are closed."""
        now = connection.idle_since = time.monotonic()
        with self._lock:
            self._idle.setdefault(connection.origin, []).append(connection)
            self._close_expired(now)

    def close_expired(self) -> None:
        """Close what idled too long; Dify has closed its side by then."""
        with self._lock:
            self._close_expired(time.monotonic())

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            for idle in self._idle.values():
                for connection in idle:
                    connection.socket.close()
            self._idle.clear()

    def _close_expired(self, now: float) -> None:
        for idle in self._idle.values():
            while idle and now >= idle[0].idle_since + self._idle_seconds:
                idle.pop(0).socket.close()

    def _pop(self, origin: Origin) -> Connection | None:
        with self._lock:
            idle = self._idle.get(origin)
            return idle.pop() if idle else None


def can_be_read(stream: socket.socket) -> bool:
    """Whether there are bytes, an end, or an error."""
    return is_ready(stream, select.POLLIN)
