"""A Dify of which a test decides what it does with its one connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opendify.dify.client import DifyClient
from tests.fakes.settings import make_settings


@dataclass
class Listener:
    """Takes one connection and does with it what the test says."""

    port: int
    received: int = 0
    was_left: bool = False
    given_up: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening(serve: Callable[[Listener, socket.socket], None]) -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server.getsockname()[1])

        def take() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(20)
                serve(listener, connection)

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listener
        thread.join(20)


def swallow(listener: Listener, connection: socket.socket) -> None:
    """Read on without an answer until the other side leaves."""
    while piece := connection.recv(65_536):
        listener.received += len(piece)
    listener.was_left = True


def stall(listener: Listener, connection: socket.socket) -> None:
    """Read nothing before the upload was given up."""
    listener.given_up.wait(20)
    swallow(listener, connection)


def client_of(listener: Listener, clock: Callable[[], float]) -> DifyClient:
    return DifyClient(make_settings(DIFY_API_BASE=f"http://127.0.0.1:{listener.port}/v1"), clock=clock)
