"""A client's connection, as the threaded worker's main loop sees it."""

import select
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Self

from gunicorn.config import Config
from gunicorn.workers.gthread import TConn

from opendify.kernel import is_ready
from opendify.serving.answering import cached, connection_environ
from opendify.serving.client_socket import PromptSocket
from opendify.serving.client_watch import CLIENT, client_at
from opendify.serving.limits import ClientLimits
from opendify.serving.receiving import RequestReceiver

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

    @classmethod
    def accepted(
        cls,
        cfg: Config,
        listener: socket.socket,
        limits: ClientLimits,
        on_waiting: Callable[[Self], object],
    ) -> Self:
        """The next client of `listener`; `on_waiting` is called by its requests that wait for somebody.

        Raises:
            OSError: There is none, or no descriptor is left for it.
        """
        sock, address = listener.accept()
        client = PromptSocket.around(sock, write_seconds=limits.write_seconds)
        connection = cls(cfg, client, address, listener.getsockname())
        connection.parser = RequestReceiver(cached(cfg), address, limits)
        if connection.environ is not None:
            connection.environ[CLIENT] = client_at(client, partial(on_waiting, connection))
        return connection

    def close(self, graceful: bool = False) -> None:
        """As in the base class; what came of a request goes with it, and what knows this connection."""
        self.parser.forget()
        self.environ = None
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
