"""A client's connection, as the threaded worker's main loop sees it."""

import select
import socket
import struct
from typing import Self

from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from opendify.kernel import is_ready
from opendify.serving.answering import cached, connection_environ
from opendify.serving.client_socket import PromptSocket
from opendify.serving.client_watch import HEARTBEAT
from opendify.serving.limits import ClientLimits
from opendify.serving.receiving import RequestReceiver
from opendify.serving.turnstile import Turn

# Of a socket that listens, Linux tells its backlog where others have what is unacknowledged.
_BACKLOG = struct.Struct("24xI")


class Connection(TConn):
    """A client and, while the main loop waits for it, until when.

    `pipelines` says that it has asked on before it was answered; `is_watched` that the main
    loop's poller knows it, `is_kept` that it may bring its next request.
    """

    sock: PromptSocket
    parser: RequestReceiver

    def __init__(
        self, cfg: Config, sock: PromptSocket, client: tuple[str, int], server: tuple[str, int]
    ) -> None:
        super().__init__(cfg, sock, client, server)
        self.initialized = True
        self.deadline = 0.0
        self.pipelines = self.is_watched = self.is_kept = False
        self.environ = connection_environ(cfg, sock, client, server)
        self._turn: Turn | None = None

    @classmethod
    def accepted(cls, cfg: Config, listener: socket.socket, limits: ClientLimits) -> Self:
        """The next client of `listener`.

        Raises:
            OSError: There is none, or no descriptor is left for it.
        """
        sock, address = listener.accept()
        client = PromptSocket.around(sock, write_seconds=limits.write_seconds)
        connection = cls(cfg, client, address, listener.getsockname())
        connection.parser = RequestReceiver(cached(cfg), address, limits)
        return connection

    def take_turn(self, turn: Turn) -> None:
        """Its request begins with `turn`, which ends as soon as it waits for somebody."""
        self._turn = turn
        if self.environ is not None:
            self.environ[HEARTBEAT] = turn.end

    def end_turn(self) -> None:
        """Its request was answered."""
        if self._turn is not None:
            self._turn.end()

    def close(self, graceful: bool = False) -> None:
        """As in the base class; what came of a request goes with it."""
        self.parser.forget()
        super().close(graceful)


def is_readable(sock: socket.socket) -> bool:
    """Whether something came, or there is a client to accept."""
    return is_ready(sock, select.POLLIN)


def is_writable(sock: socket.socket) -> bool:
    """Whether the client takes what it is sent."""
    return is_ready(sock, select.POLLOUT)


def waiting_at(listener: socket.socket) -> int:
    """How many clients wait to be accepted; 0 where the system does not tell."""
    if not hasattr(socket, "TCP_INFO") or listener.family == socket.AF_UNIX:
        return 0
    facts = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BACKLOG.size)
    return int(_BACKLOG.unpack(facts)[0])
