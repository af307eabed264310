"""A client's connection on which nothing lasts, or grows, for ever."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from opendify.serving.client_socket import ClientSocket


@pytest.fixture
def pair() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """The server's side, and a client with buffers as systems give them."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with closing(client), closing(ClientSocket.around(accepted, write_seconds=1.0)) as ours:
            yield ours, client


def test_the_kernel_holds_little_for_a_client_that_does_not_read(
    pair: tuple[ClientSocket, socket.socket],
) -> None:
    ours, _ = pair
    ours.setblocking(False)

    # Without a bound it is megabytes.
    assert 0 < _taken_by(ours) < 800_000


def _taken_by(sock: socket.socket) -> int:
    """How many bytes it takes before it would block."""
    taken = 0
    with suppress(BlockingIOError):
        while True:
            taken += sock.send(b"x" * 4_096)
    return taken
