"""Whether the client is still there: a worker learns it from no one while Dify is silent."""

import select
import socket
from collections.abc import Callable, Mapping
from typing import Final

from opendify.kernel import KernelSocket, is_ready
from opendify.records import NOBODY, Client

# A client that closed, or shut its sending side down; SDKs and proxies do neither while they wait.
_GONE = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
# Gunicorn hands its socket out under this name, werkzeug under the other.
_SOCKET_KEYS = ("gunicorn.socket", "werkzeug.socket")
# What the worker wants called by a request that waits for somebody.
HEARTBEAT: Final = "opendify.heartbeat"
CLIENT: Final = "opendify.client"
"""Who waits for the answer, where the worker knows."""


def client_of(environ: Mapping[str, object]) -> Client:
    """Who waits for the answer; one that never leaves where the server shows no socket."""
    known = environ.get(CLIENT)
    if isinstance(known, Client):
        return known
    sockets = (environ.get(key) for key in _SOCKET_KEYS)
    connection = next((each for each in sockets if isinstance(each, (socket.socket, KernelSocket))), None)
    if connection is None:
        return NOBODY
    heartbeat = environ.get(HEARTBEAT)
    return client_at(connection, heartbeat if callable(heartbeat) else lambda: None)


def client_at(connection: socket.socket, beat: Callable[[], object]) -> Client:
    """Whoever asks whether it is gone waits, and neither hangs nor works; `beat` tells its worker of that."""

    def is_gone() -> bool:
        beat()
        try:
            return is_ready(connection, _GONE)
        except (OSError, ValueError):
            return True  # Closed on our side.

    return Client(is_gone, connection.fileno())
